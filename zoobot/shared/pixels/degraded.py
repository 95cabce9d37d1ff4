"""How images are made worse, to see how far a model holds: kinds, their steps, and what they stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, NamedTuple

from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import check_record

DegradationKind = Literal["noise", "psf", "redshift", "jpeg", "rotation"]

#: Where galaxies of Galaxy Zoo lie, about.
OWN_REDSHIFT = 0.05


class KindOfDegradation(NamedTuple):
    """What the steps of one kind are.

    Attributes:
        steps: Those that are tried unless told otherwise, from mild to severe.
        low: The least that a step may be.
        high: The most.
        axis: What a step is, in words, for pictures.
        meaning: What is done to an image, for readers.
    """

    steps: tuple[float, ...]
    low: float
    high: float
    axis: str
    meaning: str


KINDS: dict[str, KindOfDegradation] = {
    "noise": KindOfDegradation(
        (1.5, 2, 4, 8),
        1,
        1000,
        "scatter of the sky, in its own",
        "Gaussian noise, until the sky scatters so many times as much as it does (at least as by 1 of 255 "
        "grey levels): an exposure shorter by the square of that; cut off at black and white as pictures are",
    ),
    "psf": KindOfDegradation(
        (2, 3, 5, 8),
        0.1,
        1000,
        "FWHM of the blur, in pixels",
        "a Gaussian blur, FWHM in pixels of the image as read, beyond the seeing that it has; the sky keeps "
        "its noise",
    ),
    "redshift": KindOfDegradation(
        (0.07, 0.1, 0.15, 0.25),
        0.0,
        20,
        "redshift",
        "the galaxy from its own redshift to this one: smaller by the ratio of angular sizes (flat universe, "
        "matter 0.3), fainter by (1+z)^4 for each area, under the same sky and noise. Pixel values stand for "
        "light, as far as their stretch allows; no change of colour with redshift (no k-correction), no "
        "evolution, and the seeing shrinks with the galaxy: add psf for that",
    ),
    "jpeg": KindOfDegradation(
        (75, 50, 25, 10), 1, 100, "JPEG quality", "a JPEG of this quality, colour at half resolution"
    ),
    "rotation": KindOfDegradation(
        (15, 45, 90, 180),
        -360,
        360,
        "angle, in degrees",
        "turned by degrees, in the one resampling that crops and resizes; corners from outside are empty",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """One way to make images worse, of one strength.

    It is done to an image as it was read, before crop and normalisation: the same for a galaxy whenever it is
    read, in either engine.

    Args:
        kind: One of `KINDS`, which say what is done.
        step: How strongly, in the unit of the kind.
        seed: Seeds the noise, together with the galaxy's id.
        own_redshift: Where "redshift" takes the galaxies to be.

    Raises:
        ConfigError: If a value can't work.

    Example:
        >>> Degradation(kind="jpeg", step=101)
        Traceback (most recent call last):
        zoobot.shared.errors.ConfigError: a step of jpeg (JPEG quality) must lie in [1, 100], got 101
    """

    kind: DegradationKind
    step: float
    seed: int = 0
    own_redshift: float = OWN_REDSHIFT

    def __post_init__(self) -> None:
        check_record(self)
        about = KINDS[self.kind]
        if not about.low <= self.step <= about.high:
            limits = f"[{about.low:g}, {about.high:g}]"
            msg = f"a step of {self.kind} ({about.axis}) must lie in {limits}, got {self.step:g}"
            raise ConfigError(msg)
        if self.kind == "jpeg" and self.step != round(self.step):
            raise ConfigError(f"a step of jpeg must be a whole number, got {self.step:g}")
        if not 0 < self.own_redshift <= about.high:
            raise ConfigError(f"own_redshift must lie in (0, {about.high:g}], got {self.own_redshift:g}")
        if self.kind == "redshift" and not self.step >= self.own_redshift:
            raise ConfigError(
                f"a step of redshift must be at least the redshift that the galaxies have "
                f"({self.own_redshift:g}, --own-redshift), got {self.step:g} (--degrade-steps)"
            )

    @property
    def angle(self) -> float:
        """By how much the image is turned, in radians."""
        return math.radians(self.step) if self.kind == "rotation" else 0.0

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Degradation:
        """The record back from its values by name.

        Raises:
            ConfigError: If a name is missing or unknown, or a value can't work.
        """
        known = {field.name: field.default is MISSING for field in fields(cls)}
        missing = [name for name, needed in known.items() if needed and name not in config]
        if missing or not set(config) <= set(known):
            raise ConfigError(f"degraded must hold {list(known)}, got {list(config)}")
        return cls(**config)


def plan_degradations(
    kinds: Sequence[str], steps: Sequence[float] = (), *, seed: int = 0, own_redshift: float = OWN_REDSHIFT
) -> list[Degradation]:
    """Every degradation of some kinds, kind after kind, from the first step to the last.

    Args:
        kinds: Of `KINDS`.
        steps: The steps of the one kind there is; empty takes those of each kind.
        seed: Seeds the noise.
        own_redshift: Where "redshift" takes the galaxies to be.

    Raises:
        ConfigError: If steps are given for several kinds, something is named twice, or a step can't work.

    Example:
        >>> [one.step for one in plan_degradations(["jpeg"])]
        [75, 50, 25, 10]
    """
    if steps and len(kinds) != 1:
        given = f"of {list(kinds)}" if kinds else "without --degrade"
        raise ConfigError(f"--degrade-steps are for one kind of --degrade, whose unit they have, got {given}")
    said: dict[str, Sequence[Any]] = {"--degrade": kinds, "--degrade-steps": steps}
    for name, values in said.items():
        if len(set(values)) < len(values):
            raise ConfigError(f"{name} names something twice: {list(values)}")
    return [
        Degradation(kind=kind, step=step, seed=seed, own_redshift=own_redshift)  # type: ignore[arg-type]
        for kind in kinds
        for step in (steps or KINDS[kind].steps)
    ]
