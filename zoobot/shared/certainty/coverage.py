"""How often intervals hold what volunteers said: the test of whether a model knows how sure it may be.

Two kinds of interval are checked against the votes on each question, pooled over its answers and the galaxies
that were asked it:

- of votes: those that the posterior predicts for as many volunteers as there were. Votes are whole, and few,
  so an interval of 90 % often holds 95 % or more, and all models look timid. The honest number is therefore
  the randomised one: each count is replaced by a random place within its own step of the distribution
  (the randomised probability integral transform), which is uniform if, and only if, the model is calibrated.
  Its mean over all such places is computed, so nothing is drawn. The plain number, of whole intervals, stands
  beside it.
- of fractions: these are intervals of what infinitely many volunteers would say. The fraction of 40 of them
  scatters around that, so it lies outside more often; these numbers say how far an interval may be read as
  one of the observed fraction.

References:
    Smith 1985, J. Forecasting 4, 283, and Czado, Gneiting & Held 2009, Biometrics 65, 1254: the randomised
    probability integral transform for counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zoobot.shared import defaults
from zoobot.shared.posteriors import check_level, marginal_betas
from zoobot.shared.trees.beta_intervals import mixture_cdf
from zoobot.shared.trees.predictive_votes import vote_cdf
from zoobot.shared.votes import check_votes, sum_by_question

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from zoobot.shared.trees.tree import Schema
    from zoobot.shared.votes import FloatArray

# A sum of probabilities that should be the tail may miss it by so much, as in `vote_intervals`.
_ROUNDING = 1e-12

__all__ = ["chance_inside", "coverage_table", "vote_places", "whole_votes"]


def coverage_table(
    concentrations: ArrayLike,
    votes: ArrayLike,
    schema: Schema,
    *,
    levels: Sequence[float] = defaults.COVERAGE_LEVELS,
) -> pd.DataFrame:
    """The share of votes, and of vote fractions, that intervals hold: a row for each question and level.

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        votes: Votes, (galaxies, answers), rounded if weighted. NaN or 0 where a question was not asked.
        schema: The decision tree.
        levels: Probabilities inside equal-tailed intervals, each in (0, 1).

    Returns:
        Columns `question`, `level`, `n` (galaxies asked), `votes` (randomised, which should be the level),
        `votes_plain` (whole intervals, the level at least) and `fractions`; NaN where nobody was asked.

    Raises:
        ConfigError: If a level is not in (0, 1).
        LabelError: If the shapes do not fit, or these are no votes.
    """
    for level in levels:
        check_level(level)
    counts, asked = whole_votes(votes, schema)
    fewer, exactly = vote_cdf(counts, concentrations, schema, asked)
    with np.errstate(invalid="ignore"):
        observed = counts / np.repeat(asked, _sizes(schema), axis=1)
    alpha, others = marginal_betas(concentrations, schema)
    others = np.where(others == 0, 1.0, others)  # a question with one answer, which is left out below
    below = mixture_cdf(alpha, others, np.nan_to_num(observed))
    rows = []
    for level in levels:
        tail = (1 - level) / 2
        held = {
            "votes": chance_inside(fewer, exactly, level),
            "votes_plain": (fewer + exactly >= tail - _ROUNDING) & (fewer < 1 - tail - _ROUNDING),
            "fractions": (below >= tail) & (below <= 1 - tail),
        }
        for position, question in enumerate(schema.questions):
            rows_asked = asked[:, position] > 0
            row = {"question": question.text, "level": level, "n": int(rows_asked.sum())}
            known = rows_asked.any() and len(question.answers) > 1
            shares = {
                name: float(inside[rows_asked, question.slice].mean()) if known else float("nan")
                for name, inside in held.items()
            }
            rows.append(row | shares)
    return pd.DataFrame(rows)


def chance_inside(fewer: FloatArray, exactly: FloatArray, level: float) -> FloatArray:
    """How likely a random place within each count's step lies in the central interval, in [0, 1].

    Args:
        fewer: Probability of fewer votes, as `trees.predictive_votes.vote_cdf` gives it.
        exactly: Probability of exactly as many.
        level: Probability inside the interval.
    """
    tail = (1 - level) / 2
    overlap = np.minimum(fewer + exactly, 1 - tail) - np.maximum(fewer, tail)
    inside = (fewer >= tail) & (fewer <= 1 - tail)  # for a step too small to have a width
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(exactly > 0, np.clip(overlap / exactly, 0, 1), inside)


def vote_places(
    concentrations: ArrayLike, votes: ArrayLike, schema: Schema, *, seed: int = defaults.SEED
) -> FloatArray:
    """Where each vote count lies in its predictive distribution, in [0, 1]: (galaxies, answers).

    The place within a count's own step is random, so that the places of a calibrated model are uniform. NaN
    where a question was not asked.

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        votes: Votes, (galaxies, answers), rounded if weighted. NaN or 0 where a question was not asked.
        schema: The decision tree.
        seed: Of the random places.

    Raises:
        LabelError: If the shapes do not fit, or these are no votes.
    """
    counts, asked = whole_votes(votes, schema)
    fewer, exactly = vote_cdf(counts, concentrations, schema, asked)
    places = fewer + np.random.default_rng(seed).random(fewer.shape) * exactly
    return np.where(np.repeat(asked, _sizes(schema), axis=1) > 0, places, np.nan)


def whole_votes(votes: ArrayLike, schema: Schema) -> tuple[FloatArray, FloatArray]:
    """Rounded votes, (galaxies, answers), and how many they are for each question, (galaxies, questions).

    Raises:
        LabelError: If these are no votes of this schema.
    """
    counts: FloatArray = np.rint(np.nan_to_num(check_votes(votes, schema)))
    return counts, sum_by_question(counts, schema.question_slices)


def _sizes(schema: Schema) -> list[int]:
    return [len(question.answers) for question in schema.questions]
