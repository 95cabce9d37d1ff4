"""Whether an answer is an image of the sky: not a page, nor cut short, nor blank."""

from __future__ import annotations

import numpy as np

from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.fits_images import read_fits
from zoobot.shared.pixels.picture_formats import decode_jpeg, decode_picture, find_format
from zoobot.shared.web.client import NoImage, plain_words

_FORMATS = {"jpg": "jpeg", "png": "png", "fits": "fits"}
_HEAD_BYTES = 16


def check_image(
    data: bytes, image_format: str | None, size_pix: int | None, *, hdu: int | str | None = None
) -> None:
    """Raise unless this is an image of such a format and size, in which something is to be seen.

    Args:
        data: What a service answered.
        image_format: "jpg", "png" or "fits"; None for any that we read.
        size_pix: Its side; None where that is for the service to say.
        hdu: Which extension of a FITS file.

    Raises:
        NoImage: If it is not: the message says what it is.
    """
    if not data:
        raise NoImage("an empty answer")
    found = find_format(data[:_HEAD_BYTES])
    if found is None:
        raise NoImage(f"no image, but it says: {plain_words(data) or repr(data[:_HEAD_BYTES])}")
    if image_format is not None and found != _FORMATS[image_format]:
        raise NoImage(f"asked for {image_format}, got {found}")
    try:
        values = read_fits(data, hdu) if found == "fits" else _decoded(data, found)
    except ImageError as error:
        raise NoImage(f"a damaged image: {error}") from error
    height, width = values.shape[:2]
    if size_pix is not None and (height, width) != (size_pix, size_pix):
        raise NoImage(f"{height} × {width} pixels, asked for {size_pix} × {size_pix}")
    planes = values.reshape(-1, values.shape[-1])
    known = np.isfinite(planes)
    if not known.any():
        raise NoImage("blank: no pixel has a value")
    lowest = np.where(known, planes, np.inf).min(axis=0)
    highest = np.where(known, planes, -np.inf).max(axis=0)
    if not (highest > lowest).any():
        raise NoImage(f"blank: all pixels are {', '.join(f'{value:g}' for value in highest)}")


def _decoded(data: bytes, found: str) -> np.ndarray:
    return decode_jpeg(data) if found == "jpeg" else decode_picture(data, found, 0.0)
