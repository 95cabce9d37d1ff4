"""Whether predictions are as sure as they may be: intervals that hold what they say, and reliability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.metrics import by_name, mean_of_defined, ratio
from zoobot.shared.posteriors import chance_inside, check_level, marginal_betas, vote_cdf
from zoobot.shared.trees.beta_intervals import mixture_cdf
from zoobot.shared.votes import check_votes, sum_by_question

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from zoobot.shared.conformal import Conformal
    from zoobot.shared.metrics import Scorer
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
_LEVEL = 0.9


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
    place = _steps(guess, bins)
    n = np.bincount(place, minlength=bins)
    filled = n > 0
    sums = (np.bincount(place, weights=values, minlength=bins)[filled] for values in (guess, truth))
    means = [total / n[filled] for total in sums]
    return pd.DataFrame({"predicted": means[0], "observed": means[1], "n": n[filled]})


def _steps(guess: FloatArray, bins: int) -> NDArray[np.int64]:
    """In which of equal steps of [0, 1] each prediction is."""
    return np.minimum((guess * bins).astype(np.int64), bins - 1)


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


def calibration_scorer(task: Task, predicted: np.ndarray, labels: np.ndarray, *, bins: int = _BINS) -> Scorer:
    """What gives calibration errors of weighted galaxies: `ece`, the mean, and of several each `ece_NAME`.

    Args:
        task: What was predicted.
        predicted: (galaxies, outputs); of a tree also (samples, galaxies, answers).
        labels: (galaxies, label columns).
        bins: How many steps.
    """
    pairs = task.reliability(predicted, labels)
    gaps: dict[str, FloatArray] = {}
    for name, (guess, truth) in pairs.items():
        known, galaxy = (
            np.isfinite(truth),
            np.repeat(np.arange(len(labels)), len(guess) // max(1, len(labels))),
        )
        missed = np.where(known, np.asarray(guess, float) - np.where(known, truth, 0.0), 0.0)
        cells, shape = galaxy * bins + _steps(np.asarray(guess, float), bins), (len(labels), bins)
        of_steps = np.bincount(cells, weights=missed, minlength=len(labels) * bins).reshape(shape)
        n = np.bincount(galaxy, weights=known, minlength=len(labels))
        if n.any():
            gaps[name] = np.column_stack([of_steps, n])

    def score(weights: FloatArray) -> dict[str, FloatArray]:
        sums = {name: weights @ own for name, own in gaps.items()}
        errors = {name: ratio(np.abs(own[:, :-1]).sum(axis=1), own[:, -1]) for name, own in sums.items()}
        scores = {"ece": mean_of_defined(np.stack(list(errors.values()), axis=1))} if errors else {}
        if len(pairs) > 1:
            absent = np.full(len(weights), np.nan)
            scores |= {f"ece_{name}": errors.get(name, absent) for name in pairs}
        return scores

    return score


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
    asked, held = _shares_held(concentrations, votes, schema, levels)
    rows = []
    for level, shares in held.items():
        for position, question in enumerate(schema.questions):
            of_question = asked[:, position]
            row = {"question": question.text, "level": level, "n": int(of_question.sum())}
            known = of_question.any() and len(question.answers) > 1
            rows.append(
                row
                | {
                    name: float(of_galaxies[of_question, position].mean()) if known else float("nan")
                    for name, of_galaxies in shares.items()
                }
            )
    return pd.DataFrame(rows)


def coverage_scorer(concentrations: ArrayLike, votes: ArrayLike, schema: Schema) -> Scorer:
    """What gives the coverage of 90 % intervals, told as for `coverage_table`, of weighted galaxies.

    Its scores are `coverage_90_QUESTION` (randomised) and `coverage_90_plain_QUESTION` (whole intervals).
    """
    asked, held = _shares_held(concentrations, votes, schema, (_LEVEL,))
    names = [question.text for question in schema.questions]
    of_one = np.array([len(question.answers) == 1 for question in schema.questions])
    endings = {"coverage_90": "votes", "coverage_90_plain": "votes_plain"}
    columns = np.hstack([asked, *(np.where(asked, held[_LEVEL][column], 0.0) for column in endings.values())])

    def score(weights: FloatArray) -> dict[str, FloatArray]:
        n, *sums = np.split(weights @ columns, 1 + len(endings), axis=1)
        shares = [np.where(of_one, np.nan, ratio(own, n)) for own in sums]
        return by_name(dict(zip(endings, shares, strict=True)), names)

    return score


def _shares_held(
    concentrations: ArrayLike, votes: ArrayLike, schema: Schema, levels: Sequence[float]
) -> tuple[NDArray[np.bool_], dict[float, dict[str, FloatArray]]]:
    """Who was asked what, (galaxies, questions); by level and kind of interval, shares of answers inside."""
    for level in levels:
        check_level(level)
    counts, asked = whole_votes(votes, schema)
    fewer, exactly = vote_cdf(counts, concentrations, schema, asked)
    with np.errstate(invalid="ignore"):
        observed = counts / np.repeat(asked, _sizes(schema), axis=1)
    alpha, others = marginal_betas(concentrations, schema)
    others = np.where(others == 0, 1.0, others)  # a question with one answer, of which no coverage is told
    below = mixture_cdf(alpha, others, np.nan_to_num(observed))
    held: dict[float, dict[str, FloatArray]] = {}
    for level in levels:
        tail = (1 - level) / 2
        inside = {
            "votes": chance_inside(fewer, exactly, level),
            "votes_plain": (fewer + exactly >= tail - _ROUNDING) & (fewer < 1 - tail - _ROUNDING),
            "fractions": (below >= tail) & (below <= 1 - tail),
        }
        held[level] = {
            name: sum_by_question(of_answers.astype(float), schema.question_slices) / _sizes(schema)
            for name, of_answers in inside.items()
        }
    return asked > 0, held


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


# Whether intervals and sets by conformal prediction hold the truth, for every task.


def interval_table(
    task: Task,
    conformal: Conformal,
    predicted: np.ndarray,
    labels: np.ndarray,
    *,
    levels: Sequence[float] = defaults.CONFORMAL_LEVELS,
) -> pd.DataFrame:
    """How often intervals hold the truth, and how wide they are: a row for each level and target or answer.

    Args:
        task: What was predicted.
        conformal: The model's errors on other galaxies.
        predicted: (galaxies, outputs).
        labels: (galaxies, label columns).
        levels: How often they are to hold it.

    Returns:
        Columns `name`, `level`, `n` (galaxies whose truth is known), `held` (the share that is held, which
        should be the level) and `size` (the mean width, or number of classes); NaN where the model's errors
        are of too few galaxies, or none is known here.
    """
    rows = []
    truth = np.asarray(labels, np.float64)
    known = ~np.isnan(task.nonconformity(np.asarray(predicted, np.float64), truth))
    for level in levels:
        thresholds = conformal.thresholds(level)
        held, sizes = task.judge_intervals(np.asarray(predicted, np.float64), truth, thresholds)
        for k, name in enumerate(conformal.names):
            some = known[:, k] & ~np.isnan(thresholds[k])
            rows.append(
                {
                    "name": name,
                    "level": level,
                    "n": int(known[:, k].sum()),
                    "held": float(held[some, k].mean()) if some.any() else float("nan"),
                    "size": float(sizes[some, k].mean()) if some.any() else float("nan"),
                }
            )
    return pd.DataFrame(rows)
