"""Scores of predictions against labels: single functions, and one bundle for each task.

A bundle is a flat dict with stable names. A score that is undefined on the data at hand (a class that does
not occur, a target that does not vary) is NaN; means are over what is defined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.shared.errors import LabelError, NonFiniteError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoobot.shared.trees.tree import Schema

__all__ = [
    "CONFIDENT_FRACTION",
    "classification_metrics",
    "confusion_matrix",
    "fraction_rmse",
    "multilabel_metrics",
    "purity_at_completeness",
    "ranking_metrics",
    "regression_metrics",
    "tree_metrics",
]


# Scores of predicted concentrations against volunteers' votes, question by question of a decision tree.

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
    scores = {"nll": _mean_or_nan(nll.sum(axis=1)), "n": float(len(votes))}
    squared, accuracies, confident_accuracies = [], [], []
    per_question: dict[str, float] = {}
    for position, (question, part) in enumerate(zip(schema.questions, schema.question_slices, strict=True)):
        predicted, counted = expected[:, part], np.nan_to_num(votes[:, part])
        total, most = counted.sum(axis=1), counted.max(axis=1)
        asked = total > 0
        confident = asked & (most > CONFIDENT_FRACTION * total)
        right = counted[np.arange(len(counted)), predicted.argmax(axis=1)] == most
        squared.append(_squared_errors(predicted, counted).ravel())
        accuracies.append(_mean_or_nan(right[asked]))
        confident_accuracies.append(_mean_or_nan(right[confident]))
        per_question |= {
            f"nll_{question.text}": _mean_or_nan(nll[asked, position]),
            f"fraction_rmse_{question.text}": _root_mean(squared[-1]),
            f"accuracy_{question.text}": accuracies[-1],
            f"accuracy_confident_{question.text}": confident_accuracies[-1],
            f"n_{question.text}": float(asked.sum()),
            f"n_confident_{question.text}": float(confident.sum()),
        }
    for campaign, places in schema.campaigns.items():
        answers = [place for part in _slices(schema, places) for place in range(part.start, part.stop)]
        asked = np.nan_to_num(votes[:, answers]).any(axis=1)
        per_question[f"nll_campaign_{campaign}"] = _mean_or_nan(nll[asked][:, places].sum(axis=1))
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
    return _mean_or_nan(squared_errors) ** 0.5


def _mean_or_nan(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _mean_of_defined(values: Sequence[float]) -> float:
    return _mean_or_nan(np.array([value for value in values if not np.isnan(value)]))


_COMPLETENESS = 0.9
_THRESHOLD = 0.5


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
    probabilities, labels = _check_classes(probabilities, labels)
    return _count_pairs(labels, probabilities.argmax(axis=1), probabilities.shape[1])


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
    if not 0 < completeness <= 1:
        msg = f"completeness must lie in (0, 1], got {completeness!r}"
        raise LabelError(msg)
    positive = np.asarray(positive, dtype=bool)
    if not positive.any():
        return float("nan")
    purity, complete, _ = _sklearn_metrics().precision_recall_curve(positive, scores)
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
    positive = np.asarray(positive, dtype=bool)
    sklearn_metrics = _sklearn_metrics()
    any_positive = bool(positive.any())
    both = any_positive and not positive.all()
    return {
        "average_precision": _if(any_positive, sklearn_metrics.average_precision_score, positive, scores),
        "roc_auc": _if(both, sklearn_metrics.roc_auc_score, positive, scores),
        "purity_at_90_completeness": purity_at_completeness(scores, positive),
    }


def classification_metrics(
    probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str] = ()
) -> dict[str, float]:
    """Scores of a classifier.

    Args:
        probabilities: (galaxies, classes), in [0, 1].
        labels: (galaxies,) integers from 0.
        class_names: One for each class; by default their numbers.

    Returns:
        `accuracy`, `balanced_accuracy` (mean recall), `f1_macro`, `log_loss` (nats a galaxy), `n`
        (galaxies), and the `ranking_metrics`: those of class 1 where there are two classes, else their means
        over classes.
        For each class also `precision_NAME`, `recall_NAME`, `f1_NAME`, `n_NAME` and the `ranking_metrics` of
        this class against the rest, `…_NAME`.

    Raises:
        LabelError: If the shapes do not fit, or a label is no class.
        NonFiniteError: If a probability is not finite.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6]])
        >>> scores = classification_metrics(probabilities, np.array([0, 1]), ["not", "ring"])
        >>> scores["accuracy"], scores["recall_ring"]
        (1.0, 1.0)
    """
    probabilities, labels = _check_classes(probabilities, labels)
    n_classes = probabilities.shape[1]
    names = _check_names(class_names, n_classes)
    counts = _count_pairs(labels, probabilities.argmax(axis=1), n_classes)
    right, actual, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    per_class = {
        "precision": _divide(right, predicted),
        "recall": _divide(right, actual),
        "f1": _divide(2 * right, actual + predicted),
        "n": actual.astype(float),
    }
    ranked = [ranking_metrics(probabilities[:, k], labels == k) for k in range(n_classes)]
    per_class |= {metric: np.array([scores[metric] for scores in ranked]) for metric in ranked[0]}
    given = probabilities[np.arange(len(labels)), labels]
    scores = {
        "accuracy": float(_divide(right.sum(), counts.sum())),
        "balanced_accuracy": _mean(per_class["recall"]),
        "f1_macro": _mean(per_class["f1"]),
        "log_loss": _mean(-np.log(np.maximum(given, np.finfo(np.float64).tiny))),
        "n": float(len(labels)),
    }
    scores |= ranked[1] if n_classes == 2 else {metric: _mean(per_class[metric]) for metric in ranked[0]}
    return scores | _by_name(per_class, names)


def multilabel_metrics(
    probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str] = ()
) -> dict[str, float]:
    """Scores of several yes/no labels.

    Args:
        probabilities: (galaxies, labels), in [0, 1]; above one half is a yes.
        labels: (galaxies, labels): 1, 0, or NaN where missing, which is left out.
        names: One for each label; by default their numbers.

    Returns:
        For each label `accuracy_NAME`, `f1_NAME`, `n_NAME` (galaxies that have it) and its `ranking_metrics`,
        `…_NAME`; and the means over labels: `accuracy`, `f1_macro`, `average_precision`, `roc_auc`,
        `purity_at_90_completeness`.

    Raises:
        LabelError: If the shapes do not fit, or a label is another number.
        NonFiniteError: If a probability is not finite.
    """
    probabilities, labels, names = _check_columns(probabilities, labels, names)
    known = ~np.isnan(labels)
    if not np.isin(labels[known], (0, 1)).all():
        bad = float(labels[known & (labels != 0) & (labels != 1)][0])
        msg = f"yes/no labels must be 1, 0 or NaN, got {bad!r}"
        raise LabelError(msg)
    rows = []
    for k in range(len(names)):
        scores, truth = probabilities[known[:, k], k], labels[known[:, k], k] == 1
        guess = scores > _THRESHOLD
        row = {
            "accuracy": float(_divide((guess == truth).sum(), len(truth))),
            "f1": float(_divide(2 * (guess & truth).sum(), guess.sum() + truth.sum())),
            "n": float(len(truth)),
        }
        rows.append(row | ranking_metrics(scores, truth))
    per_label = {metric: np.array([row[metric] for row in rows]) for metric in rows[0]}
    means = {"f1_macro" if m == "f1" else m: _mean(values) for m, values in per_label.items() if m != "n"}
    return means | _by_name(per_label, names)


def regression_metrics(
    predictions: np.ndarray, targets: np.ndarray, names: Sequence[str] = ()
) -> dict[str, float]:
    """Scores of measured numbers.

    Args:
        predictions: (galaxies, targets).
        targets: (galaxies, targets); NaN where missing, which is left out.
        names: One for each target; by default their numbers.

    Returns:
        For each target `rmse_NAME`, `mae_NAME`, `r2_NAME` and `n_NAME` (galaxies that have it); and the means
        over targets: `rmse`, `mae`, `r2`.

    Raises:
        LabelError: If the shapes do not fit, or a target is infinite.
        NonFiniteError: If a prediction is not finite.

    Example:
        >>> regression_metrics(np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]]), ["T"])["mae_T"]
        0.5
    """
    predictions, targets, names = _check_columns(predictions, targets, names)
    if np.isinf(targets).any():
        msg = "targets must be finite or NaN, got inf"
        raise LabelError(msg)
    sklearn_metrics = _sklearn_metrics()
    per_target: dict[str, list[float]] = {"rmse": [], "mae": [], "r2": [], "n": []}
    for k in range(len(names)):
        known = ~np.isnan(targets[:, k])
        pair = targets[known, k], predictions[known, k]
        some, vary = bool(known.any()), len(np.unique(pair[0])) > 1
        per_target["rmse"].append(_if(some, sklearn_metrics.mean_squared_error, *pair) ** 0.5)
        per_target["mae"].append(_if(some, sklearn_metrics.mean_absolute_error, *pair))
        per_target["r2"].append(_if(vary, sklearn_metrics.r2_score, *pair))
        per_target["n"].append(float(known.sum()))
    arrays = {metric: np.array(values) for metric, values in per_target.items()}
    means = {metric: _mean(arrays[metric]) for metric in ("rmse", "mae", "r2")}
    return means | _by_name(arrays, names)


def _check_classes(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        msg = (
            "expected probabilities (galaxies, classes) and labels (galaxies,), got the shapes "
            f"{probabilities.shape} and {labels.shape}"
        )
        raise LabelError(msg)
    n_classes = probabilities.shape[1]
    bad = (labels < 0) | (labels >= n_classes) | (labels % 1 != 0)
    if bad.any():
        msg = f"labels must be whole numbers from 0 to {n_classes - 1}, got {labels[bad][0].item()!r}"
        raise LabelError(msg)
    _refuse_non_finite(probabilities)
    return probabilities, labels.astype(np.int64)


def _check_columns(
    predictions: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    predictions, labels = np.asarray(predictions, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if predictions.ndim != 2 or predictions.shape != labels.shape:
        msg = (
            f"expected two arrays (galaxies, columns), got the shapes {predictions.shape} and {labels.shape}"
        )
        raise LabelError(msg)
    _refuse_non_finite(predictions)
    return predictions, labels, _check_names(names, predictions.shape[1])


def _check_names(names: Sequence[str], count: int) -> list[str]:
    if len(names) not in (0, count):
        msg = f"expected {count} names, got {list(names)}"
        raise LabelError(msg)
    return list(names) or [str(k) for k in range(count)]


def _refuse_non_finite(predictions: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(predictions).all(axis=1))
    if len(bad):
        msg = f"predictions must be finite, but {len(bad)} rows are not; the first: {bad[:10].tolist()}"
        raise NonFiniteError(msg)


def _count_pairs(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    return np.bincount(labels * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)


def _divide(a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """The quotient a / b, NaN where b is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)


def _mean(values: np.ndarray) -> float:
    """The mean of what is defined."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _if(defined: bool, score: Callable[..., float], *arguments: np.ndarray) -> float:
    return float(score(*arguments)) if defined else float("nan")


def _by_name(scores: dict[str, np.ndarray], names: Sequence[str]) -> dict[str, float]:
    return {
        f"{metric}_{name}": float(v)
        for metric, values in scores.items()
        for name, v in zip(names, values, strict=True)
    }


def _sklearn_metrics() -> Any:
    from sklearn import metrics  # late: it takes a second

    return metrics
