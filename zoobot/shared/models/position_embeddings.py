"""Move learned position embeddings to another grid of patches, as timm does for images of another size."""

from __future__ import annotations

import math

import numpy as np

from zoobot.shared.errors import EncoderError

__all__ = ["resample_positions"]

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
        msg = (
            f"position embeddings must be {num_prefix_tokens} tokens and a square grid, "
            f"got shape {embedding.shape}"
        )
        raise EncoderError(msg)
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
