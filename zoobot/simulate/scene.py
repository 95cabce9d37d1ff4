"""How a survey sees galaxies: its look, what else is in the frame, blur, noise, and what spoils an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from zoobot.shared.errors import ConfigError
from zoobot.simulate.profiles import colour_of, flux_of

# The surveys a galaxy can be seen by: how sharp, how deep, in which colours.


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
        raise ConfigError(f"unknown look {look!r}; expected one of {list(LOOKS)}, or a Look of your own")
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


# What else is in the frame: stars, background galaxies, and what spoils an image.

_BRIGHTEST_NEIGHBOUR = 15.5
_COUNTS_SLOPE = {"stars": 0.2, "galaxies": 0.4}
"""How fast counts grow per magnitude (log10): stars run out of Galaxy, galaxies do not."""


def add_neighbours(
    light: np.ndarray, look: Look, rng: np.random.Generator, *, pixel_scale_arcsec: float
) -> None:
    """Add foreground stars and background galaxies to a noiseless image, in place.

    Args:
        light: Nanomaggies, (size, size, 3).
        look: Says how many and how faint.
        rng: Source of randomness.
        pixel_scale_arcsec: Size of a pixel.
    """
    area_arcmin2 = (light.shape[0] * pixel_scale_arcsec / 60) ** 2
    stars = rng.poisson(look.stars_per_arcmin2 * area_arcmin2)
    galaxies = rng.poisson(look.galaxies_per_arcmin2 * area_arcmin2)
    for magnitude in _magnitudes(rng, stars, look, "stars"):
        colour = colour_of(float(rng.choice([rng.normal(-0.3, 0.25), rng.normal(0.6, 0.25)], p=[0.6, 0.4])))
        _add_star(light, rng.random(2), flux_of(magnitude) * colour)
    for magnitude in _magnitudes(rng, galaxies, look, "galaxies"):
        _add_background_galaxy(light, look, rng, magnitude, pixel_scale_arcsec)


def _magnitudes(rng: np.random.Generator, count: int, look: Look, what: str) -> list[float]:
    slope = _COUNTS_SLOPE[what]
    bright = _BRIGHTEST_NEIGHBOUR + (look.faintest_magnitude - 22.8)
    lowest = 10 ** (slope * (bright - look.faintest_magnitude))
    return [look.faintest_magnitude + math.log10(u) / slope for u in rng.uniform(lowest, 1, count)]


def _add_star(light: np.ndarray, where: np.ndarray, flux: np.ndarray) -> None:
    """Share a point's light among the four pixels around it."""
    size = light.shape[0]
    column, row = where * (size - 1)
    left, top = min(int(column), size - 2), min(int(row), size - 2)
    right_share, down_share = column - left, row - top
    weights = np.outer([1 - down_share, down_share], [1 - right_share, right_share]).astype(np.float32)
    light[top : top + 2, left : left + 2] += weights[..., None] * flux.astype(np.float32)


def _add_background_galaxy(
    light: np.ndarray, look: Look, rng: np.random.Generator, magnitude: float, pixel_scale_arcsec: float
) -> None:
    size = light.shape[0]
    half_light_arcsec = 0.11 * look.median_radius_arcsec * rng.lognormal(0, 0.35)
    half_light_arcsec *= 10 ** (0.12 * (look.faintest_magnitude - magnitude))
    scale = max(half_light_arcsec / pixel_scale_arcsec / 1.678, 0.35)
    column, row = rng.random(2) * size
    angle, axis_ratio, youth = rng.uniform(0, math.pi), rng.uniform(0.3, 1), rng.uniform(-0.2, 0.95)
    reach = int(min(6 * scale, size / 2)) + 2
    top, left = max(0, int(row) - reach), max(0, int(column) - reach)
    bottom, right = min(size, int(row) + reach), min(size, int(column) + reach)
    y = (np.arange(top, bottom, dtype=np.float32) - row)[:, None]
    x = (np.arange(left, right, dtype=np.float32) - column)[None, :]
    along = x * math.cos(angle) + y * math.sin(angle)
    across = (y * math.cos(angle) - x * math.sin(angle)) / axis_ratio
    profile = np.exp(-np.sqrt(along * along + across * across + 0.1) / scale)
    flux = flux_of(magnitude) / (2 * math.pi * scale**2 * axis_ratio)
    light[top:bottom, left:right] += (flux * profile).astype(np.float32)[..., None] * colour_of(youth)


def blur(light: np.ndarray, look: Look, *, pixel_scale_arcsec: float, seeing: float) -> np.ndarray:
    """An image as sharp as the look allows: a Gaussian core and broad wings, as a Moffat has.

    Args:
        light: Nanomaggies, (size, size, 3).
        look: Says how sharp each band is.
        pixel_scale_arcsec: Size of a pixel.
        seeing: Factor on the look's typical width, this night.

    Returns:
        The blurred image; light is kept, except what leaves the frame.
    """
    blurred = np.empty_like(light)
    for band, fwhm_arcsec in enumerate(look.psf_fwhm_arcsec):
        # Pixels already average over their own width, which this takes out of what is left to blur.
        sigma = seeing * fwhm_arcsec / 2.3548 / pixel_scale_arcsec
        plane = np.ascontiguousarray(light[..., band])
        core = cv2.GaussianBlur(plane, (0, 0), max(sigma, 0.45), borderType=cv2.BORDER_REPLICATE)
        wings = cv2.GaussianBlur(core, (0, 0), max(1.8 * sigma, 0.6), borderType=cv2.BORDER_REPLICATE)
        blurred[..., band] = core + np.float32(look.psf_wings) * (wings - core)
    return blurred


