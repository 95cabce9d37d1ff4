"""Make a tree model as sure as it may be: one factor a question, by which concentrations are multiplied.

A network trained until it fits its galaxies is often too sure of new ones, or too timid. A factor below 1
widens the posteriors of a question, one above 1 narrows them, and no expected fraction changes. Fit it on
galaxies that were not trained on. It is what a temperature is to a classifier.

References:
    Guo et al. 2017, ICML (arXiv:1706.04599): scaling by one number, fitted on validation data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.certainty.coverage import chance_inside, whole_votes
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.likelihood import mixture_nll
from zoobot.shared.posteriors import as_mixture, check_level
from zoobot.shared.trees.predictive_votes import vote_cdf
from zoobot.shared.trees.tree import Schema

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from zoobot.shared.votes import FloatArray

__all__ = ["Calibration", "CalibrationObjective", "fit_calibration"]

CalibrationObjective = Literal["auto", "likelihood", "coverage"]

#: A factor beyond these would say that the model has learned nothing, or that the votes are no votes.
_SMALLEST, _LARGEST = 0.02, 50.0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What concentrations are multiplied by, and how that was found.

    Args:
        schema: The decision tree.
        by_question: The factor of each question, (questions,).
        n: Galaxies asked each question, (questions,).
        objective: What was fitted.
    """

    schema: Schema
    by_question: tuple[float, ...]
    n: tuple[int, ...]
    objective: str

    @property
    def factors(self) -> FloatArray:
        """The factor of each answer, (answers,), for `head.set_calibration`."""
        return np.repeat(self.by_question, [len(question.answers) for question in self.schema.questions])

    def apply(self, predicted: ArrayLike) -> FloatArray:
        """Calibrated concentrations from those without calibration, (galaxies, answers)."""
        return np.asarray(predicted, dtype=np.float64) * self.factors

    def to_config(self) -> dict[str, Any]:
        """What a checkpoint's training record says of it, JSON-ready."""
        names = [question.text for question in self.schema.questions]
        return {
            "objective": self.objective,
            "factors": {name: round(f, 6) for name, f in zip(names, self.by_question, strict=True)},
            "galaxies": dict(zip(names, self.n, strict=True)),
        }


def fit_calibration(
    concentrations: ArrayLike,
    votes: ArrayLike,
    schema: Schema,
    *,
    objective: CalibrationObjective = defaults.CALIBRATION_OBJECTIVE,
    level: float = defaults.CALIBRATION_LEVEL,
    min_galaxies: int = defaults.CALIBRATION_MIN_GALAXIES,
) -> Calibration:
    """The factors that make predictions agree with the votes of galaxies the model was not trained on.

    A question that too few were asked keeps the factor 1.

    Args:
        concentrations: Predictions without calibration, (galaxies, answers), or (samples, galaxies, answers)
            for a mixture.
        votes: Votes, (galaxies, answers), rounded if weighted. NaN or 0 where a question was not asked.
        schema: The decision tree.
        objective: "likelihood" makes the votes most likely, which needs fewest galaxies; "coverage" makes the
            intervals of predicted votes at `level` hold as many votes as they say, whatever the shape of the
            distribution inside. "auto" is the likelihood, unless with its factor the share that intervals
            hold is off by more than a standard error; then it is the coverage.
        level: Probability inside those intervals, in (0, 1).
        min_galaxies: Fewest galaxies asked a question for its factor to be fitted.

    Raises:
        ConfigError: If the level is not in (0, 1), or there is no such objective.
        LabelError: If the shapes do not fit, or these are no votes.

    Example:
        >>> calibration = fit_calibration(predictions, votes, schema)  # doctest: +SKIP
        >>> model.head.set_calibration(calibration.factors)  # doctest: +SKIP
    """
    check_level(level)
    if objective not in get_args(CalibrationObjective):
        msg = f"objective must be one of {get_args(CalibrationObjective)}, got {objective!r}"
        raise ConfigError(msg)
    alpha = as_mixture(concentrations, schema)
    counts, asked = whole_votes(votes, schema)
    if alpha.shape[1:] != counts.shape:
        msg = f"votes must be (galaxies, answers) = {alpha.shape[1:]}, got shape {counts.shape}"
        raise LabelError(msg)
    factors = []
    for position, question in enumerate(schema.questions):
        rows = asked[:, position] > 0
        if rows.sum() < max(1, min_galaxies) or len(question.answers) < 2:
            factors.append(1.0)
            continue
        alone = Schema.from_pairs({question.text: [answer.text for answer in question.answers]})
        given = _QuestionVotes(alpha[:, rows, question.slice], counts[rows, question.slice], alone, level)
        factors.append(_FITS[objective](given))
    sizes = tuple(int(n) for n in (asked > 0).sum(axis=0))
    return Calibration(schema=schema, by_question=tuple(factors), n=sizes, objective=objective)


class _QuestionVotes(NamedTuple):
    """One question: predictions and votes of the galaxies asked it."""

    alpha: FloatArray
    counts: FloatArray
    schema: Schema
    level: float

    def coverage(self, factor: float) -> float:
        """The share of votes that intervals hold with this factor."""
        asked = self.counts.sum(axis=1, keepdims=True)
        steps = vote_cdf(self.counts, factor * self.alpha, self.schema, asked)
        return float(chance_inside(*steps, self.level).mean())


def _most_likely(question: _QuestionVotes) -> float:
    """The factor under which the votes are most likely, by the mixture's likelihood."""
    from scipy.optimize import minimize_scalar

    whole = question.schema.question_slices

    def loss(log_factor: float) -> float:
        return float(mixture_nll(np.exp(log_factor) * question.alpha, question.counts, whole).mean())

    bounds = (np.log(_SMALLEST), np.log(_LARGEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _covering(question: _QuestionVotes) -> float:
    """The factor under which intervals hold the share that they say; an end of the range if none does."""
    from scipy.optimize import brentq

    def excess(log_factor: float) -> float:
        return question.coverage(np.exp(log_factor)) - question.level

    low, high = np.log(_SMALLEST), np.log(_LARGEST)
    if excess(low) <= 0:
        return _SMALLEST
    if excess(high) >= 0:
        return _LARGEST
    return float(np.exp(brentq(excess, low, high, xtol=1e-3)))


def _likely_unless_off(question: _QuestionVotes) -> float:
    factor = _most_likely(question)
    error = np.sqrt(question.level * (1 - question.level) / len(question.counts))
    off = abs(question.coverage(factor) - question.level) > error
    return _covering(question) if off else factor


_FITS: dict[str, Callable[[_QuestionVotes], float]] = {
    "auto": _likely_unless_off,
    "coverage": _covering,
    "likelihood": _most_likely,
}
