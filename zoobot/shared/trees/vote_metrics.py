"""Scores of predicted concentrations against volunteers' votes, question by question of a decision tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import LabelError, NonFiniteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoobot.shared.trees.tree import Schema

__all__ = ["CONFIDENT_FRACTION", "fraction_rmse", "tree_metrics"]

#: Volunteers agree on a galaxy if more than this share of them give one answer.
CONFIDENT_FRACTION = 0.8


def fraction_rmse(
    concentrations: np.ndarray, votes: np.ndarray, question_slices: Sequence[slice]
) -> np.ndarray:
    """The root mean square error of each question's vote fractions, over answers and galaxies asked.

    Args:
        concentrations: (galaxies, answers), positive; their shares are the expected fractions.
        votes: (galaxies, answers), 0 or more; NaN or no votes at all where a question was not asked.
        question_slices: The answers of each question.

    Returns:
        (questions,), in [0, 1]; NaN where nobody was asked.

    Raises:
        LabelError: If the shapes do not fit.
        NonFiniteError: If a concentration is not finite.

    Example:
        >>> fraction_rmse(np.array([[3.0, 1.0]]), np.array([[8, 2]]), [slice(0, 2)]).round(3).tolist()
        [0.05]
    """
    concentrations, votes = _check(concentrations, votes)
    errors = [_squared_errors(concentrations[:, part], votes[:, part]) for part in question_slices]
    return np.array([_root_mean(error) for error in errors])


def tree_metrics(concentrations: np.ndarray, votes: np.ndarray, schema: Schema) -> dict[str, float]:
    """Scores of a model of volunteers' votes.

    The predicted answer of a question is the one with the largest expected fraction; it is right if no other
    answer got more votes. A galaxy counts for a question if anyone was asked it, and is confident if more
    than 80 % of its votes agree.

    Args:
        concentrations: Positive, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        votes: (galaxies, answers), 0 or more; NaN or no votes at all where a question was not asked.
        schema: The decision tree.

    Returns:
        For each question `nll_QUESTION` (mean negative log-likelihood of its votes, nats),
        `fraction_rmse_QUESTION`, `accuracy_QUESTION`, `accuracy_confident_QUESTION`, and the galaxies behind
        them, `n_QUESTION` and `n_confident_QUESTION`. Over all questions: `nll` (summed over questions, mean
        over galaxies), `fraction_rmse` (over every answer of every question asked), `accuracy` and
        `accuracy_confident` (means over questions), `n` (galaxies). Of a schema that joins campaigns also
        `nll_campaign_CAMPAIGN` (summed over its questions, mean over its galaxies). NaN where nobody was
        asked.

    Raises:
        LabelError: If the shapes do not fit, or votes are negative.
        NonFiniteError: If a concentration is not finite and positive.

    References:
        Walmsley et al. 2022, MNRAS 509, 3966: accuracy on galaxies whose volunteers agree.
    """
    from zoobot.shared.likelihood import mixture_nll
    from zoobot.shared.posteriors import expected_fractions

    samples = np.asarray(concentrations, dtype=np.float64)
    samples = samples if samples.ndim == 3 else samples[None]
    for sample in samples:
        _check(sample, votes)
    votes = np.asarray(votes, dtype=np.float64)
    if votes.shape[1] != len(schema.label_cols):
        msg = f"schema {schema.name!r} has {len(schema.label_cols)} answers, got {votes.shape[1]} columns"
        raise LabelError(msg)
    nll = mixture_nll(samples, votes, schema.question_slices)
    expected = expected_fractions(samples, schema)
    scores = {"nll": _mean(nll.sum(axis=1)), "n": float(len(votes))}
    squared, accuracies, confident_accuracies = [], [], []
    per_question: dict[str, float] = {}
    for position, (question, part) in enumerate(zip(schema.questions, schema.question_slices, strict=True)):
        predicted, counted = expected[:, part], np.nan_to_num(votes[:, part])
        total, most = counted.sum(axis=1), counted.max(axis=1)
        asked = total > 0
        confident = asked & (most > CONFIDENT_FRACTION * total)
        right = counted[np.arange(len(counted)), predicted.argmax(axis=1)] == most
        squared.append(_squared_errors(predicted, counted).ravel())
        accuracies.append(_mean(right[asked]))
        confident_accuracies.append(_mean(right[confident]))
        per_question |= {
            f"nll_{question.text}": _mean(nll[asked, position]),
            f"fraction_rmse_{question.text}": _root_mean(squared[-1]),
            f"accuracy_{question.text}": accuracies[-1],
            f"accuracy_confident_{question.text}": confident_accuracies[-1],
            f"n_{question.text}": float(asked.sum()),
            f"n_confident_{question.text}": float(confident.sum()),
        }
    for campaign, places in schema.campaigns.items():
        answers = [place for part in _slices(schema, places) for place in range(part.start, part.stop)]
        asked = np.nan_to_num(votes[:, answers]).any(axis=1)
        per_question[f"nll_campaign_{campaign}"] = _mean(nll[asked][:, places].sum(axis=1))
    scores["fraction_rmse"] = _root_mean(np.concatenate(squared))
    scores["accuracy"] = _mean_of_defined(accuracies)
    scores["accuracy_confident"] = _mean_of_defined(confident_accuracies)
    return scores | per_question


def _slices(schema: Schema, places: Sequence[int]) -> list[slice]:
    return [schema.question_slices[place] for place in places]


def _check(concentrations: np.ndarray, votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    concentrations = np.asarray(concentrations, dtype=np.float64)
    votes = np.asarray(votes, dtype=np.float64)
    if concentrations.ndim != 2 or concentrations.shape != votes.shape:
        msg = (
            "expected concentrations and votes, both (galaxies, answers), got the shapes "
            f"{concentrations.shape} and {votes.shape}"
        )
        raise LabelError(msg)
    bad = np.flatnonzero(~(np.isfinite(concentrations) & (concentrations > 0)).all(axis=1))
    if len(bad):
        msg = (
            f"concentrations must be finite and positive, but {len(bad)} rows are not; the first: "
            f"{bad[:10].tolist()}"
        )
        raise NonFiniteError(msg)
    return concentrations, votes


def _squared_errors(concentrations: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """(galaxies asked, answers of one question)."""
    counted = np.nan_to_num(votes)
    total = counted.sum(axis=1, keepdims=True)
    asked = total[:, 0] > 0
    expected = concentrations[asked] / concentrations[asked].sum(axis=1, keepdims=True)
    return (expected - counted[asked] / total[asked]) ** 2


def _root_mean(squared_errors: np.ndarray) -> float:
    return _mean(squared_errors) ** 0.5


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _mean_of_defined(values: Sequence[float]) -> float:
    return _mean(np.array([value for value in values if not np.isnan(value)]))
