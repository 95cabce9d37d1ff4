"""JPEG, PNG, TIFF and WebP bytes to planes, whatever mode the file is in; a damaged file is an error."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Literal, TypeVar

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from zoobot.shared import defaults
from zoobot.shared.errors import ImageError

_ROUGH_COLOUR_FROM = 1.4
"""Views that shrink so much soften colour themselves: they agree to 50 dB (PSNR) and better."""

_T = TypeVar("_T")

_MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "P": "RGB",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "LAB": "RGB",
    "HSV": "RGB",
}
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_SAMPLES = 256, 257, 258, 277
_TIFF_NUMBER_BYTES = {1: 1, 3: 2, 4: 4, 16: 8}
_WITH_TRANSPARENCY = {"L": "LA", "RGB": "RGBA"}


def find_format(head: bytes) -> str | None:
    """The format that a file's first bytes announce, whatever its name says.

    Args:
        head: The first 16 bytes or more.

    Returns:
        "jpeg", "png", "tiff", "webp", "fits" (also packed by gzip or bzip2), or None.

    Example:
        >>> find_format(b"SIMPLE  =                    T")
        'fits'
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "tiff"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith((b"SIMPLE  =", b"\x1f\x8b", b"BZh")):
        return "fits"
    return None


def check_size(
    height: int, width: int, planes: int, *, n_bytes: int | None = None, value_bytes: int = 1
) -> None:
    """Refuse an image too large or too small to be one, before its pixels are decoded.

    A large one in a small file is too large as well: it would be as good as empty.

    Args:
        height: In pixels.
        width: In pixels.
        planes: How many.
        n_bytes: The size of its file, where it is in one.
        value_bytes: What a value takes unpacked.

    Raises:
        ImageError: If height × width × planes exceeds `defaults.MAX_IMAGE_VALUES`, or a side is shorter than
            `defaults.MIN_IMAGE_SIDE_PIX`.
    """
    size = f"{height:,} × {width:,} pixels"
    if height * width * planes > defaults.MAX_IMAGE_VALUES:
        raise ImageError(f"too large: {size} × {planes} planes exceeds {defaults.MAX_IMAGE_VALUES:,} values")
    held = defaults.MAX_IMAGE_VALUES if n_bytes is None else defaults.MAX_PACKING * n_bytes // value_bytes
    if height * width * planes > max(defaults.VALUES_IN_ANY_FILE, held):
        msg = f"too large: {size} × {planes} planes in a file of {n_bytes:,} bytes, more than images pack"
        raise ImageError(msg)
    if min(height, width) < defaults.MIN_IMAGE_SIDE_PIX:
        raise ImageError(f"too small: {size}, expected sides of {defaults.MIN_IMAGE_SIDE_PIX} or more")


def decode_jpeg(data: bytes, *, grey: bool = False, least_side_pix: float | None = None) -> NDArray[np.uint8]:
    """Pixels of a JPEG file; orientation tags are ignored, so pixels stay where the file has them.

    Args:
        data: The whole file.
        grey: Decode the luminance only, which is faster than decoding colour and averaging it.
        least_side_pix: What will be kept of the shorter side; None keeps all. Decoding is faster at 1/2, 1/4
            or 1/8 of the size, where both sides divide evenly (so that the centre stays) and so many pixels
            are left; and where the image will shrink by 1.4 or more, with colour that is not smoothed where
            the file has half its resolution.

    Returns:
        (height, width, 1 or 3) uint8: 1 plane for a grey file.

    Raises:
        ImageError: If the file is truncated or damaged.
    """
    height, width, colourspace, _ = _attempt(lambda: simplejpeg.decode_jpeg_header(data))
    check_size(height, width, 3, n_bytes=len(data))
    if colourspace in ("CMYK", "YCCK"):
        return _attempt(lambda: _decode_inks(data))
    target = "GRAY" if grey or colourspace == "Gray" else "RGB"
    if least_side_pix is None:
        return _attempt(lambda: simplejpeg.decode_jpeg(data, target))
    shrink = _find_shrink(height, width, least_side_pix)
    options = {
        "min_height": height // shrink,
        "min_width": width // shrink,
        "fastupsample": min(height, width) // shrink >= _ROUGH_COLOUR_FROM * least_side_pix,
    }
    return _attempt(lambda: simplejpeg.decode_jpeg(data, target, **options))


