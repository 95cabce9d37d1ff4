"""One network in the form that the rest of the engine uses: images to features, in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoobot.shared.errors import EncoderError
from zoobot.shared.training.blocks import MIN_BLOCKS, Block, blocks_under, check_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from zoobot.shared.models.encoder_source import Origin
    from zoobot.shared.preprocessing import Preprocessing
    from zoobot.shared.training.blocks import Block


# Find the blocks of any encoder, bottom to top, without a table of architectures.

_UNMATCHED = "\0unmatched"


def find_blocks(model: nn.Module) -> tuple[Block, ...]:
    """The blocks of an encoder, bottom to top, that hold each of its parameters exactly once.

    timm's models know their own stages (`group_matcher`); their bottom block is called "stem". What comes
    after the last stage (a final norm or convolution) belongs to the top block. The blocks of any other
    module are its children; a child that holds only norms belongs to the block before it.

    Args:
        model: A timm model, or any module.

    Raises:
        EncoderError: If some parameter is in no block, or in two.

    Example:
        >>> import timm
        >>> [block.name for block in find_blocks(timm.create_model("resnet18", num_classes=0))]
        ['stem', 'layer1', 'layer2', 'layer3', 'layer4']
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    groups = _timm_groups(model) if hasattr(model, "group_matcher") else []
    if groups:
        names = ["stem", *(_distinct_prefix(group, shapes) for group in groups[1:])]
        blocks = tuple(Block(name, tuple(group)) for name, group in zip(names, groups, strict=True))
    else:
        blocks = _blocks_of_children(model, shapes)
    check_blocks(blocks, shapes)
    return blocks


def _timm_groups(model: Any) -> list[list[str]]:
    """Parameter names by timm's stages, or, where these are few or not told, by its layers."""
    groups: list[list[str]] = []
    for coarse in (True, False):
        try:
            matcher = model.group_matcher(coarse=coarse)
        except AssertionError:  # how some timm models say that they have no coarse grouping
            continue
        groups = _matched_groups(model, matcher)
        if len(groups) >= MIN_BLOCKS:
            break
    return groups if len(groups) > 1 else []


def _matched_groups(model: nn.Module, matcher: Any) -> list[list[str]]:
    from timm.models import group_parameters

    names: Any = _NamesAndUnmatched(model)
    groups = list(group_parameters(names, matcher).values())
    loose = next(group for group in groups if _UNMATCHED in group)
    stages = [group for group in groups if group is not loose]
    if stages:
        stages[-1] = stages[-1] + [name for name in loose if name != _UNMATCHED]
    return stages


class _NamesAndUnmatched:
    """Parameter names with one more that no pattern matches: it shows where timm puts such names."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def named_parameters(self) -> Iterator[tuple[str, None]]:
        yield from ((name, None) for name, _ in self.model.named_parameters())
        yield _UNMATCHED, None


def _distinct_prefix(group: list[str], names: dict[str, Any]) -> str:
    """The shortest module path of a group's first parameter that leads to no other group's parameters."""
    others = set(names) - set(group)
    parts = group[0].split(".")
    prefixes = (".".join(parts[:n]) for n in range(1, len(parts)))
    return next((p for p in prefixes if not any(_is_under(name, p) for name in others)), group[0])


def _blocks_of_children(model: nn.Module, shapes: dict[str, tuple[int, ...]]) -> tuple[Block, ...]:
    paths = [name for name, _ in model.named_children()]
    blocks = blocks_under(paths, shapes)
    if len(blocks) < MIN_BLOCKS:
        paths = [path for name, child in model.named_children() for path in _opened(name, child)]
        blocks = blocks_under(paths, shapes)
    return blocks


def _opened(name: str, child: nn.Module) -> list[str]:
    if not isinstance(child, (nn.Sequential, nn.ModuleList)):
        return [name]
    return [f"{name}.{inner}" for inner, _ in child.named_children()]


def _is_under(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.")


#: What torch's batch norms derive from, as do those of others.
_BatchNorm: type = nn.BatchNorm2d.__mro__[1]

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

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, learning or not, by timm's name."""
        return {name: tuple(parameter.shape) for name, parameter in self.model.named_parameters()}

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
        raise EncoderError(
            f"the encoder {architecture} must give features of shape (batch, features), got {got} "
            f"for a batch of 2; end it with a global pooling and flatten"
        )
    return features.shape[1]


def _evaluate_frozen_parts(module: nn.Module) -> None:
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        module.eval()
        return
    for child in module.children():
        _evaluate_frozen_parts(child)