def add_sky(
    light: np.ndarray, look: Look, rng: np.random.Generator, *, pixel_scale_arcsec: float
) -> np.ndarray:
    """An image in nanomaggies per native pixel, with noise of sky and photons, as resampled from them.

    Args:
        light: Nanomaggies per pixel, blurred, (size, size, 3).
        look: Says how noisy.
        rng: Source of randomness.
        pixel_scale_arcsec: Size of the image's pixels.
    """
    ratio = pixel_scale_arcsec / look.native_pixel_arcsec
    surface_brightness = light * np.float32(1 / ratio**2)
    variance = np.square(np.asarray(look.sky_noise, dtype=np.float32))
    variance = variance + np.maximum(surface_brightness, 0) / np.asarray(look.gain, dtype=np.float32)
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    if ratio >= 1:  # several native pixels fell into each: they average
        noise *= np.float32(1 / ratio)
    else:  # interpolated up: neighbours share their noise
        sigma = 0.55 / ratio
        noise = cv2.GaussianBlur(noise, (0, 0), sigma) * np.float32(
            min(2 * math.sqrt(math.pi) * sigma, 1 / ratio)
        )
    return surface_brightness + noise * np.sqrt(variance)


def add_artifact(
    image: np.ndarray, kind: str, look: Look, rng: np.random.Generator, *, pixel_scale_arcsec: float
) -> np.ndarray:
    """An image spoiled by a bright star, a satellite trail, saturation or a fault of the camera.

    Args:
        image: Nanomaggies per native pixel, (size, size, 3).
        kind: "star", "trail", "saturation" or "glitch".
        look: The survey's.
        rng: Source of randomness.
        pixel_scale_arcsec: Size of a pixel.
    """
    if kind == "trail":
        return _add_trails(image, look, rng)
    if kind == "glitch":
        return _break_camera(image, look, rng)
    near = 0.06 if kind == "saturation" else rng.uniform(0.0, 0.3)
    return _add_bright_star(
        image, look, rng, distance=near, bleeds=kind == "saturation", pixel=pixel_scale_arcsec
    )


def _frame(size: int) -> tuple[np.ndarray, np.ndarray]:
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    return axis[None, :], axis[:, None]


def _add_bright_star(
    image: np.ndarray, look: Look, rng: np.random.Generator, *, distance: float, bleeds: bool, pixel: float
) -> np.ndarray:
    size = image.shape[0]
    x, y = _frame(size)
    direction = rng.uniform(0, 2 * math.pi)
    x, y = x - np.float32(distance * math.cos(direction)), y - np.float32(distance * math.sin(direction))
    core = np.float32(look.psf_fwhm_arcsec[1] / (pixel * size))
    radius2 = (x * x + y * y) / core**2
    halo = (1 + radius2) ** np.float32(-1.35)
    angle = math.radians(look.spikes_deg + rng.normal(0, 3))
    along, across = (
        np.abs(x * math.cos(angle) + y * math.sin(angle)),
        np.abs(y * math.cos(angle) - x * math.sin(angle)),
    )
    spike_width = np.float32(0.3) * core
    spikes = np.zeros_like(halo)
    for ahead, beside in ((along, across), (across, along)):
        spikes += np.exp(-0.5 * (beside / spike_width) ** 2) * (1 + ahead / core) ** np.float32(-1.7)
    peak = np.float32(look.softening * look.white * 10 ** rng.uniform(0.6, 1.5))
    star = (halo + np.float32(0.35) * spikes)[..., None] * (peak * colour_of(rng.uniform(0.2, 0.9)))
    image = image + star / np.asarray(look.band_scale, dtype=np.float32)
    if bleeds:
        reach = np.float32(rng.uniform(0.08, 0.3))
        column = np.exp(-0.5 * (x / (np.float32(0.6) * core)) ** 2) * np.exp(-np.abs(y) / reach)
        bands = rng.dirichlet([2, 2, 2]).astype(np.float32)
        image += np.float32(look.softening * look.white) * column[..., None] * bands
        # The detector is full at the star's core, so the bands that bled most are missing there.
        full = 1 / (1 + (radius2 / np.float32(rng.uniform(1, 3))) ** 4)
        image *= 1 - full[..., None] * bands * np.float32(rng.uniform(0.3, 1.2))
    return image


def _add_trails(image: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    size = image.shape[0]
    x, y = _frame(size)
    image = image.copy()
    angle = rng.uniform(0, math.pi)
    for _ in range(int(rng.choice([1, 2], p=[0.6, 0.4]))):
        turned = angle + rng.normal(0, 0.02)
        across = x * math.cos(turned) + y * math.sin(turned) - rng.uniform(-0.18, 0.18)
        profile = np.exp(-0.5 * (across / rng.uniform(0.003, 0.007)) ** 2).astype(np.float32)
        bands = rng.dirichlet([2, 2, 2]).astype(np.float32) * 3
        image += profile[..., None] * bands * np.float32(look.softening * rng.uniform(2, 12))
    return image


def _break_camera(image: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """One band without data beyond an edge, and another with a sky level of its own."""
    size = image.shape[0]
    x, y = _frame(size)
    angle = float(rng.choice([0, math.pi / 2])) + rng.normal(0, 0.03)
    beyond = x * math.cos(angle) + y * math.sin(angle) > rng.uniform(-0.15, 0.1)
    image = image.copy()
    empty, shifted = rng.permutation(3)[:2]
    image[..., empty][beyond] = 0
    image[..., shifted] += np.float32(look.softening * rng.uniform(0.05, 0.4))
    return image
