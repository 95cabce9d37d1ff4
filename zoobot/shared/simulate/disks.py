"""The light of a disk that is not seen from the side: arms, rings, bars and star-forming knots."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from zoobot.shared.simulate import profiles
from zoobot.shared.simulate.colours import DUST_OPACITY, colour_of
from zoobot.shared.simulate.profiles import Plane, smooth_step

if TYPE_CHECKING:
    from zoobot.shared.simulate.structure import Galaxy

__all__ = ["render_disk"]


def render_disk(galaxy: Galaxy, plane: Plane, rng: np.random.Generator) -> np.ndarray:
    """Return a disk without its bulge, its light before dust one in the middle band.

    Args:
        galaxy: The parameters.
        plane: Where the pixels are.
        rng: Source of the details the parameters leave open.

    Returns:
        Share of the light in each pixel, (height, width, 3), bluest band first.
    """
    face_u, face_v = plane.u, plane.v / np.float32(galaxy.axis_ratio)
    radius, angle = np.sqrt(face_u * face_u + face_v * face_v), np.arctan2(face_v, face_u)
    stars = np.exp(-radius * np.float32(profiles.DISK_SCALE))
    stars /= stars.sum()
    young = np.zeros_like(stars)
    shade = np.zeros_like(stars)
    if galaxy.arms:
        stars, young, shade = _add_arms(galaxy, stars, radius, angle, rng)
    elif galaxy.flocculence > 0.3 and galaxy.youth > 0.45:
        young = _flocculent(galaxy, stars, radius, angle, rng)
    if galaxy.ring_strength:
        stars, young = _add_ring(galaxy, stars, young, radius, angle, rng)
    if galaxy.bar_strength:
        stars, shade = _add_bar(galaxy, stars, shade, face_u, face_v, radius)
    young = _add_knots(galaxy, young, stars, rng)
    total = stars.sum() + young.sum()
    light = stars[..., None] * colour_of(0.75 * galaxy.youth)
    light += young[..., None] * colour_of(min(1.25, galaxy.youth + 0.4))
    light *= np.exp(-shade[..., None] * DUST_OPACITY)
    return light * np.float32(1 / total)


def _add_arms(
    galaxy: Galaxy, stars: np.ndarray, radius: np.ndarray, angle: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spiral arms: old stars pile up, young ones shine along the crest, dust lies on the inner edge."""
    phase = profiles.spiral_phase(
        radius, angle, pitch_angle_deg=galaxy.pitch_angle_deg, chirality=galaxy.chirality
    )
    start = 0.75 * galaxy.bar_length if galaxy.bar_length else rng.uniform(0.2, 0.4)
    if galaxy.bar_length:  # arms leave from the bar's ends
        turns = math.log(galaxy.bar_length) / math.tan(math.radians(galaxy.pitch_angle_deg))
        phase = phase - np.float32(math.radians(galaxy.bar_angle_deg) - galaxy.chirality * turns)
    else:
        phase = phase - np.float32(rng.uniform(0, 2 * math.pi))
    phase = phase + np.float32(0.35 / galaxy.arms) * _patches(radius, angle, rng, size=1.1)
    texture = _patches(radius, phase, rng, size=0.6)
    width = rng.uniform(0.2, 0.3) if galaxy.arms <= 2 else rng.uniform(0.24, 0.32)
    crest = profiles.luminous_arms(phase, galaxy.arms, width=width)
    uneven = 1 + np.float32(0.3) * np.cos(angle - np.float32(rng.uniform(0, 2 * math.pi)))
    end = rng.uniform(2.0, 2.7)
    extent = smooth_step(radius, start) * smooth_step(-radius, -end, 5)
    patchy = np.exp(np.float32(0.25 + 0.75 * galaxy.flocculence) * (texture - np.float32(0.4)))
    strength = np.float32(galaxy.arm_strength)
    arms = crest * extent * uneven
    outer = np.exp(-radius * np.float32(profiles.DISK_SCALE * 0.72))
    young = outer * arms * patchy
    young *= strength * np.float32(0.3 + 0.35 * galaxy.youth) * stars.sum() / young.sum()
    stars = stars * (1 + strength * extent * (np.float32(1.1) * crest * uneven - np.float32(0.45)))
    inner_edge = profiles.luminous_arms(
        phase + np.float32(galaxy.chirality * 0.9 / galaxy.arms), galaxy.arms, width=0.16
    )
    return stars, young, np.float32(0.8 * galaxy.dust) * strength * inner_edge * extent


