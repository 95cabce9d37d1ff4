"""Turns the parameters of a galaxy into its noiseless image in three bands, as it reaches the telescope."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from zoobot.simulate import profiles
from zoobot.simulate.profiles import DUST_OPACITY, Plane, colour_of, flux_of, smooth_step

if TYPE_CHECKING:
    from zoobot.simulate.drawing import Galaxy

# What tides do to galaxies: bent planes, shells, tails, and the companion itself.


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


# The light of a disk that is not seen from the side: arms, rings, bars and star-forming knots.


def render_disk(galaxy: Galaxy, plane: Plane, rng: np.random.Generator) -> np.ndarray:
    """A disk without its bulge, (height, width, 3), bluest first; without dust its middle band adds up to 1.

    Args:
        galaxy: The parameters.
        plane: Where the pixels are.
        rng: Source of the details the parameters leave open.
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


def render_galaxy(
    galaxy: Galaxy, rng: np.random.Generator, *, size_pix: int, pixel_scale_arcsec: float
) -> np.ndarray:
    """The flux of a galaxy before blurring and noise, nanomaggies, (size_pix, size_pix, 3), bluest first.

    Args:
        galaxy: The parameters.
        rng: Source of the details the parameters leave open (patches, knots, tails).
        size_pix: Side of the frame.
        pixel_scale_arcsec: Size of a pixel.
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
