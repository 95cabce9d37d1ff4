"""Make a tree model as sure as it may be: one factor a question, by which concentrations are multiplied.

A network trained until it fits its galaxies is often too sure of new ones, or too timid. A factor below 1
widens the posteriors of a question, one above 1 narrows them, and no expected fraction changes. Fit it on
galaxies that were not trained on. It is what a temperature is to a classifier.

References:
    Guo et al. 2017, ICML (arXiv:1706.04599): scaling by one number, fitted on validation data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.coverage import vote_places, whole_votes
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.likelihood import dirichlet_multinomial_nll
from zoobot.shared.posteriors import as_mixture, check_level
from zoobot.shared.tree import Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from zoobot.shared.votes import FloatArray

__all__ = ["Calibration", "CalibrationObjective", "fit_calibration"]

CalibrationObjective = Literal["likelihood", "coverage"]

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
    seed: int = defaults.SEED,
) -> Calibration:
    """The factors that make predictions agree with the votes of galaxies the model was not trained on.

    A question that too few were asked keeps the factor 1.

    Args:
        concentrations: Predictions without calibration, (galaxies, answers), or (samples, galaxies, answers)
            for a mixture.
        votes: Votes, (galaxies, answers), rounded if weighted. NaN or 0 where a question was not asked.
        schema: The decision tree.
        objective: "likelihood" makes the votes most likely; "coverage" makes the intervals of predicted votes
            at `level` hold as many votes as they say, whatever the shape of the distribution inside.
        level: Probability inside those intervals, in (0, 1).
        min_galaxies: Fewest galaxies asked a question for its factor to be fitted.
        seed: Of the random places of whole votes in their distribution; see `coverage`.

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
        of_question = alpha[:, rows, question.slice], counts[rows, question.slice]
        if objective == "likelihood":
            factors.append(_most_likely(*of_question))
        else:
            alone = Schema.from_pairs({question.text: [answer.text for answer in question.answers]})
            factors.append(_covering(*of_question, alone, level=level, seed=seed))
    sizes = tuple(int(n) for n in (asked > 0).sum(axis=0))
    return Calibration(schema=schema, by_question=tuple(factors), n=sizes, objective=objective)


def _most_likely(alpha: FloatArray, counts: FloatArray) -> float:
    """The factor under which one question's votes are most likely, by the mixture's likelihood."""
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    whole = [slice(0, counts.shape[1])]

    def loss(log_factor: float) -> float:
        factor = np.exp(log_factor)
        nll = np.stack([dirichlet_multinomial_nll(factor * sample, counts, whole)[:, 0] for sample in alpha])
        return -float(logsumexp(-nll, axis=0).mean())

    bounds = (np.log(_SMALLEST), np.log(_LARGEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _covering(alpha: FloatArray, counts: FloatArray, schema: Schema, *, level: float, seed: int) -> float:
    """The factor under which intervals of one question's predicted votes hold the share that they say."""
    tail = (1 - level) / 2

    def held(log_factor: float) -> float:
        places = vote_places(np.exp(log_factor) * alpha, counts, schema, seed=seed)
        return float(((places >= tail) & (places <= 1 - tail)).mean())

    return float(np.exp(_fall_to(level, held, np.log(_SMALLEST), np.log(_LARGEST))))


def _fall_to(level: float, share: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function of few values meets a level; the nearer end if it never does."""
    if share(low) <= level:
        return low
    if share(high) >= level:
        return high
    while high - low > 1e-3:
        middle = (low + high) / 2
        if share(middle) > level:
            low = middle
        else:
            high = middle
    return (low + high) / 2