def _patches(radius: np.ndarray, angle: np.ndarray, rng: np.random.Generator, *, size: float) -> np.ndarray:
    """Random patches in a disk; given a spiral's phase as angle, they are sheared along its arms."""
    scaled = radius / np.float32(size)
    return profiles.patches(scaled * np.cos(angle), scaled * np.sin(angle), rng.random(2))


def _flocculent(
    galaxy: Galaxy, stars: np.ndarray, radius: np.ndarray, angle: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Patches sheared by rotation, with no arm that could be followed."""
    phase = profiles.spiral_phase(radius, angle, pitch_angle_deg=30, chirality=galaxy.chirality)
    texture = _patches(radius, phase, rng, size=0.5)
    young = stars * np.exp(np.float32(0.3 + galaxy.flocculence) * texture) * smooth_step(radius, 0.3)
    return young * np.float32(0.45 * galaxy.flocculence)


def _add_ring(
    galaxy: Galaxy,
    stars: np.ndarray,
    young: np.ndarray,
    radius: np.ndarray,
    angle: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """A bright annulus and, inside it, the gap it was swept from."""
    oval = 1 + np.float32(rng.uniform(0, 0.07)) * np.cos(2 * (angle - np.float32(rng.uniform(0, math.pi))))
    shaped = radius * oval
    width = galaxy.ring_radius * rng.uniform(0.09, 0.15)
    crest = profiles.ring(shaped, ring_radius=galaxy.ring_radius, width=width)
    gap = profiles.ring(shaped, ring_radius=0.68 * galaxy.ring_radius, width=0.2 * galaxy.ring_radius)
    texture = _patches(shaped, angle, rng, size=0.4)
    crest = crest * np.exp(np.float32(0.15 + 0.4 * galaxy.flocculence * galaxy.youth) * texture)
    strength = np.float32(galaxy.ring_strength)
    stars = stars * (1 - np.float32(0.6) * strength * gap)
    light = strength * np.float32(0.34) * (stars.sum() + young.sum()) / crest.sum()
    return stars + np.float32(0.55) * light * crest, young + np.float32(0.45) * light * crest


def _add_bar(
    galaxy: Galaxy,
    stars: np.ndarray,
    shade: np.ndarray,
    face_u: np.ndarray,
    face_v: np.ndarray,
    radius: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """A bar of old stars, the disk beside it swept clean."""
    light = profiles.bar(
        face_u,
        face_v,
        half_length=galaxy.bar_length,
        angle_deg=galaxy.bar_angle_deg,
        axis_ratio=0.42 - 0.14 * galaxy.bar_strength,
    )
    swept = profiles.ring(radius, ring_radius=0.6 * galaxy.bar_length, width=0.35 * galaxy.bar_length)
    strength = np.float32(galaxy.bar_strength)
    stars = stars * (1 - np.float32(0.5) * strength * swept)
    share = strength * np.float32(0.2 + 0.22 * galaxy.bar_length) * stars.sum()
    return stars + light * (share / light.sum()), shade * (1 - np.minimum(light, 1))


def _add_knots(galaxy: Galaxy, young: np.ndarray, stars: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Star-forming knots, more of them where there are young stars already."""
    where = np.cumsum(young.ravel(), dtype=np.float64)
    positions = rng.random(100)[: min(galaxy.knots, 100)]
    brightness = rng.pareto(1.8, 100)[: min(galaxy.knots, 100)] + 0.4
    if where[-1] <= 0 or not len(positions):
        return young
    rows, columns = np.divmod(np.searchsorted(where, positions * where[-1]), young.shape[1])
    local = young[rows, columns] / young.max()
    light = np.minimum(brightness, 5) * np.sqrt(local) * (0.004 * float(stars.sum() + young.sum()))
    knots = np.zeros_like(young)
    np.add.at(knots, (rows, columns), light.astype(np.float32))
    return young + cv2.GaussianBlur(knots, (0, 0), max(0.7, 0.011 * young.shape[1]))
