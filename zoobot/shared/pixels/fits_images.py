"""The image planes of a FITS file: chosen extension, planes last, physical values."""

from __future__ import annotations

import bz2
import gzip
import io
import math
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.errors import ImageError, MissingPackageError
from zoobot.shared.pixels.picture_formats import check_size

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["choose_image", "image_shape", "read_fits"]

_HEADER_READ = 2880 * 32
_LONGEST_HEADER = _HEADER_READ * 45
"""4 MiB: 50,000 cards. Without a limit a header that never ends would be read into memory."""
_END = b"END".ljust(80)


def read_fits(source: str | Path | bytes, hdu: int | str | None = None) -> NDArray:
    """Physical values of one image extension, planes last.

    Plain, packed (gzip, bzip2) and tile-compressed (.fz) files are read alike, of either endianness; BSCALE,
    BZERO and BLANK are applied. Rows stay in the order of the file. Leading axes of length 1 beyond three are
    dropped.

    Args:
        source: The FITS file, or its bytes.
        hdu: Extension, by index (0 is the primary) or name; None takes the first that holds an image.

    Returns:
        (height, width, planes), a real dtype in native byte order; NaN where the file has no value.

    Raises:
        ImageError: If the file is truncated or not FITS, has no such extension, or the extension is not an
            image of two or three axes within the size limit.
        MissingPackageError: If astropy is not installed.

    Example:
        >>> read_fits("ngc4565_grz.fits", hdu="SCI").shape  # doctest: +SKIP
        (424, 424, 3)
    """
    try:
        from astropy.io import fits
    except ImportError as error:
        msg = 'FITS images need astropy: pip install "zoobot[fits]"'
        raise MissingPackageError(msg) from error
    try:
        with _open(source) as file, fits.open(file, mode="readonly", memmap=False) as hdus:
            chosen = choose_image(hdus, hdu)
            shape = image_shape(chosen)
            check_size(*shape[1:], planes=shape[0])
            values = np.asarray(chosen.data).reshape(shape)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        msg = f"not a readable FITS image, perhaps truncated ({error})"
        raise ImageError(msg) from error
    return np.moveaxis(values, 0, -1).astype(values.dtype.newbyteorder("="), copy=False)


class _Gunzipped(gzip.GzipFile):
    """A gzipped file that stops where no image would go on."""

    def read(self, size: int | None = -1) -> bytes:
        _refuse_endless(self.tell())
        return super().read(size)


class _Bunzipped(bz2.BZ2File):
    """The same of a file packed by bzip2."""

    def read(self, size: int | None = -1) -> bytes:
        _refuse_endless(self.tell())
        return super().read(size)


def _refuse_endless(place: int) -> None:
    if place > defaults.MAX_IMAGE_BYTES:
        msg = f"too large: unpacks to more than {defaults.MAX_IMAGE_BYTES:,} bytes"
        raise ImageError(msg)


def _open(source: str | Path | bytes) -> IO[bytes]:
    """The file, unpacked if gzip or bzip2 packed it, once its first header was found to end."""
    file: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115
    head = file.read(2)
    file.seek(0)
    if head == b"\x1f\x8b":
        file = cast("IO[bytes]", _Gunzipped(fileobj=file))
    elif head == b"BZ":
        file = cast("IO[bytes]", _Bunzipped(file))
    for _ in range(_LONGEST_HEADER // _HEADER_READ):
        block = file.read(_HEADER_READ)
        if any(block.startswith(_END, card) for card in range(0, len(block), 80)):
            break
        if len(block) < _HEADER_READ:
            break  # astropy says what is wrong
    else:
        msg = f"not a FITS image: its header does not end within {_LONGEST_HEADER:,} bytes"
        raise ImageError(msg)
    file.seek(0)
    return file


def choose_image(hdus: Any, hdu: int | str | None) -> Any:
    """The extension that holds the image: the one asked for, or else the first.

    Raises:
        ImageError: If there is none.
    """
    return _first_image(hdus) if hdu is None else _find_hdu(hdus, hdu)


def _first_image(hdus: Any) -> Any:
    for hdu in hdus:
        if hdu.is_image and len(hdu.shape) >= 2:
            return hdu
    msg = f"holds no image; its extensions are {_describe(hdus)}"
    raise ImageError(msg)


def _find_hdu(hdus: Any, wanted: int | str) -> Any:
    try:
        found = hdus[wanted]
    except (IndexError, KeyError) as error:
        msg = f"has no extension {wanted!r}; its extensions are {_describe(hdus)}"
        raise ImageError(msg) from error
    if not (found.is_image and len(found.shape) >= 2):
        msg = f"extension {wanted!r} holds no image; its extensions are {_describe(hdus)}"
        raise ImageError(msg)
    return found


def image_shape(hdu: Any) -> tuple[int, int, int]:
    """(planes, height, width) of an image extension.

    Raises:
        ImageError: If it has other axes.
    """
    *leading, height, width = (int(n) for n in hdu.shape)
    planes = math.prod(leading)
    if any(n != 1 for n in leading[:-1]) or min(planes, height, width) < 1:
        msg = f"needs 2 axes (height, width) or 3 (planes, height, width), got the shape {hdu.shape}"
        raise ImageError(msg)
    return planes, height, width


def _describe(hdus: Any) -> str:
    names = [f"{i} {hdu.name or '(no name)'} {getattr(hdu, 'shape', ())}" for i, hdu in enumerate(hdus)]
    return "; ".join(names)
