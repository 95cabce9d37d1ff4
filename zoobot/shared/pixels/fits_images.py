"""The image planes of a FITS file: chosen extension, planes last, physical values."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import os
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from zoobot.shared import defaults
from zoobot.shared.errors import ImageError, MissingPackageError
from zoobot.shared.pixels.bands import Band, own_band, plane_bands
from zoobot.shared.pixels.picture_formats import check_size

_HEADER_READ = 2880 * 32
_LONGEST_HEADER = _HEADER_READ * 45
"""4 MiB: 50,000 cards. Without a limit a header that never ends would be read into memory."""
_END = b"END".ljust(80)


def read_fits(source: str | Path | bytes, hdu: int | str | None = None) -> NDArray:
    """Physical values of the image in a FITS file, planes last, as `read_fits_bands` reads them."""
    return read_fits_bands(source, hdu)[0]


def read_fits_bands(
    source: str | Path | bytes, hdu: int | str | None = None
) -> tuple[NDArray, tuple[Band, ...] | None]:
    """Physical values of the image in a FITS file, planes last, and their bands where the file names them.

    Plain, packed (gzip, bzip2) and tile-compressed (.fz) files are read alike, of either endianness; BSCALE,
    BZERO and BLANK are applied. Rows stay in the order of the file. Leading axes of length 1 beyond three are
    dropped.

    Args:
        source: The FITS file, or its bytes.
        hdu: Extension, by index (0 is the primary) or name; None takes the first that holds an image, or all
            that hold one where they name different bands (`choose_images`).

    Returns:
        (height, width, planes), a real dtype in native byte order, NaN where the file has no value; and a
        band for each plane, or None.

    Raises:
        ImageError: If the file is truncated or not FITS, has no such extension, or the extension is not an
            image of two or three axes within the size limit.
        MissingPackageError: If astropy is not installed.

    Example:
        >>> values, bands = read_fits_bands("ngc4565_grz.fits")  # doctest: +SKIP
        >>> values.shape, [band.name for band in bands]  # doctest: +SKIP
        ((424, 424, 3), ['g', 'r', 'z'])
    """
    try:
        from astropy.io import fits
    except ImportError as error:
        raise MissingPackageError('FITS images need astropy: pip install "zoobot[fits]"') from error
    try:
        with _open(source) as file, fits.open(file, mode="readonly", memmap=False) as hdus:
            size = len(source) if isinstance(source, bytes) else os.path.getsize(source)
            return planes_of_hdus(hdus, hdu, n_bytes=size)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(f"not a readable FITS image, perhaps truncated ({error})") from error


def holds_image(path: str | Path) -> bool:
    """Whether the headers of a FITS file tell of an image, whole or not."""
    from astropy.io import fits

    try:
        with _open(path) as file, fits.open(file, mode="readonly", memmap=False) as hdus:
            return any(one.is_image and len(one.shape) >= 2 for one in hdus)
    except Exception:  # noqa: BLE001  astropy has many for damaged files, which hold none
        return False


def planes_of_hdus(
    hdus: Any, hdu: int | str | None = None, *, n_bytes: int | None = None
) -> tuple[NDArray, tuple[Band, ...] | None]:
    """What `read_fits_bands` gives, of extensions that are open.

    Args:
        hdus: The extensions; or one alone, which is then the image.
        hdu: Which of them.
        n_bytes: The size of the file, where they are in one.

    Raises:
        ImageError: If there is no such image.
    """
    if not isinstance(hdus, list):
        hdus, hdu = [hdus], None
    chosen = choose_images(hdus, hdu)
    shape = image_shape(chosen[0])
    value_bytes = abs(int(chosen[0].header["BITPIX"])) // 8
    check_size(*shape[1:], planes=shape[0] * len(chosen), n_bytes=n_bytes, value_bytes=value_bytes)
    values = np.concatenate([np.asarray(one.data).reshape(shape) for one in chosen])
    planes = np.moveaxis(values, 0, -1).astype(values.dtype.newbyteorder("="), copy=False)
    return planes, image_bands(chosen, hdus)


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
        raise ImageError(f"too large: unpacks to more than {defaults.MAX_IMAGE_BYTES:,} bytes")


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
        raise ImageError(f"not a FITS image: its header does not end within {_LONGEST_HEADER:,} bytes")
    file.seek(0)
    return file


def choose_images(hdus: Any, hdu: int | str | None) -> list[Any]:
    """The extensions that hold the image: the one asked for, or else the first.

    Where that is of one plane and others of its shape name other bands (BAND, FILTER or the extension's own
    name), it is the image in one band, and they are in theirs; inverse variances, masks and the like are not.

    Raises:
        ImageError: If there is none.
    """
    if hdu is not None:
        return [_find_hdu(hdus, hdu)]
    first = _first_image(hdus)
    if len(first.shape) > 2:
        return [first]
    by_band: dict[str, Any] = {}
    for one in hdus:
        band = own_band(one.header) if one.is_image and len(one.shape) == 2 else None
        if band is not None:
            by_band.setdefault(band.name, one)
    bands = [one for one in by_band.values() if one.shape == first.shape]
    return bands if len(bands) > 1 and any(one is first for one in bands) else [first]


def image_bands(chosen: list[Any], hdus: Any) -> tuple[Band, ...] | None:
    """The bands of the planes of the extensions that were chosen; None where the file does not name them."""
    if len(chosen) > 1:
        return tuple(band for one in chosen if (band := own_band(one.header)) is not None)
    planes = image_shape(chosen[0])[0]
    return plane_bands(chosen[0].header, planes) or plane_bands(hdus[0].header, planes)


def _first_image(hdus: Any) -> Any:
    for hdu in hdus:
        if hdu.is_image and len(hdu.shape) >= 2:
            return hdu
    raise ImageError(f"holds no image; its extensions are {_describe(hdus)}")


def _find_hdu(hdus: Any, wanted: int | str) -> Any:
    try:
        found = hdus[wanted]
    except (IndexError, KeyError) as error:
        raise ImageError(f"has no extension {wanted!r}; its extensions are {_describe(hdus)}") from error
    if not (found.is_image and len(found.shape) >= 2):
        raise ImageError(f"extension {wanted!r} holds no image; its extensions are {_describe(hdus)}")
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
