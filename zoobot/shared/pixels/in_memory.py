"""Images that are in memory: arrays, pictures, NDData, extensions of FITS files and bytes of any image file.

Each stands in a catalog where others have a path. It enters where the content of a file would, so that what
is chosen, stretched and matched after that is the same.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.bands import ImagePlanes, plane_bands
from zoobot.shared.pixels.fits_images import planes_of_hdus
from zoobot.shared.pixels.picture_formats import (
    check_size,
    find_format,
    planes_of_picture,
    planes_over_ground,
)

#: Channels of pictures: grey, colour, colour with transparency.
_OF_PICTURES = (1, 3, 4)


class ImageInMemory(str):
    """Where an image lies that is in memory: the text that messages name it by, and the image itself.

    Args:
        name: For messages.
        source: An array, (height, width) or (height, width, channels), uint8 or float in [0, 1]; a picture of
            Pillow; NDData; an extension of a FITS file, or all of them; or the bytes of an image file.

    Example:
        >>> ImageInMemory("image 0", np.zeros((32, 24), np.uint8)).content().values.shape
        (32, 24, 1)
    """

    source: Any

    def __new__(cls, name: str, source: Any) -> ImageInMemory:  # noqa: D102
        new = super().__new__(cls, name)
        new.source = source
        return new

    def __getnewargs__(self) -> tuple[str, Any]:  # type: ignore[override]
        return str(self), self.source

    def digest(self) -> str:
        """A SHA-256 of what it holds."""
        found = self.content(alpha=False)
        if isinstance(found, bytes):
            return hashlib.sha256(found).hexdigest()
        values = np.ascontiguousarray(found.values)
        return hashlib.sha256(f"{values.dtype}{values.shape}".encode() + values.tobytes()).hexdigest()

    def content(
        self, *, hdu: int | str | None = None, fill_value: float = 0.0, alpha: bool = True
    ) -> ImagePlanes | bytes:
        """The planes, or the bytes of the file that the image is in.

        Args:
            hdu: Which extension of a FITS file.
            fill_value: What shows through where a picture is transparent.
            alpha: Whether the last of four channels of an array says where it is opaque.

        Raises:
            ImageError: If it is no image.
        """
        source = self.source
        if isinstance(source, (bytes, bytearray, memoryview)):
            return bytes(source)
        if isinstance(source, Image.Image):
            return _of_picture(source, fill_value)
        if is_hdu(source):
            with _LOADING:
                values, bands = planes_of_hdus(source, hdu)
            return ImagePlanes(values, True, bands)
        if is_nddata(source):
            return _of_nddata(source)
        values = as_pixels(source)
        check_size(*values.shape)
        if values.shape[-1] == 4 and alpha:
            values = planes_over_ground(values[..., :3], values[..., 3:], fill_value)
        return ImagePlanes(values, False)


class WholeFile(str):
    """The location of an image whose JPEG is decoded at its full size, however little of it is looked at.

    Files are else decoded at a half, a quarter or an eighth, where that will do: quicker, and not quite what
    reducing the whole image gives. So a file and the array of its pixels are the same image.
    """


def is_picture(thing: object) -> bool:
    """Whether something is one image by its type, though no array."""
    return isinstance(thing, (Image.Image, bytes, bytearray, memoryview)) or is_hdu(thing) or is_nddata(thing)


def is_nddata(thing: object) -> bool:
    """Whether something is NDData (CCDData among others) or a Cutout2D of astropy."""
    return _is_of(thing, "astropy.nddata", "NDData", "Cutout2D")


def is_hdu(thing: object) -> bool:
    """Whether something is an extension of a FITS file, or all of a file's."""
    return _is_of(thing, "astropy.io.fits", "HDUList", "PrimaryHDU", "ImageHDU", "CompImageHDU")


def _is_of(thing: object, module: str, *names: str) -> bool:
    """Whether something is of a class of a package, which is imported if there is such a thing."""
    there = sys.modules.get(module)
    return there is not None and isinstance(thing, tuple(getattr(there, name) for name in names))


