"""What of a file the views of one loader can need: its scale, its central part, and no more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from zoobot.shared.augment import Augmentation
from zoobot.shared.images import read_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zoobot.shared.preprocessing import Preprocessing

__all__ = ["SourcePixels", "ViewNeeds", "read_source"]


class SourcePixels(NamedTuple):
    """The pixels from which all views of a galaxy are made.

    Attributes:
        pixels: (height, width, channels), uint8, or float32 in [0, 1]; the central part of the frame.
        frame: (height, width) of the whole frame, in these pixels.
    """

    pixels: NDArray
    frame: tuple[int, int]


@dataclass(frozen=True)
class ViewNeeds:
    """How fine and how far from the centre the views of a loader look, whatever is drawn for them.

    Args:
        least_side_pix: Pixels that the shorter side of a frame must keep, so that no view is enlarged.
        reach: How far from the centre a view looks along either axis, as a fraction of the shorter side.
        coarsest: Most pixels that one pixel of a view spans, as a fraction of the shorter side.
    """

    least_side_pix: float
    reach: float
    coarsest: float

    @classmethod
    def of(cls, preprocessing: Preprocessing, augmentation: Augmentation | None) -> ViewNeeds:
        """The needs of every view that the two can make.

        Example:
            >>> from zoobot.shared.preprocessing import Preprocessing
            >>> ViewNeeds.of(Preprocessing(image_size_pix=100, crop_fraction=0.5), None)
            ViewNeeds(least_side_pix=200.0, reach=0.25, coarsest=0.005)
        """
        drawn = augmentation or Augmentation.none()
        size_pix, crop, (low, high) = preprocessing.image_size_pix, preprocessing.crop_fraction, drawn.zoom
        diagonal = math.sqrt(2) if drawn.rotate else 1.0
        return cls(
            least_side_pix=size_pix * high / crop,
            reach=crop / low * (0.5 + drawn.shift) * diagonal,
            coarsest=crop / low / size_pix,
        )

    def cut(self, pixels: NDArray) -> SourcePixels:
        """The central part of a frame that views can touch, blocks and borders of their warp included."""
        height, width = frame = pixels.shape[:2]
        side = min(frame)
        half = self.reach * side + 3 * max(1, math.ceil(self.coarsest * side)) + 2
        top, left = max(0, math.floor(height / 2 - half)), max(0, math.floor(width / 2 - half))
        return SourcePixels(pixels[top : height - top, left : width - left], frame)


def read_source(path: str | Path, preprocessing: Preprocessing, needs: ViewNeeds) -> SourcePixels:
    """The pixels of a file that views need; a JPEG's at 1/2, 1/4 or 1/8 of its size where that will do.

    Args:
        path: The file.
        preprocessing: How it becomes pixels.
        needs: What the views need.

    Raises:
        ImageError: If the file can't be read.
        MissingPackageError: If the file is FITS and astropy is not installed.
    """
    return needs.cut(read_image(path, preprocessing, least_side_pix=needs.least_side_pix))
