"""What tides do to galaxies: bent planes, shells, tails, and the companion itself."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.simulate import profiles
from zoobot.shared.simulate.colours import colour_of
from zoobot.shared.simulate.profiles import Plane, smooth_step

if TYPE_CHECKING:
    from zoobot.shared.simulate.structure import Galaxy

__all__ = ["bend", "render_companion", "render_tails", "shell_contrast"]


def bend(plane: Plane, rng: np.random.Generator) -> Plane:
    """Warp the plane as tides do: straight things curve, round things become lopsided."""
    curve, shear = rng.normal(0, 0.1), rng.normal(0, 0.06)
    u, v = np.clip(plane.u, -3, 3), np.clip(plane.v, -3, 3)
    return replace(plane, u=plane.u + np.float32(shear) * v * v, v=plane.v + np.float32(curve) * u * u)


def shell_contrast(galaxy: Galaxy, plane: Plane, rng: np.random.Generator) -> np.ndarray:
    """Arcs of stars at several radii, on alternating sides, sharp outside and soft inside."""
    radius, angle = np.hypot(plane.u, plane.v / np.float32(galaxy.axis_ratio)), np.arctan2(plane.v, plane.u)
    shells = np.ones_like(radius)
    for number in range(galaxy.shells):
        edge = np.float32(1.0 + 0.55 * number + rng.uniform(-0.1, 0.1))
        inside = smooth_step(edge - radius, 0.0, 25)
        side = np.exp(np.float32(2.5) * (np.cos(angle - np.float32(math.pi * number)) - 1))
        shells += np.float32(0.9) * inside * np.exp(np.minimum(radius - edge, 1) * np.float32(4)) * side
    return shells


def render_tails(galaxy: Galaxy, plane: Plane, rng: np.random.Generator) -> np.ndarray:
    """One or two open, fading arms of debris that reach beyond the galaxy."""
    radius, angle = np.hypot(plane.u, plane.v), np.arctan2(plane.v, plane.u)
    phase = profiles.spiral_phase(
        radius, angle, pitch_angle_deg=rng.uniform(30, 55), chirality=int(rng.choice([-1, 1]))
    )
    phase = phase - np.float32(rng.uniform(0, 2 * math.pi))
    texture = profiles.patches(plane.u * np.float32(1.5), plane.v * np.float32(1.5), rng.random(2))
    tail = profiles.luminous_arms(phase + np.float32(0.12) * texture, 1, width=0.1)
    if rng.random() < 0.6:
        tail += np.float32(rng.uniform(0.3, 1)) * profiles.luminous_arms(
            phase + np.float32(math.pi), 1, width=0.12
        )
    tail *= smooth_step(radius, 0.7) * np.exp(
        -radius * np.float32(rng.uniform(0.7, 1.0)) + np.float32(0.3) * texture
    )
    return (tail * (np.float32(galaxy.tail_strength) / tail.sum()))[..., None] * colour_of(
        min(1.0, galaxy.youth + 0.15)
    )


def render_companion(galaxy: Galaxy, rng: np.random.Generator, size_pix: int, pixel: float) -> np.ndarray:
    """The other galaxy of a merger, bent by the same tides."""
    direction = math.radians(galaxy.companion_angle_deg)
    centre = (
        galaxy.companion_distance * math.cos(direction),
        galaxy.companion_distance * math.sin(direction),
    )
    size = rng.uniform(0.45, 0.8)
    plane = Plane.of_frame(size_pix, pixel / size, rng.uniform(0, 180), (centre[0] / size, centre[1] / size))
    bent = bend(plane, rng)
    light = 0.6 * profiles.sersic(bent, index=1.2, axis_ratio=rng.uniform(0.45, 0.9))
    core = 0.4 * profiles.sersic(bent, index=2.5, radius=0.35)
    youth = float(np.clip(galaxy.youth + rng.normal(0, 0.2), 0, 1))
    flux = np.float32(galaxy.companion_flux)
    return flux * (light[..., None] * colour_of(youth) + core[..., None] * colour_of(0.3 * youth))
