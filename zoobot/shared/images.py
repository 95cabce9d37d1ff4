"""A file to pixels: JPEG, PNG, TIFF, WebP and FITS, with channels, stretch and missing pixels as recorded."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import cv2
import numpy as np

from zoobot.shared import defaults
from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.containers.mosaics import Mosaic
from zoobot.shared.pixels.containers.opening import open_container
from zoobot.shared.pixels.fits_images import read_fits
from zoobot.shared.pixels.locations import split_location
from zoobot.shared.pixels.picture_formats import decode_jpeg, decode_picture, find_format
from zoobot.shared.pixels.stretch import to_unit_range

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zoobot.shared.preprocessing import Preprocessing

__all__ = ["read_image"]

_HEAD_BYTES = 16


def read_image(
    path: str | Path, preprocessing: Preprocessing, *, least_side_pix: float | None = None
) -> NDArray:
    """Pixels of one image, in the channels that `preprocessing` asks for, at the size of the file.

    The content decides the format, not the name's suffix. Rows and columns stay in the order of the file:
    the first row of a FITS image is row 0, and a camera's orientation tag is ignored (in TIFF alone, where
    it is part of the format, it is applied). Transparent parts show `fill_value`. Values in FITS files, and
    in TIFF files of floats or 32-bit integers, are physical: they take the recorded stretch and NaN policy.
    Colour turned to grey is luminance (Rec. 601) in pictures and the mean of the bands in FITS.

    Args:
        path: The file, or where in an archive, table or mosaic it lies (`pixels.locations`).
        preprocessing: Its channels, colour, hdu, bands, stretch and NaN policy apply; cropping and resizing
            come later, in `augment.make_view`.
        least_side_pix: A JPEG may come at half, a quarter or an eighth of its size, which is faster, where
            its shorter side keeps so many pixels; None keeps the size.

    Returns:
        (height, width, channels): uint8 from 8-bit files, float32 in [0, 1] from all others.

    Raises:
        ImageError: If the file can't be read or lacks the planes asked for; the message names the file.
        MissingPackageError: If the file is FITS and astropy is not installed.

    Example:
        >>> import tempfile
        >>> from zoobot.shared.preprocessing import Preprocessing
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (32, 24)).save(f"{folder}/galaxy.png")
        ...     read_image(f"{folder}/galaxy.png", Preprocessing(channels=3, colour="to-rgb")).shape
        (24, 32, 3)
    """
    try:
        planes, is_physical = _read_planes(path, preprocessing, least_side_pix)
        planes = _select_bands(planes, preprocessing)
        if is_physical:
            planes = to_unit_range(planes, preprocessing)
        return _match_channels(planes, preprocessing, is_physical=is_physical)
    except ImageError as error:
        msg = f"{path}: {error}"
        raise ImageError(msg) from error.__cause__


def _read_planes(
    path: str | Path, preprocessing: Preprocessing, least_side_pix: float | None
) -> tuple[NDArray, bool]:
    """All planes of a file, and whether they hold physical values."""
    source = _find_content(path, preprocessing)
    if isinstance(source, np.ndarray):
        return source, True
    data = source if isinstance(source, bytes) else _read_file(source)
    format_name = find_format(data)
    if format_name == "fits":
        return read_fits(source, preprocessing.hdu), True
    if format_name is None:
        what = f"its first bytes are {data[:_HEAD_BYTES]!r}" if data else "it is empty"
        msg = f"not a JPEG, PNG, TIFF, WebP or FITS image: {what}"
        raise ImageError(msg)
    if format_name == "jpeg":
        grey = preprocessing.colour == "to-grey" and preprocessing.bands is None
        return decode_jpeg(data, grey=grey, least_side_pix=least_side_pix), False
    planes = decode_picture(data, format_name, preprocessing.fill_value)
    return planes, planes.dtype == np.float64


def _find_content(path: str | Path, preprocessing: Preprocessing) -> str | Path | bytes | NDArray:
    """A file's own path; or what a larger file holds of the image: its bytes, or the planes of a cutout."""
    container, member = split_location(path)
    if member is None:
        return path
    try:
        found = open_container(container)
        if isinstance(found, Mosaic):
            return found.cut(member, preprocessing.hdu)
        return found.read(member)
    except ImageError:
        if os.path.exists(path):
            return path  # a file whose own name is like that
        raise


def _read_file(path: str | Path) -> bytes:
    """A picture's file; only the first bytes of FITS, which is read in place, and of what is no image.

    What is no regular file is not even opened, for it might never answer.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            msg = f"can't be opened (it is {kind})"
            raise ImageError(msg)
        if status.st_size > defaults.MAX_IMAGE_BYTES:
            msg = f"too large: {status.st_size:,} bytes, more than {defaults.MAX_IMAGE_BYTES:,}"
            raise ImageError(msg)
        with open(path, "rb", buffering=0) as file:
            head = file.read(_HEAD_BYTES)
            return head if find_format(head) in ("fits", None) else head + file.read()
    except (OSError, ValueError) as error:  # no name of a file may hold a null, for one
        if isinstance(error, ImageError):
            raise
        msg = f"can't be opened ({getattr(error, 'strerror', None) or error})"
        raise ImageError(msg) from error


def _select_bands(planes: NDArray, preprocessing: Preprocessing) -> NDArray:
    if preprocessing.bands is None:
        return planes
    count = planes.shape[-1]
    if max(preprocessing.bands) >= count:
        highest = max(preprocessing.bands)
        msg = f"has {_planes(count)}, but bands={preprocessing.bands!r} asks for plane {highest}"
        raise ImageError(msg)
    return np.ascontiguousarray(planes[..., list(preprocessing.bands)])


def _match_channels(planes: NDArray, preprocessing: Preprocessing, *, is_physical: bool) -> NDArray:
    count, channels = planes.shape[-1], preprocessing.channels
    if count == channels:
        return planes
    if preprocessing.colour == "to-grey":
        if count == 3 and not is_physical:
            return cv2.cvtColor(planes, cv2.COLOR_RGB2GRAY)[..., None]
        mean = planes.mean(axis=-1, keepdims=True, dtype=np.float32)
        return np.rint(mean).astype(np.uint8) if planes.dtype == np.uint8 else mean
    if preprocessing.colour == "to-rgb" and count == 1 and channels == 3:
        return np.repeat(planes, 3, axis=-1)
    remedies = "choose planes with bands, or colour='to-grey' with channels=1"
    if count == 1 and channels == 3:
        remedies = "colour='to-rgb' repeats a grey plane"
    msg = f"has {_planes(count)}, expected {channels} (colour={preprocessing.colour!r}); {remedies}"
    raise ImageError(msg)


def _planes(count: int) -> str:
    return "1 plane" if count == 1 else f"{count} planes"
