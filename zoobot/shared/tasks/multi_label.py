"""Any number of yes/no labels for each galaxy; and the choice between these and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from zoobot.shared import metrics
from zoobot.shared.errors import LabelError
from zoobot.shared.tasks.base import (
    CALIBRATION_ERROR,
    ERROR_BEFORE,
    NEARLY_ONE,
    RANKING,
    TINY,
    Decision,
    LabelCounts,
    Mistakes,
    ProbabilityTask,
    ScoresToRead,
    agreed,
    counts_in_words,
    refuse_bad,
    refuse_unlabelled,
)
from zoobot.shared.tasks.classification import ClassificationTask

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from zoobot.shared.metrics import Scorer

_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class MultiLabelTask(ProbabilityTask):
    """Any number of yes/no labels for each galaxy, each in its own column: 1, 0, or missing (NaN).

    Args:
        num_labels: How many labels; they may be named later, when the task meets a catalog.
    """

    kind: ClassVar[str] = "multi-label"
    predicts = "labels"
    noun: ClassVar[str] = "label"
    model: ClassVar[str] = "FinetuneableZoobotClassifier"
    head: ClassVar[str] = "MultiLabelHead"
    loss: ClassVar[str] = "multilabel_loss"
    scores = ScoresToRead(
        rows="label",
        headline=(
            ("accuracy", "accuracy"),
            ("f1_macro", "F1 (mean of labels)"),
            CALIBRATION_ERROR,
            ERROR_BEFORE,
            *RANKING,
        ),
        columns=(("n", "galaxies"), ("accuracy", "accuracy"), ("f1", "F1"), *RANKING[:2]),
        by_epoch=("average_precision", "roc_auc", "f1_macro"),
    )
    num_labels: int

    @classmethod
    def of_columns(cls, label_cols: Sequence[str], **said: Any) -> MultiLabelTask:
        """The task of a label in each column."""
        return cls(num_labels=len(label_cols), label_cols=tuple(label_cols))

    @property
    def num_label_cols(self) -> int:
        """How many catalog columns hold the labels of one galaxy."""
        return self.num_labels

    @property
    def num_factors(self) -> int:
        """How many factors say how sure a model of this task may be."""
        return self.num_labels

    @property
    def output_columns(self) -> list[str]:
        """The names of those numbers in a prediction table, in order."""
        return [f"{name}_probability" for name in self.factor_names]

    @property
    def model_options(self) -> dict[str, Any]:
        """What a classifier is told of the task."""
        return super().model_options | {"num_classes": self.num_outputs, "multi_label": True}

    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        """Raise a LabelError unless labels are 1, 0 or NaN, with one at least for each galaxy."""
        bad = ~np.isnan(labels) & (labels != 0) & (labels != 1)
        refuse_bad(labels, bad, ids, self.label_cols, "yes/no labels must be 1, 0 or missing")
        refuse_unlabelled(labels, ids)

    def count_labels(self, labels: np.ndarray) -> LabelCounts:
        """How many galaxies have the yes of each label; the noes are as many as these should count for."""
        return LabelCounts(self.label_cols, (labels == 1).sum(axis=0), (labels == 0).sum(axis=0))

    def describe_labels(self, labels: np.ndarray) -> dict[str, str]:
        """How many training galaxies have the yes of each label, in words."""
        return {"yes": counts_in_words(self.count_labels(labels))}

    def reliability(
        self, predicted: np.ndarray, labels: np.ndarray
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Of each label the probability of a yes, and whether it is one."""
        columns = zip(self.factor_names, predicted.T, labels.T, strict=True)
        return {name: (guess, truth) for name, guess, truth in columns}

    def scorer(self, predictions: np.ndarray, labels: np.ndarray) -> Scorer:
        """What gives the scores of `multilabel_metrics` of weighted galaxies."""
        return multilabel_scorer(predictions, labels, self.label_cols)

    def decisions(self, expected: np.ndarray, labels: np.ndarray, **_: Any) -> list[Decision]:
        """Whether a galaxy has each label."""
        columns = zip(self.factor_names, expected.T, labels.T, strict=True)
        return [Decision(name, guess, truth, name) for name, guess, truth in columns]

    def mistakes(self, expected: np.ndarray, labels: np.ndarray, **_: Any) -> Mistakes:
        """How sure the wrong side of its surest mistaken label is."""
        wrong = self.is_wrong(expected, labels) & ~np.isnan(labels)
        sure = np.where(wrong, np.maximum(expected, 1 - expected), -1.0)
        worst, size = sure.argmax(axis=1), sure.max(axis=1)

        def words(galaxy: int) -> str:
            place = worst[galaxy]
            truth = "yes" if labels[galaxy, place] else "no"
            return f"{self.factor_names[place]}: said {expected[galaxy, place]:.2f}, labelled {truth}"

        return Mistakes(np.where(size < 0, np.nan, size), words)

    @property
    def conformal_names(self) -> tuple[str, ...]:
        """The labels, each by itself."""
        return self.factor_names

    def nonconformity(self, predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The probability of the answer that is not the label's."""
        return np.where(np.isnan(labels), np.nan, np.abs(labels - predicted))

    def interval_columns(self, level: str) -> list[tuple[str, str, str]]:
        """The set of each label."""
        return [
            (f"{name}_set_{level}", "str", f"yes, no, or either (yes|no), which holds {name} with {level}%")
            for name in self.conformal_names
        ]

    def intervals(self, predicted: np.ndarray, thresholds: np.ndarray) -> list[np.ndarray]:
        """For each label "yes", "no", or "yes|no" for either."""
        yes, no = self._sets(predicted, thresholds)
        words = np.where(yes & no, "yes|no", np.where(yes, "yes", "no")).astype(object)
        words[:, np.isnan(thresholds)] = ""
        return list(words.T)

    def _sets(
        self, predicted: np.ndarray, thresholds: np.ndarray
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether a yes and whether a no is in each set; the likelier always is."""
        likely = predicted > _THRESHOLD
        return (1 - predicted <= thresholds) | likely, (predicted <= thresholds) | ~likely

    def judge_intervals(
        self, predicted: np.ndarray, labels: np.ndarray, thresholds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whether the label's answer is in its set, and how many are."""
        yes, no = self._sets(predicted, thresholds)
        few = np.isnan(thresholds)
        held = np.where(np.isnan(labels) | few, np.nan, np.where(labels == 1, yes, no))
        return held, np.where(few, np.nan, yes.astype(np.float64) + no)

    @property
    def factor_names(self) -> tuple[str, ...]:
        """The labels, each of which has a factor."""
        return self.label_cols or tuple(map(str, range(self.num_labels)))

    def of_factor(self, place: int) -> MultiLabelTask:
        """One label as a task by itself."""
        return MultiLabelTask(num_labels=1)

    def sharpen(self, probabilities: ArrayLike, factors: ArrayLike) -> NDArray[np.float64]:
        """The probabilities whose logits are so many times as large, each by itself.

        Example:
            >>> MultiLabelTask(num_labels=1).sharpen([[0.8]], [0.5]).round(3).tolist()
            [[0.667]]
        """
        from scipy.special import expit, logit

        given = np.clip(np.asarray(probabilities, dtype=np.float64), TINY, NEARLY_ONE)
        moved: NDArray[np.float64] = expit(logit(given) * np.asarray(factors))
        return moved

    def label_losses(self, probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
        """The negative log-likelihood of each label, in nats, (galaxies, labels); NaN where it is missing."""
        given = np.clip(np.asarray(probabilities, dtype=np.float64), TINY, NEARLY_ONE)
        truth = np.asarray(labels, dtype=np.float64)
        return -(truth * np.log(given) + (1 - truth) * np.log1p(-given))

    def is_wrong(self, probabilities: np.ndarray, labels: np.ndarray) -> NDArray[np.bool_]:
        """Whether a probability is on the other side of one half, (galaxies, labels)."""
        return (probabilities > _THRESHOLD) != (labels > _THRESHOLD)

    def to_config(self) -> dict[str, Any]:
        """The task as JSON-ready values."""
        return super().to_config() | {"num_labels": self.num_labels}


def classification_task(
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    multi_label: bool = False,
    label_cols: Sequence[str] | None = None,
) -> ClassificationTask | MultiLabelTask:
    """The task of a classifier, from what its user said of the classes.

    Raises:
        ConfigError: If the number of classes is not said, or said in two ways that differ.
    """
    counts = {"num_classes": num_classes, "class_names": class_names and len(class_names)}
    if multi_label:
        counts["label_cols"] = label_cols and len(label_cols)
    number = agreed(counts)
    if multi_label:
        return MultiLabelTask(num_labels=number, label_cols=tuple(label_cols or class_names or ()))
    names = tuple(class_names or map(str, range(number)))
    return ClassificationTask(class_names=names, label_cols=tuple(label_cols or ()))


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
    return metrics.score_once(multilabel_scorer(probabilities, labels, names), len(labels))


def multilabel_scorer(probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str] = ()) -> Scorer:
    """What gives the scores of `multilabel_metrics`, told the same, of weighted galaxies."""
    probabilities, labels, names = metrics.check_columns(probabilities, labels, names)
    known = ~np.isnan(labels)
    if not np.isin(labels[known], (0, 1)).all():
        bad = float(labels[known & (labels != 0) & (labels != 1)][0])
        raise LabelError(f"yes/no labels must be 1, 0 or NaN, got {bad!r}")
    truth, guess = labels == 1, probabilities > _THRESHOLD
    right, said_or_true = known & (guess == truth), truth.astype(float) + (guess & known)
    counted = np.hstack([known, right, truth & guess, said_or_true]).astype(np.float64)
    rows = [np.flatnonzero(column) for column in known.T]
    rankings = [metrics.ranking_scorer(probabilities[own, k], truth[own, k]) for k, own in enumerate(rows)]

    def score(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        n, agreed_on, both, either = np.split(weights @ counted, 4, axis=1)
        ranked = [ranking(weights.take(own, axis=1)) for ranking, own in zip(rankings, rows, strict=True)]
        per_label = {"accuracy": metrics.ratio(agreed_on, n), "f1": metrics.ratio(2 * both, either), "n": n}
        per_label |= {metric: np.stack([each[metric] for each in ranked], axis=1) for metric in ranked[0]}
        means = {
            "f1_macro" if metric == "f1" else metric: metrics.mean_of_defined(values)
            for metric, values in per_label.items()
            if metric != "n"
        }
        return means | metrics.by_name(per_label, names)

    return score
