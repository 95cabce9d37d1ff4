"""One network in the form that the rest of the engine uses: images to features, in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoobot.pytorch.encoder_blocks import find_blocks
from zoobot.shared.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zoobot.shared.models.origin import Origin
    from zoobot.shared.preprocessing import Preprocessing
    from zoobot.shared.training.blocks import Block

__all__ = ["WRONG_USE", "Encoder"]

#: What torch and timm raise for weights that don't fit, options they don't know, and images of a wrong size.
WRONG_USE = (RuntimeError, TypeError, ValueError, AssertionError, LookupError, ArithmeticError)


class Encoder(nn.Module):
    """A network from normalised images, (batch, channels, height, width), to features, (batch, num_features).

    Args:
        model: The network: a timm model without classifier, or any module with such output.
        architecture: timm's name of it, or what `encoder_from_module` calls it.
        preprocessing: How files become its input.
        model_args: What timm needs besides the name to build it again.
        origin: Where it comes from, where that is known.

    Attributes:
        model: The network itself; its parameter names are timm's.
        num_features: Width of the features, as found by a forward pass.
        blocks: Its parts, bottom to top, that are frozen or trained as a whole.

    Raises:
        EncoderError: If the network can't take such images, or gives something else than features.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        architecture: str,
        preprocessing: Preprocessing,
        model_args: dict[str, Any] | None = None,
        origin: Origin | None = None,
    ) -> None:
        super().__init__()
        # a loader's images have their channels last: most convolutions take them as they are
        self._wants_planes = _has_wide_depthwise(model)
        layout = torch.contiguous_format if self._wants_planes else torch.channels_last
        self.model = model.to(memory_format=layout)
        self.architecture = architecture
        self.preprocessing = preprocessing
        self.model_args = dict(model_args or {})
        self.origin = origin
        self.blocks: tuple[Block, ...] = find_blocks(model)
        self.num_features = _find_num_features(model, preprocessing, architecture)

    def forward(self, images: Tensor) -> Tensor:
        """The features of normalised images, (batch, num_features)."""
        if self._wants_planes and images.device.type == "cpu":
            images = images.contiguous()
        return self.model(images)

    def set_trainable(self, parameters: Iterable[str]) -> None:
        """Let these parameters learn, by timm's names, and freeze the others.

        A part that is frozen whole also stops updating norm statistics and dropping paths, so that its
        features are the same in training and prediction.
        """
        trainable = set(parameters)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in trainable)
        self.train(self.training)

    @property
    def norms_learn(self) -> bool:
        """Whether a batch norm takes its statistics from the batches that it learns from."""
        norms = [module for module in self.model.modules() if isinstance(module, _BatchNorm)]
        return any(p.requires_grad for norm in norms for p in norm.parameters())

    def train(self, mode: bool = True) -> Encoder:
        """Training mode for the parts that learn; the frozen ones stay in evaluation mode."""
        super().train(mode)
        if mode:
            _evaluate_frozen_parts(self.model)
        return self


def _has_wide_depthwise(model: nn.Module) -> bool:
    """Whether each channel is convolved by itself over 7 pixels or more, as in ConvNeXt.

    On a CPU that is faster over planes: ConvNeXt-nano predicts 15 % more galaxies a second, where ResNets and
    EfficientNets predict 40 % less.
    """
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    return any(c.groups == c.in_channels > 1 and c.kernel_size[0] >= 7 for c in convolutions)


def _find_num_features(model: nn.Module, preprocessing: Preprocessing, architecture: str) -> int:
    first = next(model.parameters(), torch.zeros(()))
    shape = (2, preprocessing.channels, preprocessing.image_size_pix, preprocessing.image_size_pix)
    training = [module for module in model.modules() if module.training]
    try:
        with torch.no_grad():
            features = model.eval()(torch.zeros(shape, dtype=first.dtype, device=first.device))
    except WRONG_USE as error:
        reason = " ".join(str(error).split())[:500]
        msg = f"the encoder {architecture} can't take images of shape {shape}: {reason}"
        raise EncoderError(msg) from error
    finally:
        for module in training:
            module.training = True
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        got = f"shape {tuple(features.shape)}" if isinstance(features, Tensor) else type(features).__name__
        msg = (
            f"the encoder {architecture} must give features of shape (batch, features), got {got} "
            f"for a batch of 2; end it with a global pooling and flatten"
        )
        raise EncoderError(msg)
    return features.shape[1]


def _evaluate_frozen_parts(module: nn.Module) -> None:
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        module.eval()
        return
    for child in module.children():
        _evaluate_frozen_parts(child)
