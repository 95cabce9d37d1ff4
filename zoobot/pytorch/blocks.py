"""Encoders by their blocks: a network cut in two, what enters a block, and features of any block."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from zoobot.pytorch.data import network_input, turned
from zoobot.pytorch.encoder import WRONG_USE, Encoder
from zoobot.pytorch.internals import twin_of
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.models.weights import choose_block
from zoobot.shared.pixels.turned import mean_of_views
from zoobot.shared.training.blocks import Block

# What enters a block of a network: the network runs up to there, and no further.


def first_module(model: nn.Module, block: Block) -> Any:
    """The module that a block begins with."""
    is_path = any(name == block.name for name, _ in model.named_modules())
    return model.get_submodule(block.name if is_path else block.parameters[0].rpartition(".")[0])


@torch.no_grad()
def activations_into(module: nn.Module, model: nn.Module, images: Tensor) -> Tensor | None:
    """What enters a module of a model, (batch, …), from the model's input; None if nothing does."""
    taken = module.register_forward_pre_hook(_stop_with_input)
    try:
        model(images)
    except _Reached as reached:
        return reached.activations
    finally:
        taken.remove()
    return None


class _Reached(Exception):  # noqa: N818 - it is no error: what is above need not run
    def __init__(self, activations: Tensor) -> None:
        super().__init__()
        self.activations = activations


def _stop_with_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    raise _Reached(inputs[0])


# A network in two parts: what is frozen below, and what learns above and can start from what below gave.


class Cut:
    """A network cut below one of its modules; both parts share its weights.

    The upper part is the network with everything that ran before that module left out: the activations that
    enter it take the place of the images.

    Args:
        model: A network from images, (batch, channels, height, width), to features, (batch, features).
        block: The lowest block that learns.
        image_shape: (channels, height, width) of the images.

    Raises:
        ConfigError: If the upper part makes other features of activations than the network of images.

    Attributes:
        width: Numbers that the lower part gives for each image.
    """

    def __init__(self, model: nn.Module, block: Block, image_shape: tuple[int, int, int]) -> None:
        self._model = model
        self._first = first_module(model, block)
        self._twins: list[tuple[nn.Module, nn.Module]] = []
        weight = next(model.parameters())
        probe = torch.linspace(-1, 1, 2 * math.prod(image_shape), device=weight.device, dtype=weight.dtype)
        images = probe.reshape(2, *image_shape).roll(1, dims=-1)
        training = [module for module in model.modules() if module.training]
        model.eval()
        try:
            activations = self.below(images)
            self._shape = tuple(activations.shape[1:])
            self.width = math.prod(self._shape)
            self._upper = self._without(model, "", self._ran_before(images))
            self._check(images, activations, block.name)
        finally:
            for module in training:
                module.training = True

    def below(self, images: Tensor) -> Tensor:
        """The activations that enter the upper part, (batch, …), from normalised images."""
        activations = activations_into(self._first, self._model, images)
        if activations is None:
            raise ConfigError("the lowest learning part of the encoder takes no part in its features")
        return activations

    def above(self, activations: Tensor) -> Tensor:
        """Features, (batch, features), from activations, (batch, width) or as `below` gives them."""
        for twin, original in self._twins:
            twin.training = original.training
        return self._upper(activations.reshape(-1, *self._shape))

    def _ran_before(self, images: Tensor) -> set[str]:
        """The modules that are done when the upper part begins."""
        names = {module: name for name, module in self._model.named_modules()}
        done: set[str] = set()
        hooks = [module.register_forward_hook(lambda module, *_: done.add(names[module])) for module in names]
        try:
            self.below(images)
        finally:
            for hook in hooks:
                hook.remove()
        return done

    def _without(self, module: nn.Module, name: str, done: set[str]) -> nn.Module:
        """The module with those inside it left out that are done; unchanged ones are shared."""
        if name in done:
            return _LeftOut()
        inside = f"{name}." if name else ""
        if name and not any(other.startswith(inside) for other in done):
            return module
        # frozen parameters of its own, such as a vision transformer's tokens, are in the activations already
        twin = twin_of(module, lambda part, child: self._without(child, f"{inside}{part}", done))
        self._twins.append((twin, module))
        return twin

    @torch.no_grad()
    def _check(self, images: Tensor, activations: Tensor, block: str) -> None:
        expected = self._model(images)
        try:
            got = self.above(activations)
            wrong = got.shape != expected.shape or not torch.allclose(
                got, expected, atol=defaults.AGREEMENT * float(expected.abs().max()), rtol=0
            )
            reason = "the part above makes other features of the activations"
        except WRONG_USE as error:
            wrong, reason = True, str(error)
        if wrong:
            raise ConfigError(
                f"this encoder can't be cut below {block!r} ({reason}): set activation_views=0, "
                "which computes the frozen part in every epoch"
            )


class _LeftOut(nn.Module):
    """Hands on its first argument, in the place of a module that has been at work already."""

    def forward(self, activations: Tensor, *_: Any, **__: Any) -> Tensor:
        return activations


class BlockFeatures:
    """Features of a block, (batch, width), float32, from images, (batch, height, width, channels).

    The top block's are those from which a head predicts. Of every other block they are the means, over the
    positions in the image, of what it hands to the block above; tokens without a position are left out.
    Where the encoder's record asks for several views of each image, they are means over these.

    Args:
        encoder: Where the block is; it stays on its device, in the mode that it is in.
        block: The block's name or number; None is the top.

    Attributes:
        block: The block's name.
        width: How many features there are.

    Raises:
        ConfigError: If there is no such block, or what it hands on can't be taken.
    """

    def __init__(self, encoder: Encoder, block: str | int | None) -> None:
        number = choose_block(encoder.blocks, block)
        self.block = encoder.blocks[number].name
        self._encoder = encoder
        above = encoder.blocks[number + 1 :]
        self._above = first_module(encoder.model, above[0]) if above else None
        record = encoder.preprocessing
        weight = next(encoder.parameters())
        self._mean, self._std = (
            torch.tensor(values, device=weight.device).reshape(1, -1, 1, 1)
            for values in (record.mean, record.std)
        )
        side = record.image_size_pix
        self.width = self(torch.zeros((1, side, side, record.channels), device=weight.device)).shape[1]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """The features of a loader's images, which are uint8, or float32 in [0, 1]: means over the views."""
        return mean_of_views(self._of_view, images, self._encoder.preprocessing.views, turned)

    def _of_view(self, images: Tensor) -> Tensor:
        pixels = (network_input(images) - self._mean) / self._std
        if self._above is None:
            return self._encoder(pixels).float()
        activations = activations_into(self._above, self._encoder.model, pixels)
        if activations is None:
            msg = f"the block above {self.block!r} takes no part in this encoder's features: choose another"
            raise ConfigError(msg)
        return _mean_over_positions(activations.float(), self._encoder.model, self.block)


def _mean_over_positions(activations: Tensor, model: Any, block: str) -> Tensor:
    if activations.ndim == 4:
        planes_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        return activations.mean(dim=(1, 2) if planes_last else (2, 3))
    if activations.ndim == 3:
        return activations[:, getattr(model, "num_prefix_tokens", 0) :].mean(dim=1)
    if activations.ndim == 2:
        return activations
    msg = f"the block {block!r} hands on an array of shape {tuple(activations.shape)}, not images or tokens"
    raise ConfigError(msg)
