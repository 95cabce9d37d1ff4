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
from zoobot.shared.pixels.locations import Cutout, PixelCutout
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

    def require_sky(self) -> Any:
        if self.sky is None:
            name = self.hdus[0].name or "of the image"
            raise ImageError(f"extension {name!r} has no celestial coordinates (WCS) to cut by")
        return self.sky


class MosaicFacts(NamedTuple):
    """What a mosaic is.

    Attributes:
        planes: How many planes there are: one for each band.
        height: Rows.
        width: Columns.
        bands: The band of each plane; None where the file does not name them.
        sky: Its celestial coordinates, an `astropy.wcs.WCS`; None where it has none.
        pixel_scale_arcsec: Side of a pixel; NaN without coordinates.
        saturation: The value from which on the header says that pixels are saturated; None if it does not.
        extensions: The names of all extensions, for messages.
    """

    planes: int
    height: int
    width: int
    bands: tuple[Band, ...] | None
    sky: Any
    pixel_scale_arcsec: float
    saturation: float | None
    extensions: tuple[str, ...]


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

    def extension_names(self) -> list[str]:
        """What all extensions are called: by name, or by number."""
        return [one.name or str(number) for number, one in enumerate(self._hdus)]

    def find_plane(self, hdu: int | str | None) -> _Plane:
        if hdu not in self._planes:
            wcs = import_optional("astropy.wcs", needed_for="cutouts of FITS mosaics")
            images = choose_images(self._hdus, hdu)
            chosen = images[0]
            with warnings.catch_warnings():  # of old spellings that astropy mends
                warnings.simplefilter("ignore", wcs.FITSFixedWarning)
                whole = wcs.WCS(chosen.header)
            sky, scale_arcsec = None, float("nan")
            if whole.has_celestial:
                sky = whole.celestial
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

    def describe(self, hdu: int | str | None) -> MosaicFacts:
        """What there is in an extension; None is the first that holds an image.

        Raises:
            ImageError: If there is no such extension.
        """

        def look() -> MosaicFacts:
            opened = self._opened()
            with opened.lock:
                plane = opened.find_plane(hdu)
                planes, height, width = image_shape(plane.hdus[0])
                level = plane.hdus[0].header.get("SATURATE")
                is_level = isinstance(level, (int, float)) and not isinstance(level, bool) and level > 0
                return MosaicFacts(
                    planes=planes * len(plane.hdus),
                    height=height,
                    width=width,
                    bands=plane.bands,
                    sky=plane.sky,
                    pixel_scale_arcsec=plane.pixel_scale_arcsec,
                    saturation=float(level) if is_level else None,
                    extensions=tuple(opened.extension_names()),
                )

        return _attempt(look)

    def read_part(self, plane: int, rows: slice, columns: slice, hdu: int | str | None) -> NDArray:
        """Physical values of a part of one plane, (rows, columns), NaN where the mosaic has no value.

        Args:
            plane: Its number, from 0.
            rows: Rows of the mosaic.
            columns: Columns of the mosaic.
            hdu: The extension; None is the first that holds an image.

        Raises:
            ImageError: If the mosaic can't be read there.
        """

        def read() -> NDArray:
            opened = self._opened()
            with opened.lock:
                found = opened.find_plane(hdu)
                each = image_shape(found.hdus[0])[0]
                one = found.hdus[plane // each]
                leading = [0] * (len(one.shape) - 2)
                if leading:
                    leading[-1] = plane % each
                part = np.asarray(one.section[(*leading, rows, columns)])
            return part.astype(part.dtype.newbyteorder("="), copy=False)

        return _attempt(read)

    def __contains__(self, member: str) -> bool:
        try:
            square = PixelCutout.parse(member)
            if square is not None:
                facts = self.describe(None)
                return -0.5 <= square.x <= facts.width - 0.5 and -0.5 <= square.y <= facts.height - 0.5
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
                x, y = _to_pixels(plane.require_sky(), ra_deg, dec_deg)
                _, height, width = image_shape(plane.hdus[0])
            margins = np.minimum.reduce([x + 0.5, y + 0.5, width - 0.5 - x, height - 0.5 - y])
            return np.where(np.isfinite(margins), margins, -np.inf)

        return _attempt(find)

    def cut(self, member: str, hdu: int | str | None) -> tuple[NDArray, tuple[Band, ...] | None]:
        """Physical values of a square, planes last, in the orientation of the mosaic, and their bands.

        Args:
            member: The square, as `Cutout` or `PixelCutout` writes it. It is centred on the pixel that holds
                the position.
            hdu: The extension; None is the first that holds an image.

        Returns:
            (side, side, planes), float64, NaN outside of the mosaic and where it has no value; and a band for
            each plane, or None where the mosaic does not name them.

        Raises:
            ImageError: If the square lies outside of the mosaic, or the mosaic can't be read there.
        """
        cutout = PixelCutout.parse(member) or Cutout.parse(member)
        return _attempt(lambda: self._cut(cutout, hdu))

    def _cut(
        self, cutout: Cutout | PixelCutout, hdu: int | str | None
    ) -> tuple[NDArray, tuple[Band, ...] | None]:
        nddata = import_optional("astropy.nddata", needed_for="cutouts of FITS mosaics")
        opened = self._opened()
        with opened.lock:  # astropy's readers are for one thread
            plane = opened.find_plane(hdu)
            planes, height, width = image_shape(plane.hdus[0])
            if isinstance(cutout, PixelCutout):
                side, x, y = cutout.size_pix, np.asarray(cutout.x), np.asarray(cutout.y)
            else:
                sky = plane.require_sky()
                side = cutout.size if cutout.unit == "pix" else cutout.size / plane.pixel_scale_arcsec
                x, y = _to_pixels(sky, cutout.ra_deg, cutout.dec_deg)
            side_pix = max(1, round(side))
            check_size(side_pix, side_pix, planes * len(plane.hdus))
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


def _outside(cutout: Cutout | PixelCutout) -> str:
    return f"the position {cutout[0]!r}, {cutout[1]!r} and its square lie outside of the mosaic"
