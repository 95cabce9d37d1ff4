"""Scores of predictions against labels, of which each task in `zoobot.shared.tasks` has its bundle.

A bundle is a flat dict with stable names. A score that is undefined on the data at hand (a class that does
not occur, a target that does not vary) is NaN; means are over what is defined.

Every bundle is a function of weights: how often each galaxy counts. All count once for the scores
themselves; `zoobot.certainty.bootstrap` draws them at random, many times, for the scores' intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import LabelError, NonFiniteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    #: Scores by name, (resamples,) each, from weights, (resamples, galaxies).
    Scorer: TypeAlias = Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]


_COMPLETENESS = 0.9


def score_once(scorer: Scorer, galaxies: int) -> dict[str, float]:
    """The scores where each galaxy counts once.

    Args:
        scorer: Gives them for any weights.
        galaxies: How many there are.
    """
    return {name: float(values[0]) for name, values in scorer(np.ones((1, galaxies))).items()}


def join_scorers(scorers: Iterable[Scorer]) -> Scorer:
    """The scores of several, by name, of the same galaxies."""
    every = list(scorers)
    return lambda weights: {name: values for scorer in every for name, values in scorer(weights).items()}


def ratio(part: np.ndarray, whole: np.ndarray) -> NDArray[np.float64]:
    """The quotient; NaN where the whole is 0.

    Example:
        >>> ratio(np.array([1.0, 0.0]), np.array([4.0, 0.0])).tolist()
        [0.25, nan]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole == 0, np.nan, np.divide(part, whole))


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


def ranking_metrics(scores: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """How well scores put positives before the rest: average precision, ROC AUC, purity at 90 % completeness.

    Args:
        scores: (galaxies,); higher means more likely positive.
        positive: (galaxies,) booleans.

    Returns:
        `average_precision` (NaN without positives), `roc_auc` (NaN without positives or without negatives),
        and `purity_at_90_completeness`.
    """
    return score_once(ranking_scorer(scores, positive), len(scores))


def ranking_scorer(scores: np.ndarray, positive: np.ndarray) -> Scorer:
    """What gives the `ranking_metrics` of weighted galaxies; these are sorted once, whatever the weights.

    Galaxies of one score are one step of the curves. Only steps with positives are looked at: the others add
    nothing to the area under either curve, nor are they where a sample is purest.

    Args:
        scores: (galaxies,); higher means more likely positive.
        positive: (galaxies,) booleans.
    """
    scores, positive = np.asarray(scores), np.asarray(positive, dtype=bool)
    order = np.argsort(-scores, kind="stable")
    first = np.ones(len(order), dtype=bool)
    first[1:] = np.diff(scores[order]) != 0
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], len(order))[: len(starts)]
    found = np.concatenate([[0], np.cumsum(positive[order])])
    steps = np.flatnonzero(found[starts] < found[ends])
    starts, ends = starts[steps], ends[steps]

    def score(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        everyone = _running_sum(weights.take(order, axis=1))
        positives = _running_sum(weights.take(order[positive[order]], axis=1))
        true_before, true = positives[:, found[starts]], positives[:, found[ends]]
        before, after = everyone[:, starts], everyone[:, ends]
        total = positives[:, -1]
        rest = everyone[:, -1] - total
        gained = true - true_before
        purity = ratio(true, after)
        area = (gained * np.nan_to_num(purity)).sum(axis=1)
        # those of the rest that stand behind; half of those at the same step
        behind = rest[:, None] - 0.5 * (after - true + before - true_before)
        enough = ratio(true, total[:, None]) >= _COMPLETENESS
        purest = np.where(enough, purity, -np.inf).max(axis=1, initial=-np.inf)
        return {
            "average_precision": ratio(area, total),
            "roc_auc": ratio((gained * behind).sum(axis=1), total * rest),
            "purity_at_90_completeness": np.where(total == 0, np.nan, purest),
        }

    return score


def _running_sum(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the first 0, 1, 2 … galaxies, (resamples, galaxies + 1)."""
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


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


def mean_of_defined(values: np.ndarray) -> NDArray[np.float64]:
    """The mean over the last axis of what is not NaN; NaN of nothing.

    Example:
        >>> mean_of_defined(np.array([[1.0, np.nan], [2.0, 4.0]])).tolist()
        [1.0, 3.0]
    """
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


def by_name(scores: dict[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Each score of each class, label or target, (resamples, names), as `SCORE_NAME`, (resamples,)."""
    return {
        f"{metric}_{name}": values[:, place]
        for metric, values in scores.items()
        for place, name in enumerate(names)
    }
