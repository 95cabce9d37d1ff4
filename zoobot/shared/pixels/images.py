"""A file to pixels: JPEG, PNG, TIFF, WebP and FITS, with channels, stretch and missing pixels as recorded."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from zoobot.shared import defaults
from zoobot.shared.augment import Augmentation
from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.bands import Band, BandChoice, ChannelError, ImagePlanes, choose_bands, read_band
from zoobot.shared.pixels.containers import open_container
from zoobot.shared.pixels.fits_images import read_fits_bands
from zoobot.shared.pixels.in_memory import ImageInMemory, WholeFile
from zoobot.shared.pixels.locations import split_location, split_stack
from zoobot.shared.pixels.mosaics import Mosaic
from zoobot.shared.pixels.picture_formats import check_size, decode_jpeg, decode_picture, find_format
from zoobot.shared.pixels.stretch import to_unit_range
from zoobot.shared.pixels.web_images import WebImage

if TYPE_CHECKING:
    from zoobot.shared.preprocessing import Preprocessing

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
        path: The file, where in an archive, table or mosaic it lies (`pixels.locations`), the image itself
            (`pixels.in_memory`), or a web address that may be asked for (`zoobot.shared.pixels.web_images`).
        preprocessing: Its channels, colour, hdu, bands, stretch and NaN policy apply; cropping and resizing
            come later, in `augment.make_view`.
        least_side_pix: A JPEG may come at half, a quarter or an eighth of its size, which is faster, where
            its shorter side keeps so many pixels; None keeps the size.

    Returns:
        (height, width, channels): uint8 from 8-bit files, float32 in [0, 1] from all others.

    Raises:
        ImageError: If the file can't be read or lacks the planes asked for; the message names the file.
        ServiceError: If it is of no use to ask web addresses on.
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
        found = read_planes(path, preprocessing, least_side_pix=least_side_pix)
        values = _select_bands(found, preprocessing)
        if found.is_physical:
            values = to_unit_range(values, preprocessing)
        return _match_channels(values, preprocessing, found)
    except ImageError as error:
        msg = f"{path}: {error}"
        raise type(error)(msg) from error.__cause__


def read_planes(
    path: str | Path, preprocessing: Preprocessing, *, least_side_pix: float | None = None
) -> ImagePlanes:
    """All planes of an image, and what the file says of them.

    Args:
        path: The file, or where in something larger it lies, or the files of its bands.
        preprocessing: Its hdu and fill value apply, and whether a JPEG may be decoded as grey.
        least_side_pix: As for `read_image`.

    Raises:
        ImageError: If it can't be read.
        MissingPackageError: If it is FITS and astropy is not installed.
    """
    if isinstance(path, (ImageInMemory, WholeFile)):
        least_side_pix = None
    stack = None if isinstance(path, ImageInMemory) else split_stack(path)
    if stack is None:
        return _read_one(path, preprocessing, least_side_pix)
    if isinstance(path, WebImage):
        stack = [(name, path.part(place)) for name, place in stack]
    return _read_stack(stack, preprocessing)


def _read_stack(stack: Sequence[tuple[str, str]], preprocessing: Preprocessing) -> ImagePlanes:
    """One image of the files of its bands, each of one plane, in the order of the columns."""
    missing = [name or f"number {number}" for number, (name, place) in enumerate(stack) if not place.strip()]
    if missing:
        raise ImageError(f"has no file for the band {', '.join(missing)}")
    parts: list[ImagePlanes] = []
    for name, place in stack:
        what = f"band {name or len(parts)}, {place}"
        try:
            found = _read_one(place, preprocessing, None)
        except ImageError as error:
            raise ImageError(f"{what}: {error}") from error.__cause__
        if found.values.shape[-1] != 1:
            raise ImageError(f"{what}: has {_planes(found.values.shape[-1])}, expected the one of a band")
        parts.append(found)
        height, width = found.values.shape[:2]
        check_size(height, width, len(stack))
    if len({part.values.shape for part in parts}) > 1 or len({part.is_physical for part in parts}) > 1:
        sizes = [f"{part.values.shape[0]} × {part.values.shape[1]}" for part in parts]
        raise ImageError(f"its bands are not of one size and kind: {', '.join(sizes)} pixels")
    values = np.concatenate([part.values for part in parts], axis=-1)
    named = [_name_band(name, part) for (name, _), part in zip(stack, parts, strict=True)]
    bands = tuple(band for band in named if band is not None)
    return ImagePlanes(values, parts[0].is_physical, bands if len(bands) == len(parts) else None)


def _name_band(name: str, part: ImagePlanes) -> Band | None:
    """The band of a file in a stack: as its column is called, or as its own header says."""
    return read_band(name) or (part.bands[0] if part.bands else None)


def _read_one(path: str | Path, preprocessing: Preprocessing, least_side_pix: float | None) -> ImagePlanes:
    source = _find_content(path, preprocessing)
    if isinstance(source, ImagePlanes):
        return source
    data = source if isinstance(source, bytes) else _read_file(source)
    format_name = find_format(data)
    if format_name == "fits":
        values, bands = read_fits_bands(source, preprocessing.hdu)
        return ImagePlanes(values, True, bands)
    if format_name is None:
        what = f"its first bytes are {data[:_HEAD_BYTES]!r}" if data else "it is empty"
        raise ImageError(f"not a JPEG, PNG, TIFF, WebP or FITS image: {what}")
    if format_name == "jpeg":
        grey = preprocessing.colour == "to-grey" and not _chosen_numbers(preprocessing)
        return ImagePlanes(decode_jpeg(data, grey=grey, least_side_pix=least_side_pix), False)
    planes = decode_picture(data, format_name, preprocessing.fill_value)
    return ImagePlanes(planes, planes.dtype == np.float64)


def _find_content(path: str | Path, preprocessing: Preprocessing) -> str | Path | bytes | ImagePlanes:
    """A file's own path; or what a larger file holds of the image: its bytes, or the planes of a cutout."""
    if isinstance(path, ImageInMemory):
        # the fourth channel of an array is transparency, unless the network looks at four, or they are chosen
        alpha = preprocessing.channels != 4 and preprocessing.bands is None
        return path.content(hdu=preprocessing.hdu, fill_value=preprocessing.fill_value, alpha=alpha)
    if isinstance(path, WebImage):
        return path.content(preprocessing.hdu)
    container, member = split_location(path)
    if member is None:
        return path
    try:
        found = open_container(container)
        if isinstance(found, Mosaic):
            values, bands = found.cut(member, preprocessing.hdu)
            return ImagePlanes(values, True, bands)
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
            raise ImageError(f"can't be opened (it is {kind})")
        if status.st_size > defaults.MAX_IMAGE_BYTES:
            raise ImageError(f"too large: {status.st_size:,} bytes, more than {defaults.MAX_IMAGE_BYTES:,}")
        with open(path, "rb", buffering=0) as file:
            head = file.read(_HEAD_BYTES)
            return head if find_format(head) in ("fits", None) else head + file.read()
    except (OSError, ValueError) as error:  # no name of a file may hold a null, for one
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"can't be opened ({getattr(error, 'strerror', None) or error})") from error


