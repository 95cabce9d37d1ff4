"""Intervals of scores, and of differences of scores, by drawing the scored galaxies again and again.

As many galaxies as there are (or whole groups of them) are drawn with replacement, and scored; how much that
score varies is how much it would vary on other galaxies of the same kind. Nothing is predicted again, and no
model is trained again: the intervals are of this model, not of another that the same recipe would give.

Reference:
    Efron & Tibshirani 1993, An Introduction to the Bootstrap: percentiles, and the estimate of bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoobot.shared.metrics import Scorer

#: Weights that are made at once: the more the faster, and 16 MB of them.
_AT_ONCE = 2_000_000

#: Where fewer resamples tell a score, there is no interval; where fewer than nearly all, it is said.
_FEWEST_TOLD, _NEARLY_ALL = 0.5, 0.95

#: A smaller share of the scatter is no bias worth correcting for (Efron & Tibshirani, section 10.4).
_LEAST_BIAS = 0.25

#: Of fewer galaxies or groups, an interval is too narrow: their own scatter is hardly known.
FEW = 20


class Interval(NamedTuple):
    """From where to where a score lies."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Resamples:
    """How galaxies are drawn: the same draws for every score and every model of the same galaxies.

    Args:
        galaxies: How many there are.
        count: How many times they are drawn; 0 for no intervals.
        percent: Probability inside the intervals.
        groups: What each galaxy belongs to, (galaxies,), such as a field: whole groups are drawn. None draws
            single galaxies.
        seed: Of the draws.

    Raises:
        ConfigError: If a value can't work, or there is only one group.

    Example:
        >>> draws = Resamples(galaxies=3, count=2, groups=np.array(["a", "a", "b"]))
        >>> [weights.shape for weights in draws.weights()]
        [(2, 3)]
    """

    galaxies: int
    count: int = 1000
    percent: float = 95
    groups: NDArray[Any] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 0 or not 0 < self.percent < 100:
            msg = f"expected 0 or more resamples and 0 to 100 %, got {self.count!r} and {self.percent!r}"
            raise ConfigError(msg)
        if self.groups is None:
            return
        names, places = np.unique(np.asarray(self.groups), return_inverse=True)
        if len(places) != self.galaxies:
            raise ConfigError(f"expected a group for each of {self.galaxies:,} galaxies, got {len(places):,}")
        if len(names) < 2 <= self.galaxies:
            raise ConfigError(f"all galaxies are of one group, {names[0]!r}: there is nothing to draw among")
        object.__setattr__(self, "groups", places)

    @property
    def units(self) -> int:
        """How many are drawn, groups or galaxies."""
        return self.galaxies if self.groups is None else int(np.max(self.groups, initial=-1)) + 1

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """How often each draw has each galaxy, (resamples, galaxies), a block of resamples at a time."""
        rng = np.random.default_rng(self.seed)
        rows = max(1, _AT_ONCE // max(1, self.galaxies))
        for first in range(0, self.count if self.galaxies else 0, rows):
            block = np.empty((min(rows, self.count - first), self.galaxies))
            for row in block:
                drawn = np.bincount(rng.integers(self.units, size=self.units), minlength=self.units)
                row[:] = drawn if self.groups is None else drawn[self.groups]
            yield block


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Intervals of scores by name, and how they were found.

    Args:
        ends: Where each score lies. Counts have none, nor has a score that does not vary among the resamples
            (all galaxies right: nothing tells how nearly), or that half of them can't tell.
        untold: The share of resamples that can't tell a score (a class is absent), where it is over 5 %.
        draws: How galaxies were drawn.
        group_name: The column of what was drawn together; None where single galaxies were drawn.
    """

    ends: dict[str, Interval]
    untold: dict[str, float]
    draws: Resamples
    group_name: str | None = None

    def of(self, name: str) -> Interval | None:
        """The interval of a score, if it has one."""
        return self.ends.get(name)

    def sentence(self) -> str:
        """How they were found, in words; empty where none was asked for."""
        if not self.draws.count:
            return ""
        units = (
            f"the {self.draws.units:,} groups of column {self.group_name}" if self.group_name else "galaxies"
        )
        text = (
            f"In brackets: {self.draws.percent:g}% intervals, from {self.draws.count:,} resamples of {units}"
        )
        if self.draws.units < FEW:
            text += " (few: the intervals are too narrow)"
        if self.untold:
            worst = max(self.untold, key=lambda name: self.untold[name])
            text += (
                f".\nOver 5% of the resamples can't tell some scores, as they lack a class or its "
                f"predictions ({len(self.untold)}; {100 * self.untold[worst]:.0f}% can't tell {worst})"
            )
        return text

    def to_config(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        return {
            "percent": self.draws.percent,
            "resamples": self.draws.count,
            "seed": self.draws.seed,
            "groups": None if self.group_name is None else {self.group_name: self.draws.units},
            "scores": {name: list(ends) for name, ends in self.ends.items()},
            "untold": self.untold,
        }


def replicate(scorer: Scorer, draws: Resamples) -> dict[str, NDArray[np.float64]]:
    """Every score of each resample, by name: (resamples,), NaN where it can't be told."""
    blocks = [scorer(weights) for weights in draws.weights()]
    return {name: np.concatenate([block[name] for block in blocks]) for name in (blocks[0] if blocks else ())}


def find_intervals(
    scores: Mapping[str, float],
    replicates: Mapping[str, NDArray[np.float64]],
    draws: Resamples,
    *,
    group_name: str | None = None,
) -> Intervals:
    """The intervals of scores, or of their differences.

    They are the resamples' percentiles, less the resamples' bias (how far their mean is from the score) where
    it is more than a quarter of their scatter: a calibration error, which scatter can only raise, is raised
    once more by each resample.

    Args:
        scores: On all galaxies.
        replicates: The same of each resample, as `replicate` gives them.
        draws: How they were drawn.
        group_name: The column of what was drawn together, if anything.

    Example:
        >>> draws = Resamples(galaxies=100, count=500)
        >>> right = np.arange(100) < 80
        >>> score = lambda weights: {"accuracy": weights @ right / weights.sum(axis=1)}
        >>> found = find_intervals({"accuracy": 0.8}, replicate(score, draws), draws)
        >>> [round(end, 1) for end in found.ends["accuracy"]]
        [0.7, 0.9]
    """
    ends, untold = {}, {}
    for name, values in replicates.items():
        if name == "n" or name.startswith("n_") or not np.isfinite(scores[name]):
            continue
        told = values[np.isfinite(values)]
        share = len(told) / len(values)
        if share < _NEARLY_ALL:
            untold[name] = 1 - share
        if share >= _FEWEST_TOLD and told.min() < told.max():
            ends[name] = _interval(scores[name], told, draws.percent)
    return Intervals(ends=ends, untold=untold, draws=draws, group_name=group_name)


def _interval(score: float, told: NDArray[np.float64], percent: float) -> Interval:
    tail = (100 - percent) / 2
    low, high = np.percentile(told, (tail, 100 - tail))
    bias = told.mean() - score
    if abs(bias) > _LEAST_BIAS * told.std():
        low, high = low - bias, high - bias
    possible = np.append(told, score)
    if possible.min() >= 0:
        low = max(low, 0.0)
    if possible.min() >= 0 and possible.max() <= 1:
        high = min(high, 1.0)
    return Interval(float(low), float(high))
