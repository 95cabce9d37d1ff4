"""From Dirichlet concentrations to what they say of a galaxy: expected vote fractions and their intervals.

One question's fractions follow a Dirichlet distribution, so one answer's follows a beta distribution: means
and intervals need no sampling. Concentrations are (galaxies, answers), or (samples, galaxies, answers): then
a galaxy's posterior is the equal mixture of its samples, from MC dropout or from the members of an ensemble.
Votes are in `trees.predictive_votes`; the engines' `posteriors` give the distributions themselves.

References:
    Walmsley et al. 2022, MNRAS 509, 3966, section 4.3.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.trees.beta_intervals import beta_highest_density, beta_quantiles, mixture_highest_density
from zoobot.shared.trees.tree import Schema
from zoobot.shared.votes import FloatArray, sum_by_question

__all__ = [
    "IntervalKind",
    "as_mixture",
    "check_concentrations",
    "check_level",
    "check_volunteers",
    "expected_fractions",
    "fraction_intervals",
    "marginal_betas",
    "probability_asked",
]

IntervalKind = Literal["equal-tailed", "highest-density"]


def expected_fractions(concentrations: ArrayLike, schema: Schema) -> FloatArray:
    """The vote fractions to expect for each answer, of those asked its question: (galaxies, answers).

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        schema: The tree they belong to.

    Raises:
        LabelError: If the shape is wrong or a concentration is not above 0.

    Example:
        >>> from zoobot.shared import schemas
        >>> expected_fractions([[9.0, 3.0]], schemas.get("gz_rings")).tolist()
        [[0.75, 0.25]]
    """
    return _fractions_of_samples(concentrations, schema).mean(axis=0)


def probability_asked(concentrations: ArrayLike, schema: Schema) -> FloatArray:
    """The probability that a volunteer comes to be asked each question: (galaxies, questions).

    Within a sample the questions are independent, so their expected fractions multiply along the tree; of a
    mixture the probabilities are averaged, since its questions are not.

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        schema: The tree they belong to.

    Raises:
        LabelError: If the shape is wrong or a concentration is not above 0.
    """
    return schema.probability_asked(_fractions_of_samples(concentrations, schema)).mean(axis=0)


def fraction_intervals(
    concentrations: ArrayLike, schema: Schema, *, level: float = 0.9, kind: IntervalKind = "equal-tailed"
) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends of intervals of each fraction: (galaxies, answers) each.

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        schema: The tree they belong to.
        level: Probability inside the interval, in (0, 1).
        kind: "equal-tailed" leaves as much probability below as above; "highest-density" is the shortest
            interval, and reaches 0 or 1 where that is most likely.

    Raises:
        ConfigError: If the level is not in (0, 1), or there is no such kind.
        LabelError: If the shape is wrong or a concentration is not above 0.

    Example:
        >>> from zoobot.shared import schemas
        >>> lower, upper = fraction_intervals([[1.0, 1.0]], schemas.get("gz_rings"), level=0.5)
        >>> lower.tolist(), upper.tolist()
        ([[0.25, 0.25]], [[0.75, 0.75]])
    """
    check_level(level)
    if kind not in get_args(IntervalKind):
        msg = f"kind must be one of {get_args(IntervalKind)}, got {kind!r}"
        raise ConfigError(msg)
    alpha, others = marginal_betas(concentrations, schema)
    single = others == 0  # a question with one answer: its fraction is 1
    others, single = np.where(single, 1.0, others), single[0]
    if kind == "equal-tailed":
        tail = (1 - level) / 2
        ends = beta_quantiles(alpha, others, tail), beta_quantiles(alpha, others, 1 - tail)
    elif len(alpha) == 1:
        ends = beta_highest_density(alpha[0], others[0], level)
    else:
        ends = mixture_highest_density(alpha, others, level)
    return np.where(single, 1.0, ends[0]), np.where(single, 1.0, ends[1])


def marginal_betas(concentrations: ArrayLike, schema: Schema) -> tuple[FloatArray, FloatArray]:
    """The two parameters of the beta distribution of each fraction: (samples, galaxies, answers) each.

    The second is 0 for the answer of a question that has only one.

    Raises:
        LabelError: If the shape is wrong or a concentration is not above 0.
    """
    alpha = as_mixture(concentrations, schema)
    others = _sum_of_question(alpha, schema) - alpha
    alone = [
        answer for question in schema.questions for answer in question.answers if len(question.answers) == 1
    ]
    others[..., [answer.index for answer in alone]] = 0.0  # exactly, whatever rounding left
    return alpha, others


def as_mixture(concentrations: ArrayLike, schema: Schema) -> FloatArray:
    """The concentrations with an axis of samples, of length 1 where there was none.

    Raises:
        LabelError: As for `check_concentrations`.
    """
    alpha = check_concentrations(concentrations, schema)
    return alpha if alpha.ndim == 3 else alpha[None]


def check_concentrations(concentrations: ArrayLike, schema: Schema) -> FloatArray:
    """The concentrations as float64, once found to be of this schema, finite and above 0.

    Raises:
        LabelError: If they are not.
    """
    alpha = np.asarray(concentrations, dtype=np.float64)
    n_answers = len(schema.label_cols)
    no_samples = alpha.ndim == 3 and len(alpha) == 0
    if alpha.ndim not in (2, 3) or alpha.shape[-1] != n_answers or no_samples:
        msg = (
            f"concentrations must be (galaxies, {n_answers} answers), or (samples, galaxies, {n_answers} "
            f"answers), got shape {alpha.shape}"
        )
        raise LabelError(msg)
    good = np.isfinite(alpha) & (alpha > 0)
    if not good.all():
        rows = np.flatnonzero(~good.all(axis=-1).reshape(-1, alpha.shape[-2]).all(axis=0))[:5].tolist()
        msg = f"concentrations must be finite and above 0; they are not in rows {rows}"
        raise LabelError(msg)
    return alpha


def check_level(level: float) -> None:
    """Raise a ConfigError unless `level` can be the probability inside an interval."""
    if not 0 < level < 1:
        msg = f"level must be in (0, 1), got {level!r}"
        raise ConfigError(msg)


def check_volunteers(n_volunteers: int) -> None:
    """Raise a ConfigError unless `n_volunteers` can be a number of people."""
    if isinstance(n_volunteers, bool) or not isinstance(n_volunteers, (int, np.integer)) or n_volunteers < 1:
        msg = f"n_volunteers must be a whole number of at least 1, got {n_volunteers!r}"
        raise ConfigError(msg)


def _fractions_of_samples(concentrations: ArrayLike, schema: Schema) -> FloatArray:
    alpha = as_mixture(concentrations, schema)
    return alpha / _sum_of_question(alpha, schema)


def _sum_of_question(alpha: FloatArray, schema: Schema) -> FloatArray:
    """For each answer the sum over its question, (…, answers)."""
    slices = schema.question_slices
    sums = sum_by_question(alpha, slices)
    return np.repeat(sums, [part.stop - part.start for part in slices], axis=-1)
