"""What a simulated galaxy is, before any telescope has looked at it."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["ARTIFACTS", "CIGAR_BELOW", "CLASS_NAMES", "DISK_THICKNESS", "ROUND_ABOVE", "Galaxy"]

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
