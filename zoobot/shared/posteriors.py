"""From Dirichlet concentrations to what they say of a galaxy: expected vote fractions and their intervals.

One question's fractions follow a Dirichlet distribution, so one answer's follows a beta distribution:
means and intervals need no sampling. The engines' `posteriors` give the distributions themselves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.tree import Schema
from zoobot.shared.votes import FloatArray, sum_by_question

__all__ = [
    "check_concentrations",
    "check_level",
    "check_volunteers",
    "expected_fractions",
    "fraction_intervals",
]


def expected_fractions(concentrations: ArrayLike, schema: Schema) -> FloatArray:
    """The vote fractions to expect for each answer, of those asked its question: (galaxies, answers).

    Args:
        concentrations: Above 0, (galaxies, answers).
        schema: The tree they belong to.

    Raises:
        LabelError: If the shape is wrong or a concentration is not above 0.

    Example:
        >>> from zoobot.shared import schemas
        >>> expected_fractions([[9.0, 3.0]], schemas.get("gz_rings")).tolist()
        [[0.75, 0.25]]
    """
    alpha = check_concentrations(concentrations, schema)
    return alpha / _sum_of_question(alpha, schema)


def fraction_intervals(
    concentrations: ArrayLike, schema: Schema, *, level: float = 0.9
) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends of equal-tailed intervals of each fraction: (galaxies, answers) each.

    Args:
        concentrations: Above 0, (galaxies, answers).
        schema: The tree they belong to.
        level: Probability inside the interval, in (0, 1).

    Raises:
        ConfigError: If the level is not in (0, 1).
        LabelError: If the shape is wrong or a concentration is not above 0.

    Example:
        >>> from zoobot.shared import schemas
        >>> lower, upper = fraction_intervals([[1.0, 1.0]], schemas.get("gz_rings"), level=0.5)
        >>> lower.tolist(), upper.tolist()
        ([[0.25, 0.25]], [[0.75, 0.75]])
    """
    from scipy.special import betaincinv

    check_level(level)
    alpha = check_concentrations(concentrations, schema)
    others = _sum_of_question(alpha, schema) - alpha
    tail = (1 - level) / 2
    single = others == 0  # a question with one answer: its fraction is 1
    others = np.where(single, 1.0, others)
    lower, upper = (betaincinv(alpha, others, quantile) for quantile in (tail, 1 - tail))
    return np.where(single, 1.0, lower), np.where(single, 1.0, upper)


def check_concentrations(concentrations: ArrayLike, schema: Schema) -> FloatArray:
    """The concentrations as float64, once found to be of this schema, finite and above 0.

    Raises:
        LabelError: If they are not.
    """
    alpha = np.asarray(concentrations, dtype=np.float64)
    if alpha.ndim != 2 or alpha.shape[1] != len(schema.label_cols):
        msg = f"concentrations must be (galaxies, {len(schema.label_cols)} answers), got shape {alpha.shape}"
        raise LabelError(msg)
    if not (np.isfinite(alpha) & (alpha > 0)).all():
        rows = np.flatnonzero(~(np.isfinite(alpha) & (alpha > 0)).all(axis=1))[:5].tolist()
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


def _sum_of_question(alpha: FloatArray, schema: Schema) -> FloatArray:
    """For each answer the sum over its question, (galaxies, answers)."""
    slices = schema.question_slices
    sums = sum_by_question(alpha, slices)
    return np.repeat(sums, [part.stop - part.start for part in slices], axis=1)