def as_pixels(array: Any) -> NDArray:
    """One image as (height, width, channels), uint8, or float32 in [0, 1].

    Floats that are all whole 255ths are given as the 8 bits that they say: so they are looked at as their
    file is, of which views are rounded to 8 bits.

    Args:
        array: (height, width) or (height, width, channels); anything that NumPy takes for an array.

    Raises:
        ImageError: If it has other axes, another type, or values beyond.
    """
    values = as_image_array(array)
    if values.ndim not in (2, 3):
        msg = f"an image has the axes (height, width) or (height, width, channels), got {values.shape}"
        raise ImageError(msg)
    if values.ndim == 2:
        values = values[..., None]
    elif values.shape[0] in _OF_PICTURES and values.shape[-1] not in _OF_PICTURES:
        raise ImageError(
            f"an image has the axes (height, width, channels), got {values.shape}, which looks like "
            "(channels, height, width): give np.moveaxis(image, 0, -1)"
        )
    if values.dtype == np.uint8:
        return values
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not (low >= 0 and high <= 1):  # NaN is neither
        hint = (
            "; pixels of 0 to 255 are given as they are, .astype(np.uint8), or divided by 255"
            if high > 1 and low >= 0 and high <= 255
            else ""
        )
        raise ImageError(
            f"an array of {values.dtype} must hold values in [0, 1], got {low:.6g} to {high:.6g}{hint}; "
            "physical values, or missing ones, are given as astropy.nddata.NDData(values), (height, width) "
            "or (planes, height, width), which the model stretches as it does FITS files"
        )
    whole = np.rint(values * 255)
    if np.all(np.abs(values - whole / 255) <= np.finfo(values.dtype).eps * values):
        return whole.astype(np.uint8)  # what had 8 bits, such as an array of a picture / 255, is that again
    return values.astype(np.float32, copy=False)


def as_image_array(array: Any) -> NDArray:
    """An array of pixels of any number of images: uint8 or floats, none masked.

    Raises:
        ImageError: If it is of another type.
    """
    try:
        values = np.asanyarray(array)
    except Exception as error:  # a tensor on a GPU, a ragged list: each has its own
        raise ImageError(f"{type(array).__name__} can't become an array of pixels: {error}") from error
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ImageError(
            "a masked array of NumPy has pixels without a value: fill them, or give NDData(values, "
            "mask=mask), which the model reads as it does FITS files"
        )
    if hasattr(values, "unit"):
        msg = f"pixels with a unit ({values.unit}) are physical values: give NDData(values)"
        raise ImageError(msg)
    values = np.asarray(values)
    if values.dtype != np.uint8 and values.dtype.kind != "f":
        hint = {
            "i": "if they are 0 to 255, give .astype(np.uint8)",
            "u": "divide them by the largest value there can be (65535 of 16 bits)",
            "b": "a mask is no image",
            "O": "arrays of different sizes are given as a list of them",
        }.get(values.dtype.kind, "convert them")
        raise ImageError(f"pixels are uint8, or floats in [0, 1], got {values.dtype}: {hint}")
    return values


# Pillow's pictures and extensions of FITS files are read by one thread at a time: to load one changes it, and
# many may be in one open file.
_LOADING = threading.Lock()


def _of_picture(picture: Image.Image, fill_value: float) -> ImagePlanes | bytes:
    """What a picture's file gives, where it is still to be read; or its planes."""
    with _LOADING:
        data = _unread_file(picture)
        if data is not None:
            return data
        if getattr(picture, "tile", None) and getattr(picture, "fp", None) is None:
            raise ImageError("closed before its pixels were read: call its load(), or give its path")
        check_size(picture.height, picture.width, len(picture.getbands()))
        values = planes_of_picture(picture, fill_value)
    if picture.mode == "I" and picture.format == "PNG":  # older Pillow: grey of 16 bits
        values = (values / 65535).astype(np.float32)
    return ImagePlanes(values, values.dtype == np.float64)


def _unread_file(picture: Image.Image) -> bytes | None:
    """The bytes of the file that a picture was opened from, if it has not been read or changed since."""
    file = getattr(picture, "fp", None)
    is_whole = picture.tell() == 0 and not getattr(picture, "decoderconfig", None)
    if file is None or not getattr(picture, "tile", None) or not is_whole:
        return None
    try:
        place = file.tell()
        file.seek(0)
        data: bytes = file.read()
        file.seek(place)
    except (OSError, ValueError, AttributeError):
        return None
    return data if find_format(data) in ("jpeg", "png", "tiff", "webp") else None


def _of_nddata(image: Any) -> ImagePlanes:
    """Physical values, planes last, NaN where masked, and the bands where its header names them."""
    values = np.asarray(image.data)
    mask = getattr(image, "mask", None)
    if values.dtype.kind not in "iuf":
        raise ImageError(f"NDData must hold numbers, got {values.dtype}")
    if values.ndim not in (2, 3):
        msg = f"NDData needs 2 axes (height, width) or 3 (planes, height, width), got {values.shape}"
        raise ImageError(msg)
    if mask is not None and np.any(mask):
        values = np.where(np.broadcast_to(np.asarray(mask, dtype=bool), values.shape), np.nan, values)
    planes = values[None] if values.ndim == 2 else values
    check_size(planes.shape[1], planes.shape[2], planes=len(planes))
    header = {str(key).upper(): value for key, value in dict(getattr(image, "meta", None) or {}).items()}
    bands = plane_bands(header, len(planes))
    return ImagePlanes(np.moveaxis(planes, 0, -1).astype(values.dtype.newbyteorder("=")), True, bands)