def match_planes(found: ImagePlanes, preprocessing: Preprocessing) -> NDArray:
    """The planes that a network looks at, before they are stretched.

    Raises:
        ChannelError: If the image has not the bands, or as many planes as the network looks at.
    """
    return _match_channels(_select_bands(found, preprocessing), preprocessing, found)


def _chosen_numbers(preprocessing: Preprocessing) -> bool:
    """Whether planes are chosen by number; names don't apply to pictures."""
    return preprocessing.bands is not None and not any(isinstance(b, str) for b in preprocessing.bands)


def _select_bands(found: ImagePlanes, preprocessing: Preprocessing) -> NDArray:
    stands_for_bands = found.is_physical or found.bands is not None
    if not (stands_for_bands or _chosen_numbers(preprocessing)):
        return found.values
    choice: BandChoice = choose_bands(found.bands, found.values.shape[-1], preprocessing)
    if choice.planes is None:
        return found.values
    return np.ascontiguousarray(found.values[..., list(choice.planes)])


def _match_channels(values: NDArray, preprocessing: Preprocessing, found: ImagePlanes) -> NDArray:
    count, channels = values.shape[-1], preprocessing.channels
    if count == channels:
        return values
    if preprocessing.colour == "to-grey":
        if count == 3 and not found.is_physical:
            return cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)[..., None]
        mean = values.mean(axis=-1, keepdims=True, dtype=np.float32)
        return np.rint(mean).astype(np.uint8) if values.dtype == np.uint8 else mean
    is_repeated = preprocessing.colour == "to-rgb" or (
        preprocessing.colour == "auto" and not found.is_physical
    )
    if is_repeated and count == 1 and channels == 3:
        return np.repeat(values, 3, axis=-1)
    if count == 1 and channels == 3:
        band = f" ({found.bands[0].name})" if found.bands and len(found.bands) == 1 else ""
        what = f"has 1 plane{band}, expected {channels}: the network looks at colour"
        raise ChannelError(f"{what}; colour='to-rgb' (--colour to-rgb) repeats a grey plane")
    names = f" ({', '.join(band.name for band in found.bands)})" if found.bands else ""
    if preprocessing.bands is not None and len(preprocessing.bands) == count:
        msg = f"bands={preprocessing.bands!r} gives {_planes(count)}, but the network looks at {channels}"
        raise ChannelError(msg)
    raise ChannelError(
        f"has {_planes(count)}{names}, expected {channels} (colour={preprocessing.colour!r}); choose planes "
        "with bands (--bands), or colour='to-grey' with channels=1"
    )


def _planes(count: int) -> str:
    return "1 plane" if count == 1 else f"{count} planes"


# What of a file the views of one loader can need: its scale, its central part, and no more.


class SourcePixels(NamedTuple):
    """The pixels from which all views of a galaxy are made.

    Attributes:
        pixels: (height, width, channels), uint8, or float32 in [0, 1]; the central part of the frame.
        frame: (height, width) of the whole frame, in these pixels.
    """

    pixels: NDArray
    frame: tuple[int, int]


#: More than any frame has.
_WHOLE = 1e9


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
        if preprocessing.degraded is not None:  # the whole frame as it is: its pixels are those made worse
            return cls(_WHOLE, _WHOLE, crop / low / size_pix)
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
