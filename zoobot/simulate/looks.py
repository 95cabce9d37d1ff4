"""The surveys a galaxy can be seen by: how sharp, how deep, in which colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zoobot.shared.errors import ConfigError


@dataclass(frozen=True)
class Look:
    """What a survey does to the sky, and how its pictures are made.

    Args:
        name: What users call it.
        bands: Names of the three bands, bluest first.
        median_radius_arcsec: Typical half-light radius of its galaxies.
        frame_in_radii: Side of a cutout, in effective radii of its galaxy.
        native_pixel_arcsec: Size of the detector's pixels.
        psf_fwhm_arcsec: Sharpness in each band.
        psf_wings: Share of the light in the wings, beyond a Gaussian core.
        sky_noise: Standard deviation of the sky in a native pixel in each band, nanomaggies.
        gain: Photo-electrons per nanomaggy in each band, which sets the photon noise.
        faintest_magnitude: Neighbours are drawn down to this r-band magnitude.
        stars_per_arcmin2: Density of stars down to that magnitude.
        galaxies_per_arcmin2: Density of background galaxies.
        dimming: Magnitudes per square arcsecond by which its galaxies are fainter than nearby ones.
        spikes_deg: Direction of the diffraction spikes of bright stars.
        band_scale: Factors that bring the bands to one scale before the picture is made.
        softening: Scaled nanomaggies per native pixel where the stretch turns logarithmic.
        white: Surface brightness that becomes white, in units of `softening`.
        saturation: How vivid the colours are; 0 is grey, 1 as measured.
        black: Brightness of an empty sky in the picture, in [0, 1].
    """

    name: str
    bands: tuple[str, str, str]
    median_radius_arcsec: float
    frame_in_radii: float
    native_pixel_arcsec: float
    psf_fwhm_arcsec: tuple[float, float, float]
    psf_wings: float
    sky_noise: tuple[float, float, float]
    gain: tuple[float, float, float]
    faintest_magnitude: float
    stars_per_arcmin2: float
    galaxies_per_arcmin2: float
    dimming: float
    spikes_deg: float
    band_scale: tuple[float, float, float]
    softening: float
    white: float
    saturation: float
    black: float


#: What differs between the surveys, a column for each.
_SURVEYS: dict[str, tuple[Any, ...]] = {
    "name": ("decals", "sdss", "hst", "euclid"),
    "bands": (("g", "r", "z"), ("g", "r", "i"), ("V", "I", "J"), ("I", "I", "I")),
    "median_radius_arcsec": (7.0, 4.6, 0.8, 1.6),
    "frame_in_radii": (8.7, 8.7, 8.7, 8.7),
    "native_pixel_arcsec": (0.262, 0.396, 0.03, 0.1),
    "psf_fwhm_arcsec": ((1.35, 1.2, 1.1), (1.45, 1.35, 1.3), (0.085, 0.09, 0.1), (0.17, 0.17, 0.17)),
    "psf_wings": (0.2, 0.2, 0.25, 0.2),
    "sky_noise": (
        (0.003, 0.005, 0.015),
        (0.016, 0.02, 0.032),
        (0.00012, 0.00014, 0.00022),
        (0.0009, 0.0009, 0.0009),
    ),
    "gain": (
        (9000.0, 7000.0, 3500.0),
        (200.0, 200.0, 150.0),
        (400000.0, 400000.0, 300000.0),
        (150000.0, 150000.0, 150000.0),
    ),
    "faintest_magnitude": (22.8, 21.6, 26.5, 25.0),
    "stars_per_arcmin2": (2.4, 2.0, 4.0, 4.0),
    "galaxies_per_arcmin2": (7.0, 3.0, 130.0, 60.0),
    "dimming": (0.0, -0.15, 1.0, 0.6),
    "spikes_deg": (0.0, 45.0, 45.0, 30.0),
    "band_scale": ((1.7, 1.0, 0.635), (1.5, 1.0, 0.72), (1.6, 1.0, 0.68), (1.0, 1.0, 1.0)),
    "softening": (0.022, 0.14, 0.00022, 0.0028),
    "white": (110.0, 40.0, 130.0, 110.0),
    "saturation": (0.65, 1.35, 1.0, 0.0),
    "black": (0.067, 0.014, 0.03, 0.05),
}

LOOKS: dict[str, Look] = {
    values[0]: Look(**dict(zip(_SURVEYS, values, strict=True)))
    for values in zip(*_SURVEYS.values(), strict=True)
}
"""The looks by name."""


def get_look(look: str | Look) -> Look:
    """A look by its name.

    Args:
        look: One of `LOOKS`, or a `Look` of one's own, which comes back as it is.

    Raises:
        ConfigError: No look has this name.

    Example:
        >>> get_look("sdss").bands
        ('g', 'r', 'i')
    """
    if isinstance(look, Look):
        return look
    if look not in LOOKS:
        msg = f"unknown look {look!r}; expected one of {list(LOOKS)}, or a Look of your own"
        raise ConfigError(msg)
    return LOOKS[look]


def stretch(surface_brightness: np.ndarray, look: Look) -> np.ndarray:
    """A picture, uint8 (height, width, 3), red first, in which bright cores and faint outskirts are visible.

    Args:
        surface_brightness: Nanomaggies per native pixel, (height, width, 3), bluest band first.
        look: Says how the picture is made.

    References:
        Lupton et al. (2004), PASP 116, 133: one asinh stretch of the mean intensity keeps the colours.
    """
    scaled = surface_brightness * (np.asarray(look.band_scale, dtype=np.float32) / np.float32(look.softening))
    intensity = scaled.mean(axis=2, keepdims=True)
    if look.saturation != 1:
        scaled = intensity + np.float32(look.saturation) * (scaled - intensity)
    size = np.maximum(np.abs(intensity), np.float32(1e-4))
    scaled = scaled * (np.arcsinh(size) / (size * np.float32(np.arcsinh(look.white))))
    picture = np.float32(look.black) + np.float32(1 - look.black) * scaled[..., ::-1]
    return np.clip(picture * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
