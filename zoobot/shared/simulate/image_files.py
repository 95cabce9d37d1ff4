"""Writes an exposure as surveys publish theirs: a colour picture, or fluxes in FITS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from zoobot.shared.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from zoobot.shared.simulate.exposure import Exposure

__all__ = ["WRITERS", "write_fits", "write_jpg", "write_png"]


def write_jpg(path: Path, exposure: Exposure, ra: float, dec: float) -> None:
    """Write the colour picture as JPEG."""
    Image.fromarray(exposure.picture()).save(path, quality=95)


def write_png(path: Path, exposure: Exposure, ra: float, dec: float) -> None:
    """Write the colour picture as PNG."""
    Image.fromarray(exposure.picture()).save(path, compress_level=3)


def write_fits(path: Path, exposure: Exposure, ra: float, dec: float) -> None:
    """Write the fluxes as a cube (band, row, column) of nanomaggies, with band names and sky coordinates.

    Raises:
        MissingPackageError: astropy is not installed.
    """
    fits = import_optional("astropy.io.fits", needed_for="writing FITS images")
    cube = exposure.flux()
    header = fits.Header()
    header["BUNIT"] = "nanomaggy"
    header["BANDS"] = "".join(exposure.look.bands)
    header["PIXSCALE"] = (exposure.pixel_scale_arcsec, "arcsec")
    degrees = exposure.pixel_scale_arcsec / 3600
    for axis, (kind, centre, step) in enumerate(
        (("RA---TAN", ra, -degrees), ("DEC--TAN", dec, degrees)), start=1
    ):
        header[f"CTYPE{axis}"] = kind
        header[f"CRVAL{axis}"] = centre
        header[f"CRPIX{axis}"] = (cube.shape[-1] + 1) / 2
        header[f"CDELT{axis}"] = step
        header[f"CUNIT{axis}"] = "deg"
    fits.PrimaryHDU(cube, header).writeto(path)


WRITERS: Mapping[str, Callable[[Path, Exposure, float, float], None]] = {
    "jpg": write_jpg,
    "png": write_png,
    "fits": write_fits,
}
"""How to write each image format."""
