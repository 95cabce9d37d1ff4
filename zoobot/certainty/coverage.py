"""Whether predictions are as sure as they may be: intervals that hold what they say, and reliability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.posteriors import check_level, marginal_betas, vote_cdf
from zoobot.shared.trees.beta_intervals import mixture_cdf
from zoobot.shared.votes import check_votes, sum_by_question

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from zoobot.shared.tasks import Task
    from zoobot.shared.trees.tree import Schema
    from zoobot.shared.votes import FloatArray

# Whether what is predicted with 70 % comes true in 70 % of cases: reliability curves and their error.
#
# Classes are judged by the probability of the most likely one against how often it is right; yes/no labels
# by their probability against how often they are yes; the answers of a tree by their expected fraction
# against the fraction of the votes they get, over all answers of a question and the galaxies asked it.
#
# References:
# Guo et al. 2017, ICML (arXiv:1706.04599): reliability diagrams and the expected calibration error.

_BINS = 10


def reliability_curve(predicted: ArrayLike, observed: ArrayLike, *, bins: int = _BINS) -> pd.DataFrame:
    """Means of what was predicted and of what was seen, in equal steps of the prediction.

    Args:
        predicted: Probabilities or fractions, in [0, 1], (predictions,).
        observed: What came of each: 1 or 0, or a fraction, (predictions,). NaN is left out.
        bins: How many steps.

    Returns:
        A row for each step that holds a prediction: `predicted` and `observed` (means), and `n`.

    Raises:
        ConfigError: If there is no bin.
        LabelError: If the shapes do not fit, or a prediction is outside [0, 1].

    Example:
        >>> reliability_curve([0.1, 0.1, 0.9], [0, 1, 1], bins=2).round(2).values.tolist()
        [[0.1, 0.5, 2.0], [0.9, 1.0, 1.0]]
    """
    if bins < 1:
        raise ConfigError(f"bins must be at least 1, got {bins!r}")
    guess, truth = np.asarray(predicted, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    if guess.ndim != 1 or guess.shape != truth.shape:
        msg = f"expected two arrays (predictions,), got the shapes {guess.shape} and {truth.shape}"
        raise LabelError(msg)
    known = np.isfinite(truth)
    guess, truth = guess[known], truth[known]
    if not ((guess >= 0) & (guess <= 1 + 1e-5)).all():
        msg = f"probabilities must lie in [0, 1], got {float(guess[(guess < 0) | ~(guess <= 1 + 1e-5)][0])!r}"
        raise LabelError(msg)
    place = np.minimum((guess * bins).astype(np.int64), bins - 1)
    n = np.bincount(place, minlength=bins)
    filled = n > 0
    sums = (np.bincount(place, weights=values, minlength=bins)[filled] for values in (guess, truth))
    means = [total / n[filled] for total in sums]
    return pd.DataFrame({"predicted": means[0], "observed": means[1], "n": n[filled]})


def expected_calibration_error(curve: pd.DataFrame) -> float:
    """How far a reliability curve lies from the diagonal, on average over predictions; NaN without any.

    Args:
        curve: As `reliability_curve` gives it.

    Returns:
        In [0, 1]; 0 is perfect.
    """
    if curve.empty:
        return float("nan")
    return float(np.average((curve["predicted"] - curve["observed"]).abs(), weights=curve["n"]))


def reliability_curves(
    task: Task, predicted: np.ndarray, labels: np.ndarray, *, bins: int = _BINS
) -> dict[str, pd.DataFrame]:
    """The reliability curves of a task's predictions, by name; none for a regression.

    Args:
        task: What was predicted.
        predicted: (galaxies, outputs); of a tree also (samples, galaxies, answers).
        labels: (galaxies, label columns).
        bins: How many steps.

    Returns:
        For classes one curve, "most likely class"; else one for each label, or for each question.
    """
    pairs = task.reliability(predicted, labels)
    return {name: reliability_curve(guess, truth, bins=bins) for name, (guess, truth) in pairs.items()}


# A sum of probabilities that should be the tail may miss it by so much, as in `vote_intervals`.
_ROUNDING = 1e-12


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
        fewer: Probability of fewer votes, as `zoobot.shared.posteriors.vote_cdf` gives it.
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
