"""Small pictures of galaxies, as text that a page can hold."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from zoobot.shared.augment import make_view
from zoobot.shared.counting_bar import CountingBar
from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.source_pixels import ViewNeeds, read_source
from zoobot.shared.plots.examples import displayable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoobot.shared.preprocessing import Preprocessing

__all__ = ["Thumbnails", "make_thumbnails"]

_QUALITY = 85


class Thumbnails(NamedTuple):
    """The pictures of a page.

    Attributes:
        pictures: WebP in base64, one for each galaxy; None where there is none.
        reasons: Why, for those without; empty for the others.
    """

    pictures: list[str | None]
    reasons: list[str]

    @classmethod
    def none(cls, count: int, reason: str) -> Thumbnails:
        """No picture at all, of so many galaxies."""
        return cls([None] * count, [reason] * count)


def make_thumbnails(
    paths: Sequence[str | None], preprocessing: Preprocessing, *, num_workers: int, progress: bool
) -> Thumbnails:
    """The pictures of galaxies, as a network sees them.

    Args:
        paths: Where each galaxy's image is; None where nobody knows.
        preprocessing: How images are read, cropped and stretched; its `image_size_pix` is the pictures' size.
        num_workers: Threads.
        progress: Whether a progress bar is drawn.
    """
    needs = ViewNeeds.of(preprocessing, None)

    def make(path: str | None) -> tuple[str | None, str]:
        if path is None:
            return None, "not in the catalog"
        try:
            pixels, frame = read_source(path, preprocessing, needs)
        except ImageError as error:
            return None, str(error).removeprefix(f"{path}: ")
        return _encode(make_view(pixels, preprocessing, frame=frame)), ""

    with (
        CountingBar("Drawing galaxies", len(paths), unit="galaxies", shown=progress) as bar,
        ThreadPoolExecutor(num_workers or 1) as pool,
    ):
        made = []
        for one in pool.map(make, paths):
            made.append(one)
            bar.reach(len(made))
    return Thumbnails([picture for picture, _ in made], [reason for _, reason in made])


def _encode(view: np.ndarray) -> str:
    pixels = np.rint(255 * displayable(view)).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
