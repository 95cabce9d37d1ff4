"""A network in two parts: what is frozen below, and what learns above and can start from what below gave."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from zoobot.pytorch.activations import activations_into, first_module
from zoobot.pytorch.encoder import WRONG_USE
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.training.blocks import Block

__all__ = ["Cut"]


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
            msg = "the lowest learning part of the encoder takes no part in its features"
            raise ConfigError(msg)
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
        twin: Any = copy.copy(module)
        # frozen parameters of its own, such as a vision transformer's tokens, are in the activations already
        twin._parameters = {
            n: p if p is not None and p.requires_grad else None for n, p in module._parameters.items()
        }
        twin._modules = {
            child_name: child if child is None else self._without(child, f"{inside}{child_name}", done)
            for child_name, child in module._modules.items()
        }
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
            msg = (
                f"this encoder can't be cut below {block!r} ({reason}): set activation_views=0, "
                "which computes the frozen part in every epoch"
            )
            raise ConfigError(msg)


class _LeftOut(nn.Module):
    """Hands on its first argument, in the place of a module that has been at work already."""

    def forward(self, activations: Tensor, *_: Any, **__: Any) -> Tensor:
        return activations
