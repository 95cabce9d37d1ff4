"""Turns the parameters of a galaxy into its noiseless image in three bands, as it reaches the telescope."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.simulate import profiles
from zoobot.shared.simulate.colours import DUST_OPACITY, colour_of, flux_of
from zoobot.shared.simulate.disks import render_disk
from zoobot.shared.simulate.profiles import Plane
from zoobot.shared.simulate.tides import bend, render_companion, render_tails, shell_contrast

if TYPE_CHECKING:
    from zoobot.shared.simulate.structure import Galaxy

__all__ = ["render_galaxy"]


def render_galaxy(
    galaxy: Galaxy, rng: np.random.Generator, *, size_pix: int, pixel_scale_arcsec: float
) -> np.ndarray:
    """Return the flux of a galaxy in every pixel, before blurring and noise.

    Args:
        galaxy: The parameters.
        rng: Source of the details the parameters leave open (patches, knots, tails).
        size_pix: Side of the frame.
        pixel_scale_arcsec: Size of a pixel.

    Returns:
        Nanomaggies, (size_pix, size_pix, 3), bluest band first, float32.
    """
    pixel = pixel_scale_arcsec / galaxy.effective_radius_arcsec
    plane = Plane.of_frame(size_pix, pixel, galaxy.position_angle_deg)
    if galaxy.disturbance in ("major-disturbance", "merger"):
        plane = bend(plane, rng)
    light = _body(galaxy, plane, rng)
    if galaxy.shells:
        light = light * shell_contrast(galaxy, plane, rng)[..., None]
    if galaxy.tail_strength:
        light = light + render_tails(galaxy, plane, rng)
    if galaxy.companion_flux:
        light = light + render_companion(galaxy, rng, size_pix, pixel)
    return light * np.float32(flux_of(galaxy.magnitude))


def _body(galaxy: Galaxy, plane: Plane, rng: np.random.Generator) -> np.ndarray:
    """The galaxy alone, total r-band light one."""
    if galaxy.body == "smooth":
        light = profiles.sersic(
            plane, index=galaxy.sersic_index, axis_ratio=galaxy.axis_ratio, boxiness=galaxy.boxiness
        )
        return light[..., None] * colour_of(galaxy.youth)
    if galaxy.body == "edge-on":
        return _edge_on(galaxy, plane, rng)
    light = np.float32(1 - galaxy.bulge_to_total) * render_disk(galaxy, plane, rng)
    if galaxy.bulge_to_total:
        light += _bulge(galaxy, plane, axis_ratio=1 - 0.35 * (1 - galaxy.axis_ratio))
    return light


def _bulge(galaxy: Galaxy, plane: Plane, axis_ratio: float) -> np.ndarray:
    light = profiles.sersic(
        plane,
        index=galaxy.sersic_index,
        radius=galaxy.bulge_radius,
        axis_ratio=axis_ratio,
        boxiness=galaxy.boxiness,
    )
    return (np.float32(galaxy.bulge_to_total) * light)[..., None] * colour_of(0.35 * galaxy.youth)


def _edge_on(galaxy: Galaxy, plane: Plane, rng: np.random.Generator) -> np.ndarray:
    warp = np.float32(rng.normal(0, 0.006)) * plane.u**3
    plane = replace(plane, v=plane.v - np.clip(warp, -0.2, 0.2))
    disk = profiles.edge_on_disk(plane, thickness=galaxy.axis_ratio)
    texture = profiles.patches(plane.u * 2, plane.v * 6, rng.random(2))
    disk = disk * (1 + np.float32(0.2 * galaxy.youth) * texture.clip(-2, 2))
    light = (np.float32(1 - galaxy.bulge_to_total) * disk)[..., None] * colour_of(galaxy.youth)
    if galaxy.bulge_to_total:
        light += _bulge(galaxy, plane, axis_ratio=0.8 if galaxy.boxiness == 2 else 0.68)
    if galaxy.dust:
        tilt = math.cos(math.radians(galaxy.inclination_deg))
        offset = np.float32(0.05 * tilt * 10 * rng.choice([-1, 1]))
        height = np.float32(0.36 * galaxy.axis_ratio)
        lane = np.exp(-(((plane.v - offset * np.float32(0.25)) / height) ** 2))
        lane *= np.exp(-np.abs(plane.u) * np.float32(0.8)) * (1 + np.float32(0.25) * texture)
        light *= np.exp(-np.float32(2.2 * galaxy.dust) * lane[..., None] * DUST_OPACITY)
    return light
