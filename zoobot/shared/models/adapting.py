"""Fit an encoder to other inputs than it was made for: other channels, other positions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import EncoderError

if TYPE_CHECKING:
    from zoobot.shared.preprocessing import Colour, Preprocessing

# Move learned position embeddings to another grid of patches, as timm does for images of another size.

#: Keys' cubic convolution with the sharpness that Pillow and torch's antialiased resize use.
_SHARPNESS = -0.5


def resample_positions(embedding: np.ndarray, grid: int, *, num_prefix_tokens: int = 1) -> np.ndarray:
    """The embedding for a square grid of another size, by antialiased bicubic interpolation.

    Args:
        embedding: (1, tokens, channels): the prefix tokens, then a square grid row by row.
        grid: Side of the new grid, in patches.
        num_prefix_tokens: Tokens that lie nowhere, such as the class token; they stay as they are.

    Returns:
        (1, num_prefix_tokens + grid × grid, channels), of the same type.

    Raises:
        EncoderError: If the tokens are not a square grid.

    Example:
        >>> import numpy as np
        >>> resample_positions(np.ones((1, 1 + 14 * 14, 192), "float32"), 8).shape
        (1, 65, 192)
    """
    prefix, positions = embedding[:, :num_prefix_tokens], embedding[:, num_prefix_tokens:]
    old = math.isqrt(positions.shape[1])
    if old * old != positions.shape[1]:
        raise EncoderError(
            f"position embeddings must be {num_prefix_tokens} tokens and a square grid, "
            f"got shape {embedding.shape}"
        )
    if old == grid:
        return embedding
    matrix = _interpolation_matrix(old, grid)
    plane = positions.reshape(old, old, -1).astype(np.float64)
    moved = np.einsum("ya,xb,abc->yxc", matrix, matrix, plane, optimize=True)
    return np.concatenate([prefix, moved.reshape(1, grid * grid, -1).astype(embedding.dtype)], axis=1)


def _interpolation_matrix(old: int, new: int) -> np.ndarray:
    """(new, old): how much of each old sample is in each new one."""
    scale = old / new
    widening = max(scale, 1.0)  # a coarser grid averages over more of the old one
    centres = (np.arange(new) + 0.5) * scale
    distances = np.abs(np.arange(old)[None, :] + 0.5 - centres[:, None]) / widening
    weights = _cubic(distances)
    return weights / weights.sum(axis=1, keepdims=True)


def _cubic(distances: np.ndarray) -> np.ndarray:
    """Keys' kernel: two cubic pieces, zero from a distance of 2."""
    a, d = _SHARPNESS, distances
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


#: Pixels that some stems (TResNet's) fold into one before their first convolution.
_FOLDED_PIXELS = 16


def channels_of_weights(
    weights: Mapping[str, np.ndarray], first_layers: Sequence[str], *, expected: int
) -> int:
    """How many channels the images have that an encoder's first layers take.

    Files that older versions of timm wrote say 3 whatever the encoder was built for.

    Args:
        weights: By timm's parameter names.
        first_layers: timm's names of the layers that images enter by.
        expected: What is said elsewhere; it holds where the weights don't tell.

    Example:
        >>> channels_of_weights({"stem.0.weight": np.ones((80, 1, 4, 4))}, ["stem.0"], expected=3)
        1
    """
    for layer in first_layers:
        kernel = weights.get(f"{layer}.weight")
        if kernel is not None and kernel.ndim == 4:
            channels = int(kernel.shape[1])
            return expected if channels == expected * _FOLDED_PIXELS else channels
    return expected


def adapt_input_kernel(kernel: np.ndarray, *, source_channels: int, in_channels: int) -> np.ndarray:
    """A first convolution's kernel for another number of channels, as timm does it.

    One channel gets the sum over the source's channels, so a grey image gives what its grey colour copy gave.
    More channels repeat the source's in turn, scaled by how many more they are, so that outputs keep their
    size.

    Args:
        kernel: (filters, channels, height, width). Stems that fold pixels into channels hold a multiple of
            `source_channels`, channels fastest.
        source_channels: Channels of the images it was trained on.
        in_channels: Channels of the images it shall see.

    Returns:
        (filters, channels, height, width), of the same type.

    Raises:
        EncoderError: If the kernel is no convolution over images of `source_channels`.

    Example:
        >>> import numpy as np
        >>> adapt_input_kernel(np.ones((8, 3, 4, 4)), source_channels=3, in_channels=1).shape
        (8, 1, 4, 4)
    """
    if in_channels == source_channels:
        return kernel
    if kernel.ndim != 4 or kernel.shape[1] % source_channels:
        raise EncoderError(
            f"can't adapt a first layer of shape {kernel.shape} from {source_channels} to "
            f"{in_channels} channels; pass in_channels={source_channels}"
        )
    filters, folded, height, width = kernel.shape
    planes = kernel.reshape(filters, folded // source_channels, source_channels, height, width)
    if in_channels == 1:
        adapted = planes.sum(axis=2, keepdims=True, dtype=np.float64)
    else:
        adapted = planes[:, :, np.arange(in_channels) % source_channels] * (source_channels / in_channels)
    return adapted.reshape(filters, -1, height, width).astype(kernel.dtype)


def adapt_preprocessing(preprocessing: Preprocessing, channels: int) -> Preprocessing:
    """The same record for another number of input channels: mean and std follow the kernel's way.

    Example:
        >>> from zoobot.shared.preprocessing import Preprocessing
        >>> adapt_preprocessing(Preprocessing(mean=(0.2, 0.5, 0.8), std=(1, 1, 1)), 1).mean
        (0.5,)
    """
    if channels == preprocessing.channels:
        return preprocessing
    bands = preprocessing.bands
    keeps_bands = bands is not None and len(bands) == channels
    return preprocessing.with_changes(
        channels=channels,
        colour=colour_for(channels),
        bands=bands if keeps_bands else None,
        band_numbers=preprocessing.band_numbers if keeps_bands else None,
        stretch="asinh" if preprocessing.stretch == "lupton" else preprocessing.stretch,
        mean=_adapt_values(preprocessing.mean, channels),
        std=_adapt_values(preprocessing.std, channels),
    )


def colour_for(channels: int) -> Colour:
    """What to do with the colours of a file for a network of so many channels."""
    if channels == 1:
        return "to-grey"
    return "auto" if channels == 3 else "as-is"


def _adapt_values(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if channels == 1:
        return (float(np.mean(values)),)
    return tuple(values[i % len(values)] for i in range(channels))
