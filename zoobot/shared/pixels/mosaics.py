"""Squares cut from FITS mosaics by position on the sky, without reading the rest of the mosaic."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from zoobot.shared.errors import ImageError, MissingPackageError
from zoobot.shared.imports import import_optional
from zoobot.shared.pixels.bands import Band
from zoobot.shared.pixels.fits_images import choose_images, image_bands, image_shape
from zoobot.shared.pixels.locations import Cutout
from zoobot.shared.pixels.picture_formats import check_size
from zoobot.shared.pixels.shared_files import ForkSafeCache

_MOST_OPEN = 32

_T = TypeVar("_T")


class _Plane(NamedTuple):
    """The extension of a mosaic, or one for each band, and where on the sky their pixels are."""

    hdus: list[Any]
    bands: tuple[Band, ...] | None
    sky: Any
    pixel_scale_arcsec: float


class _OpenMosaic:
    """A mosaic that is read in parts, for one thread at a time; it closes itself when nobody holds it."""

    def __init__(self, path: str) -> None:
        fits = import_optional("astropy.io.fits", needed_for="cutouts of FITS mosaics")
        self.lock = threading.Lock()
        self._planes: dict[int | str | None, _Plane] = {}
        self._hdus = fits.open(
            path, mode="readonly", memmap=False
        )  # mapped, scaled values could not be read in parts

    def __del__(self) -> None:
        if hasattr(self, "_hdus"):
            self._hdus.close()

    def find_plane(self, hdu: int | str | None) -> _Plane:
        if hdu not in self._planes:
            wcs = import_optional("astropy.wcs", needed_for="cutouts of FITS mosaics")
            images = choose_images(self._hdus, hdu)
            chosen = images[0]
            with warnings.catch_warnings():  # of old spellings that astropy mends
                warnings.simplefilter("ignore", wcs.FITSFixedWarning)
                whole = wcs.WCS(chosen.header)
            sky = whole.celestial
            if not whole.has_celestial:
                msg = f"extension {chosen.name or hdu!r} has no celestial coordinates (WCS) to cut by"
                raise ImageError(msg)
            scales_deg = wcs.utils.proj_plane_pixel_scales(sky)
            scale_arcsec = float(np.sqrt(scales_deg[0] * scales_deg[1])) * 3600
            self._planes[hdu] = _Plane(images, image_bands(images, self._hdus), sky, scale_arcsec)
        return self._planes[hdu]


_OPEN_MOSAICS: ForkSafeCache[int, _OpenMosaic] = ForkSafeCache(lambda: _MOST_OPEN)
_numbers = count()


class Mosaic:
    """An uncompressed or tile-compressed FITS image with celestial coordinates.

    Args:
        path: The file.

    Raises:
        ImageError: If the file can't be read as FITS.
        MissingPackageError: If astropy is not installed.
    """

    damage = ""

    def __init__(self, path: str) -> None:
        self._path = path
        self._number = next(_numbers)
        _attempt(self._opened)

    def _opened(self) -> _OpenMosaic:
        return _OPEN_MOSAICS.get_or_make(self._number, lambda: _OpenMosaic(self._path))

    def __contains__(self, member: str) -> bool:
        try:
            cutout = Cutout.parse(member)
            inside = self.find_margins([cutout.ra_deg], [cutout.dec_deg], None) > 0
        except ImageError:
            return False
        return bool(inside[0])

    def find_margins(self, ra_deg: Any, dec_deg: Any, hdu: int | str | None) -> NDArray[np.float64]:
        """How many pixels each position lies inside of the image's nearest edge; negative where outside.

        Args:
            ra_deg: Right ascensions, (positions,).
            dec_deg: Declinations, (positions,).
            hdu: The extension; None is the first that holds an image.

        Returns:
            (positions,), in pixels.

        Raises:
            ImageError: If there is no such extension, or it has no celestial coordinates.
        """

        def find() -> NDArray[np.float64]:
            opened = self._opened()
            with opened.lock:
                plane = opened.find_plane(hdu)
                x, y = _to_pixels(plane.sky, ra_deg, dec_deg)
                _, height, width = image_shape(plane.hdus[0])
            margins = np.minimum.reduce([x + 0.5, y + 0.5, width - 0.5 - x, height - 0.5 - y])
            return np.where(np.isfinite(margins), margins, -np.inf)

        return _attempt(find)

    def cut(self, member: str, hdu: int | str | None) -> tuple[NDArray, tuple[Band, ...] | None]:
        """Physical values of a square, planes last, in the orientation of the mosaic, and their bands.

        Args:
            member: The square, as `Cutout` writes it. It is centred on the pixel that holds the position.
            hdu: The extension; None is the first that holds an image.

        Returns:
            (side, side, planes), float64, NaN outside of the mosaic and where it has no value; and a band for
            each plane, or None where the mosaic does not name them.

        Raises:
            ImageError: If the square lies outside of the mosaic, or the mosaic can't be read there.
        """
        cutout = Cutout.parse(member)
        return _attempt(lambda: self._cut(cutout, hdu))

    def _cut(self, cutout: Cutout, hdu: int | str | None) -> tuple[NDArray, tuple[Band, ...] | None]:
        nddata = import_optional("astropy.nddata", needed_for="cutouts of FITS mosaics")
        opened = self._opened()
        with opened.lock:  # astropy's readers are for one thread
            plane = opened.find_plane(hdu)
            planes, height, width = image_shape(plane.hdus[0])
            side = cutout.size if cutout.unit == "pix" else cutout.size / plane.pixel_scale_arcsec
            side_pix = max(1, round(side))
            check_size(side_pix, side_pix, planes * len(plane.hdus))
            x, y = _to_pixels(plane.sky, cutout.ra_deg, cutout.dec_deg)
            if not (np.isfinite(x) and np.isfinite(y)):
                raise ImageError(_outside(cutout))
            try:
                there, here = nddata.overlap_slices(
                    (height, width), (side_pix, side_pix), (float(y), float(x)), mode="partial"
                )
            except nddata.NoOverlapError:
                raise ImageError(_outside(cutout)) from None
            leading = (slice(None),) * (len(plane.hdus[0].shape) - 2)
            parts = [np.asarray(one.section[(*leading, *there)]) for one in plane.hdus]
        values = np.concatenate([part.reshape((planes, *part.shape[-2:])) for part in parts])
        square = np.full((len(values), side_pix, side_pix), np.nan, np.float64)
        square[(slice(None), *here)] = values
        return np.moveaxis(square, 0, -1), plane.bands


def _to_pixels(sky: Any, ra_deg: Any, dec_deg: Any) -> tuple[NDArray, NDArray]:
    """Pixel coordinates of positions (ICRS), NaN where the image's projection has no place for them."""
    coordinates = import_optional("astropy.coordinates", needed_for="cutouts of FITS mosaics")
    x, y = sky.world_to_pixel(coordinates.SkyCoord(ra_deg, dec_deg, unit="deg"))
    return np.asarray(x, float), np.asarray(y, float)


def _attempt(work: Callable[[], _T]) -> _T:
    """What astropy gives; whatever it raises over a damaged mosaic becomes an ImageError."""
    try:
        return work()
    except (ImageError, MissingPackageError, MemoryError):
        raise
    except Exception as error:
        msg = f"not a mosaic that can be read, perhaps truncated ({type(error).__name__}: {error})"
        raise ImageError(msg) from error


def _outside(cutout: Cutout) -> str:
    return f"the position {cutout.ra_deg!r}, {cutout.dec_deg!r} and its square lie outside of the mosaic"
