"""Maps over what a network sees, brought back onto the pixels of the image that it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from zoobot.shared.augment import draw_warp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoobot.shared.preprocessing import Preprocessing

__all__ = ["SeenSquare", "draw_over", "seen_square", "share_out"]


class SeenSquare(NamedTuple):
    """The part of an image that a network sees, in pixels of the image; whole numbers are pixel centres.

    Attributes:
        left: Where its left edge is.
        top: Where its upper edge is.
        side: Its side.
    """

    left: float
    top: float
    side: float


def seen_square(preprocessing: Preprocessing, image_shape: tuple[int, ...]) -> SeenSquare:
    """The square of an image, (height, width, …), that a network sees in prediction.

    Example:
        >>> from zoobot.shared.preprocessing import Preprocessing
        >>> seen_square(Preprocessing(image_size_pix=50, crop_fraction=0.5), (200, 300))
        SeenSquare(left=99.5, top=49.5, side=100.0)
    """
    matrix = draw_warp(None, preprocessing, image_shape, seed=0, epoch=0, galaxy_id="")
    scale = float(matrix[0, 0])
    left, top = (float(start) - scale / 2 for start in matrix[:, 2])
    return SeenSquare(left, top, scale * preprocessing.image_size_pix)


def share_out(values: NDArray, square: SeenSquare, image_shape: tuple[int, ...]) -> NDArray[np.float64]:
    """What lies on the pixels of a view, shared out over those of the image by area; the sum stays.

    What lies outside of the image, where a view is larger than it, has no pixel to go to.

    Args:
        values: (size, size, channels).
        square: The part of the image that the view shows.
        image_shape: (height, width, …).

    Returns:
        (height, width, channels); zero where nothing was seen.

    Example:
        >>> share_out(np.ones((1, 1, 1)), SeenSquare(0.5, -0.5, 2.0), (2, 4))[..., 0].tolist()
        [[0.0, 0.25, 0.25, 0.0], [0.0, 0.25, 0.25, 0.0]]
    """
    height, width = image_shape[:2]
    rows = _shares(len(values), square.top, square.side, height)
    columns = _shares(len(values), square.left, square.side, width)
    return np.einsum("ia,abk,jb->ijk", rows, values, columns, optimize=True)


def draw_over(cells: NDArray, square: SeenSquare, image_shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Coarse cells over a view, interpolated by cubics at the pixels of the image.

    Args:
        cells: (rows, columns), which share the view evenly.
        square: The part of the image that the view shows.
        image_shape: (height, width, …).

    Returns:
        (height, width); zero where nothing was seen.
    """
    height, width = image_shape[:2]
    x, y = (
        (np.arange(length) - start) / square.side
        for length, start in ((width, square.left), (height, square.top))
    )
    places = (x * cells.shape[1] - 0.5, y * cells.shape[0] - 0.5)
    grid_x, grid_y = np.meshgrid(*(place.astype(np.float32) for place in places))
    drawn = cv2.remap(
        cells.astype(np.float32), grid_x, grid_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float64)
    inside = ((y >= 0) & (y <= 1))[:, None] & ((x >= 0) & (x <= 1))[None]
    # cubics swing below what they go through
    return np.where(inside, np.maximum(drawn, cells.min()), 0.0)


def _shares(size: int, start: float, side: float, length: int) -> NDArray[np.float64]:
    """Which share of each pixel of a view lies in each pixel of the image along one axis: (length, size)."""
    scale = side / size
    view = start + scale * np.arange(size)
    image = np.arange(length)[:, None] - 0.5
    overlap = np.minimum(image + 1, view + scale) - np.maximum(image, view)
    return np.maximum(overlap, 0) / scale
