"""Whether what is predicted with 70 % comes true in 70 % of cases: reliability curves and their error.

Classes are judged by the probability of the most likely one against how often it is right; yes/no labels by
their probability against how often they are yes; the answers of a tree by their expected fraction against the
fraction of the votes they get, over all answers of a question and the galaxies asked it.

References:
    Guo et al. 2017, ICML (arXiv:1706.04599): reliability diagrams and the expected calibration error.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.posteriors import expected_fractions
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, Task, TreeTask
from zoobot.shared.votes import fractions_from_votes

__all__ = ["expected_calibration_error", "reliability_curve", "reliability_curves"]

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
        msg = f"bins must be at least 1, got {bins!r}"
        raise ConfigError(msg)
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
    if isinstance(task, ClassificationTask):
        right = predicted.argmax(axis=1) == labels[:, 0]
        return {"most likely class": reliability_curve(predicted.max(axis=1), right, bins=bins)}
    if isinstance(task, MultiLabelTask):
        names = task.label_cols or tuple(map(str, range(task.num_labels)))
        columns = zip(names, predicted.T, labels.T, strict=True)
        return {name: reliability_curve(guess, truth, bins=bins) for name, guess, truth in columns}
    if isinstance(task, TreeTask):
        expected = expected_fractions(predicted, task.schema)
        observed = fractions_from_votes(labels, task.schema)
        return {
            question.text: reliability_curve(
                expected[:, question.slice].ravel(), observed[:, question.slice].ravel(), bins=bins
            )
            for question in task.schema.questions
        }
    return {}