def _decode_inks(data: bytes) -> NDArray[np.uint8]:
    """Colour of a JPEG of four inks; Pillow alone would fill what is damaged with grey."""
    inks = 255 - simplejpeg.decode_jpeg(data, "CMYK")  # such files hold them inverted
    height, width, _ = inks.shape
    return np.asarray(Image.frombytes("CMYK", (width, height), inks.tobytes()).convert("RGB"))


def _find_shrink(height: int, width: int, least_side_pix: float) -> int:
    """How many times smaller a JPEG may be decoded; in powers of two, the only ones that save time."""
    for shrink in (8, 4, 2):
        divides = height % shrink == width % shrink == 0
        if divides and min(height, width) // shrink >= least_side_pix:
            return shrink
    return 1


def decode_picture(data: bytes, format_name: str, fill_value: float) -> NDArray:
    """Planes of a PNG, TIFF or WebP file.

    Palettes become colour. An alpha plane is composited over `fill_value`, and is never a plane of its own.
    The grey pages of a many-page TIFF become planes. TIFF's orientation tag, part of that format, is
    applied; a camera's orientation tag in the others is ignored.

    Args:
        data: The whole file.
        format_name: "png", "tiff" or "webp".
        fill_value: What shows through where the picture is transparent, in [0, 1].

    Returns:
        (height, width, planes): uint8, or float32 in [0, 1] from 16-bit files, or, from TIFF files of
        floats or wider integers, physical values as float64.

    Raises:
        ImageError: If the file is truncated, damaged, animated, or in a mode that can't be read.
    """
    if format_name == "png" and data[24:25] == b"\x10":
        return _decode_png_16_bit(data, fill_value)
    if format_name == "tiff":
        _check_pages(data)
    if format_name == "tiff" and _attempt(lambda: _needs_opencv(data)):
        return _decode_with_opencv(data, fill_value)
    return _decode_with_pillow(data, format_name, fill_value)


def _decode_png_16_bit(data: bytes, fill_value: float) -> NDArray:
    # Pillow narrows 16-bit colour to 8 bits; OpenCV keeps it, but repeats grey when there is alpha.
    if b"IEND" not in data:
        raise ImageError("truncated: the end of the PNG is missing")
    check_size(int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big"), 4, n_bytes=len(data))
    planes = _decode_with_opencv(data, fill_value)
    is_grey = data[25] in (0, 4)
    return planes[..., :1] if is_grey else planes


def _check_pages(data: bytes) -> None:
    """Refuse a TIFF of too many pages, or too large ones, one by one and in sum, before any is decoded.

    The chain of pages is followed one directory at a time; where it is damaged, the decoder says so.
    """
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    is_big = data[2:4] in (b"+\0", b"\0+")
    count_bytes, entry_bytes, offset_bytes = (8, 20, 8) if is_big else (2, 12, 4)

    def number(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], order)

    place, pages, total = number(8 if is_big else 4, offset_bytes), 0, 0
    while 0 < place < len(data):
        pages += 1
        if pages > defaults.MAX_TIFF_PAGES:  # or they go round in a circle
            raise ImageError(f"too many pages: more than {defaults.MAX_TIFF_PAGES:,}")
        entries = place + count_bytes
        end = entries + number(place, count_bytes) * entry_bytes
        if end > len(data):
            return
        sizes = {_TIFF_WIDTH: 1, _TIFF_HEIGHT: 1, _TIFF_SAMPLES: 1}
        for entry in range(entries, end, entry_bytes):
            tag, kind = number(entry, 2), number(entry + 2, 2)
            if tag in sizes:
                sizes[tag] = number(
                    entry + entry_bytes - offset_bytes, _TIFF_NUMBER_BYTES.get(kind, offset_bytes)
                )
        height, width, planes = sizes[_TIFF_HEIGHT], sizes[_TIFF_WIDTH], sizes[_TIFF_SAMPLES]
        check_size(height, width, planes, n_bytes=len(data))
        total += height * width * planes
        if total > defaults.MAX_IMAGE_VALUES:
            msg = f"too large: its first {pages} pages together exceed {defaults.MAX_IMAGE_VALUES:,} values"
            raise ImageError(msg)
        place = number(end, offset_bytes)


