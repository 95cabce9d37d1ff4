"""Scores of predictions against labels, of which each task in `zoobot.shared.tasks` has its bundle.

A bundle is a flat dict with stable names. A score that is undefined on the data at hand (a class that does
not occur, a target that does not vary) is NaN; means are over what is defined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import LabelError, NonFiniteError

if TYPE_CHECKING:
    from collections.abc import Sequence


_COMPLETENESS = 0.9


def confusion_matrix(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many galaxies of each class (rows) were taken for each class (columns).

    Args:
        probabilities: (galaxies, classes); the largest is the prediction.
        labels: (galaxies,) integers from 0.

    Returns:
        (classes, classes) integers.

    Raises:
        LabelError: If the shapes do not fit, or a label is no class.
        NonFiniteError: If a probability is not finite.

    Example:
        >>> confusion_matrix(np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]]), np.array([0, 1, 1])).tolist()
        [[1, 0], [1, 1]]
    """
    from sklearn import metrics

    probabilities, labels = check_classes(probabilities, labels)
    classes = np.arange(probabilities.shape[1])
    if not len(labels):
        return np.zeros((len(classes), len(classes)), dtype=np.int64)
    counts: np.ndarray = metrics.confusion_matrix(labels, probabilities.argmax(axis=1), labels=classes)
    return counts


def purity_at_completeness(
    scores: np.ndarray, positive: np.ndarray, *, completeness: float = _COMPLETENESS
) -> float:
    """The highest purity (precision) of a sample that holds at least this share of all positives.

    Args:
        scores: (galaxies,); higher means more likely positive. The sample is all galaxies above a threshold.
        positive: (galaxies,) booleans.
        completeness: The share (recall), in (0, 1].

    Returns:
        In [0, 1]; NaN without positives.

    Raises:
        LabelError: If completeness is outside (0, 1].

    Example:
        >>> purity_at_completeness(np.array([0.9, 0.8, 0.7, 0.1]), np.array([1, 0, 1, 0]), completeness=1.0)
        0.6666666666666666
    """
    from sklearn.metrics import precision_recall_curve

    if not 0 < completeness <= 1:
        raise LabelError(f"completeness must lie in (0, 1], got {completeness!r}")
    positive = np.asarray(positive, dtype=bool)
    if not positive.any():
        return float("nan")
    purity, complete, _ = precision_recall_curve(positive, scores)
    return float(purity[complete >= completeness].max())


def ranking_metrics(scores: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """How well scores put positives before the rest: average precision, ROC AUC, purity at 90 % completeness.

    Args:
        scores: (galaxies,); higher means more likely positive.
        positive: (galaxies,) booleans.

    Returns:
        `average_precision` (NaN without positives), `roc_auc` (NaN without positives or without negatives),
        and `purity_at_90_completeness`.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    positive = np.asarray(positive, dtype=bool)
    some = bool(positive.any())
    both = some and not positive.all()
    return {
        "average_precision": float(average_precision_score(positive, scores)) if some else float("nan"),
        "roc_auc": float(roc_auc_score(positive, scores)) if both else float("nan"),
        "purity_at_90_completeness": purity_at_completeness(scores, positive),
    }


def check_classes(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 and int64, once found to be finite (galaxies, classes) and classes (galaxies,)."""
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise LabelError(
            "expected probabilities (galaxies, classes) and labels (galaxies,), got the shapes "
            f"{probabilities.shape} and {labels.shape}"
        )
    n_classes = probabilities.shape[1]
    bad = (labels < 0) | (labels >= n_classes) | (labels % 1 != 0)
    if bad.any():
        msg = f"labels must be whole numbers from 0 to {n_classes - 1}, got {labels[bad][0].item()!r}"
        raise LabelError(msg)
    _refuse_non_finite(probabilities)
    return probabilities, labels.astype(np.int64)


def check_columns(
    predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Both as float64, once found to be (galaxies, columns) and the predictions finite, and the names."""
    predictions, labels = np.asarray(predictions, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if predictions.ndim != 2 or predictions.shape != labels.shape:
        raise LabelError(
            f"expected two arrays (galaxies, columns), got the shapes {predictions.shape} and {labels.shape}"
        )
    _refuse_non_finite(predictions)
    return predictions, labels, check_names(names, predictions.shape[1])


def check_names(names: Sequence[str], count: int) -> list[str]:
    """The names, or numbers where there are none."""
    if len(names) not in (0, count):
        raise LabelError(f"expected {count} names, got {list(names)}")
    return list(names) or [str(k) for k in range(count)]


def _refuse_non_finite(predictions: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(predictions).all(axis=1))
    if len(bad):
        msg = f"predictions must be finite, but {len(bad)} rows are not; the first: {bad[:10].tolist()}"
        raise NonFiniteError(msg)


def mean_of_defined(values: np.ndarray) -> float:
    """The mean of what is not NaN; NaN of nothing."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def by_name(scores: dict[str, np.ndarray], names: Sequence[str]) -> dict[str, float]:
    """Each score of each class, label or target, as `SCORE_NAME`."""
    return {
        f"{metric}_{name}": float(v)
        for metric, values in scores.items()
        for name, v in zip(names, values, strict=True)
    }
