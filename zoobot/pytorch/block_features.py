"""Features of any block of an encoder: means over positions, from a loader's images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoobot.pytorch.activations import activations_into, first_module
from zoobot.pytorch.data import network_input, turned
from zoobot.pytorch.encoder import Encoder
from zoobot.shared.errors import ConfigError
from zoobot.shared.models.block_choice import choose_block
from zoobot.shared.pixels.turned import mean_of_views

__all__ = ["BlockFeatures"]


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
