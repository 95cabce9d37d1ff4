"""Intervals and sets that hold the truth as often as they say, from the errors on galaxies set aside.

Split conformal prediction: galaxies that a model was not trained on are predicted, and how far the truth lies
from each prediction is kept (the task says how: `Task.nonconformity`). What was at most so far for 90 % of
them is so for 90 % of new ones, whatever the model, if new galaxies are as these were. The promise is on
average over such galaxies; that of a rare kind of galaxy may be kept less often.

With n galaxies the quantile is the one numbered ⌈(n + 1) · level⌉, since the new galaxy counts too; where
there is no such one, there is no interval. It is a line of NumPy: a library would bring its own estimators
between the model and its scores, and could not read them from a checkpoint.

References:
    Vovk et al. 2005, Algorithmic Learning in a Random World. Angelopoulos & Bates 2021, arXiv:2107.07511.
    Sadinle et al. 2019, JASA 114, 223 (arXiv:1609.00451): the smallest sets of classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.shared.errors import CheckpointError, ConfigError
from zoobot.shared.preprocessing import Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoobot.shared.tasks import Task

#: Levels whose quantiles are kept where there are more galaxies than so; another takes the next one above.
GRID = tuple(sorted([*(k / 200 for k in range(1, 200)), 0.6827, 0.9545, 0.9973, 0.999]))

_DIGITS = 5
_ROUNDING = 1e-9


def read_levels(asked: float | Sequence[float] | None) -> tuple[float, ...]:
    """Levels as probabilities, from percents or probabilities; none if none are asked for.

    Raises:
        ConfigError: If one is neither.

    Example:
        >>> read_levels(90), read_levels([68, 0.95]), read_levels(None)
        ((0.9,), (0.68, 0.95), ())
    """
    if asked is None:
        return ()
    many = [asked] if isinstance(asked, (int, float)) else list(asked)
    levels = []
    for one in many:
        is_number = isinstance(one, (int, float)) and not isinstance(one, bool)
        if not is_number or not (0 < one < 1 or 1 < one <= 100 * GRID[-1]):
            msg = f"intervals are asked for in percent, as 90, above 1 and up to {percent(GRID[-1])}, "
            raise ConfigError(f"{msg}got {one!r}")
        levels.append(round(one / 100, 8) if one > 1 else float(one))
    if len(set(levels)) < len(levels):
        raise ConfigError(f"each level is asked for once, got {many}")
    return tuple(levels)


def percent(level: float) -> str:
    """A level as names of columns say it.

    Example:
        >>> percent(0.9), percent(0.6827)
        ('90', '68.27')
    """
    return f"{100 * level:.6g}"


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """How far the truth lay from what a model predicted, on galaxies that it was not trained on.

    Args:
        names: What has errors of its own: targets, "class", labels, or the answers of a tree.
        n: How many galaxies each is from.
        scores: Of each the errors in rising order; of more galaxies than `GRID` has levels, the quantiles at
            these (NaN where there were too few).
        preprocessing: How images became pixels: of others it says nothing.
        factors: The calibration that the predictions had, likewise; none where there was none, or it was not
            kept.
    """

    names: tuple[str, ...]
    n: tuple[int, ...]
    scores: tuple[NDArray[np.float64], ...]
    preprocessing: Preprocessing
    factors: tuple[float, ...] = ()

    def thresholds(self, level: float) -> NDArray[np.float64]:
        """The error that is not exceeded with this probability, (names,); NaN where too few galaxies tell."""
        found = [_quantile(scores, n, level) for scores, n in zip(self.scores, self.n, strict=True)]
        return np.array(found, np.float64)

    def require(self, levels: Sequence[float], model: Any) -> None:
        """Raise a ConfigError unless there are intervals of these levels, for what a model predicts now."""
        for level in levels:
            if np.isnan(self.thresholds(level)).all():
                most, needed = max(self.n, default=0), math.ceil(level / (1 - level) - _ROUNDING)
                msg = f"{percent(level)}% intervals need {needed:,} validation galaxies at least, but the "
                msg += (
                    f"model's errors are known of {most:,}: calibrate it on more (zoobot calibrate), or ask "
                )
                raise ConfigError(msg + "for a lower level")
        changed = self.changed(model)
        if levels and changed:
            raise ConfigError(
                f"the model's intervals are of {changed}, or calibrate it anew (zoobot calibrate)"
            )

    def changed(self, model: Any) -> str:
        """What is no longer as it was when the errors were found, so that they say nothing; "" if all is.

        Args:
            model: The model as it predicts now; of an exported one the calibration can't change.
        """
        if model.preprocessing != self.preprocessing:
            now, then = asdict(model.preprocessing), asdict(self.preprocessing)
            differing = [key for key in now if now[key] != then[key]]
            told = "; ".join(f"{key} {then[key]!r}, now {now[key]!r}" for key in differing)
            return f"other pixels ({told}): read images as they were then"
        head = getattr(model, "head", None)
        if self.factors and head is not None and not np.allclose(head.get_calibration(), self.factors):
            return "another calibration: give the head the factors that it had then"
        return ""

    def few(self, level: float) -> list[str]:
        """What has too few galaxies for intervals of this level."""
        return [name for name, q in zip(self.names, self.thresholds(level), strict=True) if np.isnan(q)]

    def to_config(self) -> dict[str, Any]:
        """As JSON-ready values: what config.json of a checkpoint keeps."""
        rows = zip(self.names, self.n, self.scores, strict=True)
        errors = {name: {"galaxies": n, "errors": " ".join(map(_up, scores))} for name, n, scores in rows}
        factors = {"calibration": list(self.factors)} if self.factors else {}
        return {"of": errors, "preprocessing": self.preprocessing.to_config(), **factors}

    @classmethod
    def from_config(cls, config: Any, task: Task) -> Conformal:
        """Back from the values of `to_config`.

        Raises:
            CheckpointError: If they are damaged, or of another task.
        """
        try:
            names, counts, scores = tuple(config["of"]), [], []
            for told in config["of"].values():
                counts.append(int(told["galaxies"]))
                scores.append(np.array(told["errors"].split(), np.float64))
            preprocessing = Preprocessing.from_config(config["preprocessing"])
            factors = tuple(map(float, config.get("calibration", ())))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            msg = f"what the model says of its errors can't be used: {type(error).__name__}: {error}"
            raise CheckpointError(msg) from error
        if names != task.conformal_names:
            raise CheckpointError(
                f"what the model says of its errors is of {list(names)[:5]}, but it predicts "
                f"{list(task.conformal_names)[:5]}"
            )
        for n, found in zip(counts, scores, strict=True):
            known = found[~np.isnan(found)]
            if len(found) != _kept(n) or not (np.isfinite(known).all() and (np.diff(known) >= 0).all()):
                msg = f"what the model says of its errors is damaged: {n} galaxies, {len(found)} numbers, "
                raise CheckpointError(msg + "which must be finite and rise")
        if len(factors) not in (0, task.num_factors) or not np.isfinite(factors).all():
            raise CheckpointError(
                f"what the model says of its errors is damaged: calibration {list(factors)}"
            )
        return cls(
            names=names, n=tuple(counts), scores=tuple(scores), preprocessing=preprocessing, factors=factors
        )


def fit_conformal(
    task: Task,
    predicted: NDArray[Any],
    labels: NDArray[Any],
    preprocessing: Preprocessing,
    *,
    factors: Sequence[float] = (),
) -> Conformal:
    """The errors of a model on galaxies that it was not trained on.

    Args:
        task: What it predicts.
        predicted: Its predictions, calibrated as it will be, (galaxies, outputs).
        labels: (galaxies, label columns); NaN where missing.
        preprocessing: How images became pixels.
        factors: Its calibration.
    """
    errors = task.nonconformity(np.asarray(predicted, np.float64), np.asarray(labels, np.float64))
    columns = [np.sort(column[~np.isnan(column)]) for column in errors.T]
    kept = [
        column
        if len(column) <= len(GRID)
        else np.array([_quantile(column, len(column), level) for level in GRID])
        for column in columns
    ]
    return Conformal(
        names=task.conformal_names,
        n=tuple(map(len, columns)),
        scores=tuple(np.array([float(_up(score)) for score in some]) for some in kept),  # as they are kept
        preprocessing=preprocessing,
        factors=tuple(map(float, factors)),
    )


def _kept(n: int) -> int:
    """How many numbers are kept of so many galaxies."""
    return n if n <= len(GRID) else len(GRID)


def _quantile(scores: NDArray[np.float64], n: int, level: float) -> float:
    """The score numbered ⌈(n + 1) · level⌉ of those in rising order, or of their quantiles on the grid."""
    if len(scores) < n:
        place = int(np.searchsorted(GRID, level - _ROUNDING))
        return float(scores[place]) if place < len(GRID) else float("nan")
    number = math.ceil((n + 1) * level - _ROUNDING)
    return float(scores[number - 1]) if number <= n else float("nan")


def _up(score: float) -> str:
    """A score with a few digits, never less than it is: what it is to hold stays inside."""
    if not score > 0:
        return f"{score:g}"
    unit = 10.0 ** (math.floor(math.log10(score)) - _DIGITS + 1)
    return f"{math.ceil(score / unit - _ROUNDING) * unit:.{_DIGITS}g}"
