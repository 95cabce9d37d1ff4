"""Draws galaxies at random, with the mix of shapes that surveys find."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zoobot.shared.errors import ConfigError

# What a simulated galaxy is, before any telescope has looked at it.

CLASS_NAMES = (
    "smooth-round",
    "smooth-in-between",
    "smooth-cigar",
    "edge-on",
    "spiral",
    "disk",
    "merger",
    "artifact",
)
"""What the integers of the `label` column mean, in order."""

DISK_THICKNESS = 0.16
"""Axis ratio of a disk seen exactly from the side."""

ROUND_ABOVE, CIGAR_BELOW = 0.78, 0.42
"""Apparent axis ratios that part round, in-between and cigar-shaped smooth galaxies."""

ARTIFACTS = ("star", "trail", "saturation", "glitch")


@dataclass(frozen=True)
class Galaxy:
    """Everything true about one simulated galaxy; angles in degrees, lengths in effective radii unless named.

    Args:
        kind: One of `drawing.KINDS`. A merger and a spoiled image (artifact) also have a body.
        body: `"smooth"`, `"disk"` or `"edge-on"`: the profile that is drawn.
        effective_radius_arcsec: Half-light radius along the major axis.
        surface_brightness: Mean r-band surface brightness inside that radius, mag/arcsec².
        axis_ratio: Apparent minor over major axis, in (0, 1].
        position_angle_deg: Direction of the major axis, from right to down in the image, in [0, 180).
        inclination_deg: 0 is face-on, 90 edge-on; NaN for smooth bodies, which have no disk.
        sersic_index: Of the smooth body, or of the bulge.
        boxiness: Exponent of the isophotes of the smooth body or bulge: 2 is an ellipse, above is boxy.
        bulge_to_total: Share of the light outside the disk; 1 for smooth bodies.
        bulge_radius: Half-light radius of the bulge.
        youth: Colour of the disk (or smooth body), from 0 (old, red) to 1 (young, blue).
        arms: Number of spiral arms; 0 is none.
        pitch_angle_deg: How open the arms are; NaN without arms.
        arm_strength: Contrast of the arms over the disk, in [0, 1].
        chirality: +1 or −1, the sense in which the arms wind.
        flocculence: From 0 (smooth, grand-design arms) to 1 (patchy).
        knots: Number of star-forming knots.
        bar_strength: 0 is none, up to 1.
        bar_length: Half-length of the bar; 0 without a bar.
        bar_angle_deg: Direction of the bar within the disk.
        ring_strength: 0 is none, up to 1.
        ring_radius: Radius of the ring; 0 without a ring.
        dust: Optical depth of the dust lanes, 0 to 1.
        edge_on_bulge: `"none"`, `"rounded"` or `"boxy"`: the bulge as seen from the side.
        disturbance: `"none"`, `"minor-disturbance"`, `"major-disturbance"` or `"merger"`.
        tail_strength: Light in tidal tails, relative to the galaxy.
        shells: Number of shells.
        companion_flux: Flux of the merging companion over that of the galaxy; 0 without one.
        companion_distance: Projected distance of its nucleus.
        companion_angle_deg: Direction of its nucleus.
        artifact: `"none"` or one of star, trail, saturation, glitch.
    """

    kind: str
    body: str
    effective_radius_arcsec: float
    surface_brightness: float
    axis_ratio: float
    position_angle_deg: float
    inclination_deg: float
    sersic_index: float
    boxiness: float
    bulge_to_total: float
    bulge_radius: float
    youth: float
    arms: int = 0
    pitch_angle_deg: float = math.nan
    arm_strength: float = 0.0
    chirality: int = 1
    flocculence: float = 0.0
    knots: int = 0
    bar_strength: float = 0.0
    bar_length: float = 0.0
    bar_angle_deg: float = 0.0
    ring_strength: float = 0.0
    ring_radius: float = 0.0
    dust: float = 0.0
    edge_on_bulge: str = "none"
    disturbance: str = "none"
    tail_strength: float = 0.0
    shells: int = 0
    companion_flux: float = 0.0
    companion_distance: float = 0.0
    companion_angle_deg: float = 0.0
    artifact: str = "none"

    @property
    def magnitude(self) -> float:
        """Total r-band magnitude."""
        area = 2 * math.pi * self.effective_radius_arcsec**2 * self.axis_ratio
        return self.surface_brightness - 2.5 * math.log10(area)

    @property
    def class_name(self) -> str:
        """The one of `CLASS_NAMES` that describes the galaxy."""
        if self.kind in ("merger", "artifact", "edge-on"):
            return self.kind
        if self.kind == "disk":
            return "spiral" if self.arms else "disk"
        if self.axis_ratio >= ROUND_ABOVE:
            return "smooth-round"
        return "smooth-in-between" if self.axis_ratio >= CIGAR_BELOW else "smooth-cigar"


KINDS: Mapping[str, float] = {"smooth": 0.33, "disk": 0.44, "edge-on": 0.13, "merger": 0.06, "artifact": 0.04}
"""How often each kind of galaxy is drawn, unless the caller says otherwise."""


def check_kinds(kinds: Mapping[str, float] | None) -> dict[str, float]:
    """The share of every kind of galaxy, summing to one.

    Args:
        kinds: Weights by kind; kinds left out are never drawn. None gives the default mix.

    Raises:
        ConfigError: A kind is unknown, or a weight is negative or not finite, or all are zero.

    Example:
        >>> check_kinds({"smooth": 1, "disk": 3})["disk"]
        0.75
    """
    weights = dict(KINDS if kinds is None else kinds)
    unknown = sorted(set(weights) - set(KINDS))
    if unknown:
        raise ConfigError(f"unknown kinds of galaxy {unknown!r}; expected some of {list(KINDS)}")
    total = sum(weights.values())
    if not all(math.isfinite(w) and w >= 0 for w in weights.values()) or total <= 0:
        raise ConfigError(f"the weights of `kinds` must be at least 0, and not all 0; got {weights!r}")
    return {kind: weights.get(kind, 0) / total for kind in KINDS}


def draw_galaxy(
    rng: np.random.Generator,
    *,
    median_radius_arcsec: float,
    kinds: Mapping[str, float] | None = None,
    ring_fraction: float = 0.35,
) -> Galaxy:
    """One galaxy drawn at random.

    Args:
        rng: Source of randomness.
        median_radius_arcsec: Median half-light radius of the survey's galaxies.
        kinds: Weights by kind, see `check_kinds`.
        ring_fraction: Share of the disks seen face-on that have a ring, in [0, 1].

    Example:
        >>> galaxy = draw_galaxy(np.random.default_rng(0), median_radius_arcsec=6.0, kinds={"smooth": 1})
        >>> galaxy.body
        'smooth'
    """
    shares = check_kinds(kinds)
    kind = str(rng.choice(list(shares), p=list(shares.values())))
    body = (
        kind if kind in ("smooth", "disk", "edge-on") else str(rng.choice(["smooth", "disk"], p=[0.35, 0.65]))
    )
    drawn: dict[str, object] = {
        "kind": kind,
        "effective_radius_arcsec": median_radius_arcsec * float(np.clip(rng.lognormal(0, 0.4), 0.4, 2.4)),
        "position_angle_deg": float(rng.uniform(0, 180)),
    }
    if body == "smooth":
        drawn |= _draw_smooth(rng)
    elif body == "disk":
        drawn |= _draw_disk(rng, ring_fraction)
    else:
        drawn |= _draw_edge_on(rng)
    drawn |= _draw_disturbance(rng, kind)
    if kind == "artifact":
        drawn["artifact"] = str(rng.choice(ARTIFACTS, p=[0.4, 0.3, 0.15, 0.15]))
    return Galaxy(**drawn)  # type: ignore[arg-type]


def _draw_smooth(rng: np.random.Generator) -> dict[str, object]:
    shape = rng.choice(["round", "in-between", "cigar"], p=[0.42, 0.43, 0.15])
    low, high = {
        "round": (ROUND_ABOVE, 1.0),
        "in-between": (CIGAR_BELOW, ROUND_ABOVE),
        "cigar": (0.2, CIGAR_BELOW),
    }[shape]
    index = rng.uniform(1.5, 3.0) if shape == "cigar" else rng.uniform(2.0, 5.5)
    return {
        "body": "smooth",
        "surface_brightness": float(rng.normal(21.1, 0.5)),
        "axis_ratio": float(rng.uniform(low, high)),
        "inclination_deg": math.nan,
        "sersic_index": float(index),
        "boxiness": float(rng.uniform(1.9, 2.25)),
        "bulge_to_total": 1.0,
        "bulge_radius": 1.0,
        "youth": float(np.clip(rng.normal(0.12, 0.12), 0, 0.8)),
    }


def _draw_disk(rng: np.random.Generator, ring_fraction: float) -> dict[str, object]:
    has_ring = rng.random() < ring_fraction
    has_arms = rng.random() < (0.35 if has_ring else 0.8)
    bulge_level = rng.choice(5, p=[0.1, 0.26, 0.32, 0.22, 0.1])
    bulge_low, bulge_high = ((0.0, 0.0), (0.03, 0.08), (0.09, 0.19), (0.22, 0.36), (0.42, 0.6))[bulge_level]
    bulge_to_total = float(rng.uniform(bulge_low, bulge_high))
    inclination = math.degrees(math.acos(rng.uniform(math.cos(math.radians(66)), 1)))
    cos2 = math.cos(math.radians(inclination)) ** 2
    youth = float(
        np.clip(rng.normal(0.55 - 0.75 * bulge_to_total - 0.3 * has_ring + 0.12 * has_arms, 0.16), 0.05, 1)
    )
    bar_level = rng.choice(3, p=[0.3, 0.3, 0.4] if has_ring else [0.5, 0.28, 0.22])
    bar_strength = (0.0, float(rng.uniform(0.25, 0.5)), float(rng.uniform(0.65, 1.0)))[bar_level]
    drawn: dict[str, object] = {
        "body": "disk",
        "surface_brightness": float(rng.normal(21.4, 0.6)),
        "axis_ratio": math.sqrt(cos2 + DISK_THICKNESS**2 * (1 - cos2)),
        "inclination_deg": inclination,
        "sersic_index": float(rng.uniform(1.5, 3.5)),
        "boxiness": 2.0,
        "bulge_to_total": bulge_to_total,
        "bulge_radius": 0.12 + 0.55 * bulge_to_total,
        "youth": youth,
        "bar_strength": bar_strength,
        "bar_length": float(rng.uniform(0.4, 0.7) + 0.3 * bar_strength) if bar_strength else 0.0,
        "bar_angle_deg": float(rng.uniform(0, 180)),
        "dust": float(rng.uniform(0.1, 0.8)) * youth,
        "knots": int(rng.poisson(45 * youth**1.5)),
        "flocculence": float(rng.beta(1.8, 2.2)),
    }
    if has_ring:
        ring_radius = max(float(rng.uniform(0.85, 1.5)), 1.05 * float(drawn["bar_length"]))  # type: ignore[arg-type]
        drawn |= {"ring_strength": float(rng.uniform(0.45, 1.0)), "ring_radius": ring_radius}
    if has_arms:
        drawn |= _draw_arms(rng)
    return drawn


def _draw_arms(rng: np.random.Generator) -> dict[str, object]:
    arms = int(rng.choice([1, 2, 3, 4, 5, 6], p=[0.07, 0.48, 0.17, 0.13, 0.09, 0.06]))
    low, high = ((8, 14), (15, 23), (25, 38))[rng.choice(3, p=[0.33, 0.4, 0.27])]
    return {
        "arms": arms,
        "pitch_angle_deg": float(rng.uniform(low, high)),
        "arm_strength": float(rng.uniform(0.3, 1.0)),
        "chirality": int(rng.choice([-1, 1])),
    }


def _draw_edge_on(rng: np.random.Generator) -> dict[str, object]:
    bulge = str(rng.choice(["none", "rounded", "boxy"], p=[0.3, 0.5, 0.2]))
    bulge_to_total = 0.0 if bulge == "none" else float(rng.uniform(0.12, 0.42))
    youth = float(np.clip(rng.normal(0.45 - 0.6 * bulge_to_total, 0.18), 0, 1))
    return {
        "body": "edge-on",
        "surface_brightness": float(rng.normal(20.9, 0.45)),
        "axis_ratio": float(rng.uniform(0.1, 0.24)),
        "inclination_deg": float(rng.uniform(83, 90)),
        "sersic_index": float(rng.uniform(1.5, 3.0)),
        "boxiness": float(rng.uniform(2.8, 3.6)) if bulge == "boxy" else 2.0,
        "bulge_to_total": bulge_to_total,
        "bulge_radius": float(0.2 + (0.45 if bulge == "boxy" else 0.3) * bulge_to_total),
        "youth": youth,
        "dust": float(rng.choice([0.0, rng.uniform(0.5, 1.0)], p=[0.45, 0.55])),
        "edge_on_bulge": bulge,
    }


def _draw_disturbance(rng: np.random.Generator, kind: str) -> dict[str, object]:
    if kind != "merger":
        if rng.random() > 0.05 or kind == "artifact":
            return {}
        return {"disturbance": "minor-disturbance", "tail_strength": float(rng.uniform(0.03, 0.07))}
    state = str(rng.choice(["minor-disturbance", "major-disturbance", "merger"], p=[0.2, 0.3, 0.5]))
    drawn: dict[str, object] = {
        "disturbance": state,
        "tail_strength": float(
            rng.uniform(0.05, 0.1) if state == "minor-disturbance" else rng.uniform(0.12, 0.3)
        ),
        "shells": int(rng.choice([0, 3, 4], p=[0.7, 0.15, 0.15])),
    }
    if state == "merger":
        drawn |= {
            "companion_flux": float(rng.uniform(0.3, 1.0)),
            "companion_distance": float(rng.uniform(0.9, 2.2)),
            "companion_angle_deg": float(rng.uniform(0, 360)),
        }
    return drawn
