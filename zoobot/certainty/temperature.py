"""Make a classifier as sure as it may be: one factor for its logits, fitted on galaxies it has not seen.

The factor is the inverse of what is called a temperature: below 1, probabilities move towards each other;
above 1, apart. Which class is the most likely stays, and so does which side of one half a yes/no label is on;
labels have a factor each. It is fitted on galaxies that were not trained on, and kept only where it foretells
galaxies better that it was not fitted on; see `zoobot.certainty.calibration`.
`zoobot.certainty.calibration` does the same for trees.

References:
    Guo et al. 2017, ICML (arXiv:1706.04599): temperature scaling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.certainty.calibration import (
    FOLDS,
    foretells_better,
    held_out_factors,
    likeliest_factor,
    order_of_chance,
)
from zoobot.certainty.coverage import expected_calibration_error, reliability_curves
from zoobot.shared import defaults
from zoobot.shared.errors import LabelError
from zoobot.shared.tasks import ProbabilityTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """What logits are multiplied by, and how that was found.

    Args:
        task: What is predicted.
        factors: One for all classes, (1,), or one for each label, (labels,), for `head.set_calibration`.
        n: Galaxies that each was fitted on.
        held_out: The factors of each galaxy as found without it, (galaxies, factors); 1 where calibration is
            not kept.
        gains: By how much labels are likelier so, on average, in nats a galaxy; one for each factor.
    """

    task: ProbabilityTask
    factors: FloatArray
    n: tuple[int, ...]
    held_out: FloatArray = field(repr=False, compare=False)
    gains: tuple[float, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What each factor is for."""
        return self.task.factor_names

    def apply(self, predicted: ArrayLike) -> FloatArray:
        """Calibrated probabilities from those without calibration, (galaxies, outputs)."""
        return self.task.sharpen(predicted, self.factors)

    def apply_held_out(self, predicted: ArrayLike) -> FloatArray:
        """Probabilities of the galaxies it was fitted on, each calibrated by what the others say.

        Args:
            predicted: Without calibration, (galaxies, outputs), in the order in which they were fitted.
        """
        return self.task.sharpen(predicted, self.held_out)

    def to_config(self) -> dict[str, Any]:
        """What a checkpoint's training record says of it, JSON-ready."""
        return {
            "objective": "likelihood",
            "factors": {name: round(float(f), 6) for name, f in zip(self.names, self.factors, strict=True)},
            "galaxies": dict(zip(self.names, self.n, strict=True)),
            "gains": {name: round(gain, 6) for name, gain in zip(self.names, self.gains, strict=True)},
        }


def fit_temperature(
    task: ProbabilityTask,
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    min_galaxies: int = defaults.CALIBRATION_MIN_GALAXIES,
    ids: Sequence[str] | None = None,
    seed: int = defaults.SEED,
) -> Temperature:
    """The factors under which the labels of galaxies the model was not trained on are most likely.

    A factor stays 1 where too few galaxies have a label, and where not one of them is predicted wrongly: then
    nothing says how often the model errs. It also stays 1 if, fitted on some galaxies, it does not make the
    labels of the others likelier, or makes their calibration error larger. The fewer the galaxies, the nearer
    a factor stays to 1.

    Args:
        task: What is predicted.
        probabilities: Predictions without calibration, (galaxies, outputs).
        labels: (galaxies, label columns); of labels NaN where missing.
        min_galaxies: Fewest galaxies with a label for its factor to be fitted.
        ids: Of the galaxies, which with the seed decide who is held out with whom; else their order does.
        seed: Another seed parts them otherwise.

    Raises:
        LabelError: If the shapes do not fit.

    Example:
        >>> found = fit_temperature(model.task, predictions, labels)  # doctest: +SKIP
        >>> model.head.set_calibration(found.factors)  # doctest: +SKIP
    """
    given, truth = np.asarray(probabilities, np.float64), np.asarray(labels, np.float64)
    if (
        given.ndim != 2
        or given.shape[1] != task.num_outputs
        or truth.shape != (len(given), task.num_label_cols)
    ):
        msg = f"expected predictions and labels of this task, got the shapes {given.shape} and {truth.shape}"
        raise LabelError(msg)
    known = np.isfinite(truth)
    order = order_of_chance(len(given), ids, seed)
    factors, gains, held_out = np.ones(task.num_factors), np.zeros(task.num_factors), np.ones(known.shape)
    for place, group in enumerate(task.groups):
        rows = known[:, place]
        if rows.sum() >= max(FOLDS, min_galaxies):
            alone = task.of_factor(place), given[rows][:, group.slice], truth[rows][:, [place]]
            factors[place], held_out[rows, place] = _choose(*alone, order[rows])
            gains[place] = float(_gains(*alone, held_out[rows, place]).mean())
    return Temperature(
        task=task,
        factors=factors,
        n=tuple(int(n) for n in known.sum(axis=0)),
        held_out=held_out,
        gains=tuple(map(float, gains)),
    )


def _choose(
    task: ProbabilityTask, given: FloatArray, truth: FloatArray, order: NDArray[np.int64]
) -> tuple[float, FloatArray]:
    """The factor, and for each galaxy that found without it, (galaxies,): all 1 if they are no better."""

    def fit(rows: NDArray[np.bool_]) -> float:
        return _most_likely(task, given[rows], truth[rows])

    held_out = held_out_factors(fit, order)
    errors = [_error(task, values, truth) for values in (given, task.sharpen(given, held_out[:, None]))]
    if foretells_better(_gains(task, given, truth, held_out)) and errors[1] <= errors[0]:
        return _most_likely(task, given, truth), held_out
    return 1.0, np.ones(len(given))


def _most_likely(task: ProbabilityTask, given: FloatArray, truth: FloatArray) -> float:
    """The factor of least loss; 1 where no galaxy is predicted wrongly."""
    if not task.is_wrong(given, truth).any():
        return 1.0
    return likeliest_factor(
        lambda factor: float(task.label_losses(task.sharpen(given, [factor]), truth).mean()), len(given)
    )


def _gains(task: ProbabilityTask, given: FloatArray, truth: FloatArray, factors: FloatArray) -> FloatArray:
    """By how much each galaxy's label is likelier with its factor, in nats, (galaxies,)."""
    after = task.sharpen(given, factors[:, None])
    return (task.label_losses(given, truth) - task.label_losses(after, truth))[:, 0]


def _error(task: ProbabilityTask, given: FloatArray, truth: FloatArray) -> float:
    (curve,) = reliability_curves(task, given, truth).values()
    return expected_calibration_error(curve)
