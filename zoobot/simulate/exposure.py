"""One exposure of one galaxy: its truth, its pixels, and how well its details can be seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from zoobot.shared import defaults
from zoobot.simulate import scene
from zoobot.simulate.drawing import CLASS_NAMES, Galaxy, draw_galaxy
from zoobot.simulate.profiles import flux_of
from zoobot.simulate.render import render_galaxy
from zoobot.simulate.scene import Look, get_look, stretch

# Independent random numbers for each thing drawn, so that a change in one leaves the others as they were.
_STREAMS = {
    "structure": 0,
    "details": 1,
    "neighbours": 2,
    "noise": 3,
    "artifact": 4,
    "position": 5,
    "votes": 6,
}


def stream(seed: int, number: int, purpose: str) -> np.random.Generator:
    """The random numbers of one galaxy for one purpose.

    Args:
        seed: The survey's.
        number: The galaxy's, from 0.
        purpose: What is drawn, such as "noise".
    """
    return np.random.default_rng([seed, number, _STREAMS[purpose]])


@dataclass(frozen=True)
class Exposure:
    """A galaxy as one survey sees it.

    Args:
        galaxy: The truth.
        look: The survey.
        pixel_scale_arcsec: Size of a pixel.
        surface_brightness: Nanomaggies per native pixel, (height, width, 3), bluest band first.
        visibility: How well details can be seen, in [0, 1]: large, bright galaxies near 1.
    """

    galaxy: Galaxy
    look: Look
    pixel_scale_arcsec: float
    surface_brightness: np.ndarray
    visibility: float

    def picture(self) -> np.ndarray:
        """The colour picture, uint8 (height, width, 3), red first."""
        return stretch(self.surface_brightness, self.look)

    def flux(self) -> np.ndarray:
        """Nanomaggies per pixel, float32 (3, height, width), bluest band first."""
        share = (self.pixel_scale_arcsec / self.look.native_pixel_arcsec) ** 2
        return np.ascontiguousarray((self.surface_brightness * np.float32(share)).transpose(2, 0, 1))

    def truth(self) -> dict[str, Any]:
        """All that is true of the galaxy: ready labels first, then its parameters, by column name."""
        galaxy = self.galaxy
        return {
            "label": CLASS_NAMES.index(galaxy.class_name),
            "label_name": galaxy.class_name,
            "ring": int(galaxy.ring_strength > 0),
            "spiral": int(galaxy.arms > 0),
            "bar_length_pix": galaxy.bar_length * galaxy.effective_radius_arcsec / self.pixel_scale_arcsec,
            "magnitude": galaxy.magnitude,
            "visibility": self.visibility,
            "pixel_scale_arcsec": self.pixel_scale_arcsec,
            **asdict(galaxy),
        }


def expose(
    seed: int = defaults.SEED,
    number: int = 0,
    *,
    look: str | Look = "decals",
    image_size_pix: int = 128,
    kinds: Mapping[str, float] | None = None,
    ring_fraction: float = 0.35,
) -> Exposure:
    """One galaxy of a survey, seen by a telescope.

    Args:
        seed: The survey's seed.
        number: Which of its galaxies, from 0.
        look: The survey to imitate.
        image_size_pix: Side of the image.
        kinds: Weights of the kinds of galaxies, see `draw_galaxy`.
        ring_fraction: Share of the face-on disks that have a ring.

    Returns:
        Truth and pixels.

    Raises:
        ConfigError: The look or a kind is unknown.
    """
    look = get_look(look)
    galaxy = draw_galaxy(
        stream(seed, number, "structure"),
        median_radius_arcsec=look.median_radius_arcsec,
        kinds=kinds,
        ring_fraction=ring_fraction,
    )
    galaxy = replace(galaxy, surface_brightness=galaxy.surface_brightness + look.dimming)
    rng = stream(seed, number, "details")
    # Cutouts are cut to a measured size, which is never quite the true one.
    frame_arcsec = (
        galaxy.effective_radius_arcsec
        * look.frame_in_radii
        * float(np.clip(rng.lognormal(0, 0.12), 0.8, 1.35))
    )
    if galaxy.body == "smooth":  # steep profiles reach far beyond half their light
        frame_arcsec *= 1 + 0.06 * (galaxy.sersic_index - 1.5)
    if galaxy.companion_flux:
        frame_arcsec *= 1.25
    scale = frame_arcsec / image_size_pix
    light = render_galaxy(galaxy, rng, size_pix=image_size_pix, pixel_scale_arcsec=scale)
    rng = stream(seed, number, "neighbours")
    seeing = float(np.clip(rng.normal(1, 0.1), 0.8, 1.4))
    scene.add_neighbours(light, look, rng, pixel_scale_arcsec=scale)
    light = scene.blur(light, look, pixel_scale_arcsec=scale, seeing=seeing)
    image = scene.add_sky(light, look, stream(seed, number, "noise"), pixel_scale_arcsec=scale)
    if galaxy.artifact != "none":
        rng = stream(seed, number, "artifact")
        image = scene.add_artifact(image, galaxy.artifact, look, rng, pixel_scale_arcsec=scale)
    return Exposure(galaxy, look, scale, image, _visibility(galaxy, look, seeing))


def simulate_galaxy(
    seed: int = defaults.SEED,
    number: int = 0,
    *,
    look: str | Look = "decals",
    image_size_pix: int = 128,
    kinds: Mapping[str, float] | None = None,
    ring_fraction: float = 0.35,
) -> tuple[np.ndarray, dict[str, Any]]:
    """The picture of one simulated galaxy and all that is true of it.

    Args:
        seed: The survey's seed.
        number: Which of its galaxies, from 0.
        look: "decals", "sdss", "hst", "euclid", or a `Look` of one's own.
        image_size_pix: Side of the picture.
        kinds: Weights of the kinds of galaxies; `{"edge-on": 1}` gives only those.
        ring_fraction: Share of the face-on disks that have a ring.

    Returns:
        uint8 (height, width, 3), and the truth by column name, as in a survey's catalog.

    Raises:
        ConfigError: The look or a kind is unknown.

    Example:
        >>> picture, truth = simulate_galaxy(seed=1, kinds={"edge-on": 1})
        >>> picture.shape, truth["label_name"]
        ((128, 128, 3), 'edge-on')
    """
    exposure = expose(
        seed, number, look=look, image_size_pix=image_size_pix, kinds=kinds, ring_fraction=ring_fraction
    )
    return exposure.picture(), exposure.truth()


def _visibility(galaxy: Galaxy, look: Look, seeing: float) -> float:
    """High where the galaxy is much larger than the blur and much brighter than the noise."""
    resolution = galaxy.effective_radius_arcsec / (seeing * look.psf_fwhm_arcsec[1])
    brightness = flux_of(galaxy.surface_brightness) * look.native_pixel_arcsec**2
    contrast = brightness / look.sky_noise[1]
    return 1 / (1 + math.exp(-1.5 * math.log(resolution / 3.5) - 0.8 * math.log(contrast / 14)))