def _needs_opencv(data: bytes) -> bool:
    """Whether a TIFF has deep colour or doubles, which Pillow narrows or refuses."""
    is_big = b"+" in data[2:4]
    directory = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if is_big else 8])
    file = io.BytesIO(data)
    file.seek(directory.next)
    directory.load(file)
    bits = directory.get(_TIFF_BITS, (1,))
    check_size(directory[_TIFF_HEIGHT], directory[_TIFF_WIDTH], len(bits), n_bytes=len(data))
    return max(bits) > 32 or (len(bits) > 1 and max(bits) > 8)


def _decode_with_opencv(data: bytes, fill_value: float) -> NDArray:
    decoded = _attempt(lambda: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    if decoded is None:
        raise ImageError("damaged or truncated, or in a mode that can't be read")
    planes = _to_unit_or_physical(decoded if decoded.ndim == 3 else decoded[..., None])
    count = planes.shape[-1]
    if count < 3:
        return planes
    colour = planes[..., [2, 1, 0]]
    return planes_over_ground(colour, planes[..., 3:], fill_value) if count == 4 else colour


def _decode_with_pillow(data: bytes, format_name: str, fill_value: float) -> NDArray:
    picture = _attempt(lambda: Image.open(io.BytesIO(data), formats=[format_name.upper()]))
    with picture:
        check_size(picture.height, picture.width, len(picture.getbands()), n_bytes=len(data))
        pages = _attempt(lambda: getattr(picture, "n_frames", 1))
        if pages == 1:
            return planes_of_picture(picture, fill_value)
        if format_name != "tiff":
            raise ImageError(f"animated: holds {pages} frames, expected one")
        check_size(picture.height, picture.width, pages, n_bytes=len(data))
        return _stack_pages(picture, pages, fill_value)


def _stack_pages(picture: Image.Image, pages: int, fill_value: float) -> NDArray:
    planes = []
    for page in range(pages):
        _attempt(lambda page=page: picture.seek(page))  # type: ignore[misc]
        planes.append(planes_of_picture(picture, fill_value))
    shapes = {plane.shape for plane in planes}
    if len(shapes) > 1 or planes[0].shape[-1] != 1:
        msg = f"its {pages} pages are not grey planes of one size, got the shapes {sorted(shapes)}"
        raise ImageError(msg)
    return np.concatenate(planes, axis=-1)


def planes_of_picture(picture: Image.Image, fill_value: float) -> NDArray:
    """Planes of one page, as `decode_picture` gives them.

    Raises:
        ImageError: If it is damaged, or in a mode that can't be read.
    """
    _attempt(picture.load)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _to_unit_or_physical(np.asarray(picture)[..., None])
    if picture.mode not in _MODES:
        raise ImageError(f"its mode {picture.mode!r} can't be read, expected one of {sorted(_MODES)}")
    mode = _MODES[picture.mode]
    if "transparency" in picture.info:
        mode = _WITH_TRANSPARENCY.get(mode, mode)
    pixels = np.asarray(picture if picture.mode == mode else picture.convert(mode))
    if mode == "L":
        return pixels[..., None]
    if mode in ("LA", "RGBA"):
        return planes_over_ground(pixels[..., :-1], pixels[..., -1:], fill_value)
    return pixels


def _to_unit_or_physical(planes: NDArray) -> NDArray:
    if planes.dtype == np.uint8:
        return planes
    if planes.dtype.kind == "u" and planes.dtype.itemsize == 2:
        return planes.astype(np.float32) / np.float32(65535)
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        return planes.astype(np.float64)


def planes_over_ground(planes: NDArray, alpha: NDArray, fill_value: float) -> NDArray:
    """Planes over a ground of `fill_value`; 8-bit in, 8-bit out."""
    scale = 255 if planes.dtype == np.uint8 else 1
    if alpha.min() == scale:
        return planes
    weight = alpha.astype(np.float32) / scale
    mixed = planes * weight + fill_value * scale * (1 - weight)
    return np.rint(mixed).astype(np.uint8) if scale == 255 else mixed.astype(planes.dtype)


def _attempt(decode: Callable[[], _T]) -> _T:
    """What a decoder returns; whatever it raises on damaged bytes becomes an ImageError."""
    try:
        return decode()
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"too large ({error})") from error
    except Exception as error:
        raise ImageError(f"damaged, truncated or not an image ({error})") from error
