"""One of several classes for each galaxy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from zoobot.shared import metrics
from zoobot.shared.errors import ConfigError
from zoobot.shared.tasks.base import (
    CALIBRATION_ERROR,
    ERROR_BEFORE,
    RANKING,
    TINY,
    Decision,
    Group,
    LabelCounts,
    Mistakes,
    ProbabilityTask,
    ScoresToRead,
    counts_in_words,
    refuse_bad,
    refuse_missing,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from zoobot.shared.metrics import Scorer


@dataclass(frozen=True, kw_only=True)
class ClassificationTask(ProbabilityTask):
    """One of several classes for each galaxy; the label is the number of the class, from 0.

    Args:
        class_names: One name for each class, in the order of the labels.
    """

    kind: ClassVar[str] = "classification"
    predicts = "classes"
    noun: ClassVar[str] = "class"
    model: ClassVar[str] = "FinetuneableZoobotClassifier"
    head: ClassVar[str] = "ClassificationHead"
    loss: ClassVar[str] = "classification_loss"
    scores = ScoresToRead(
        rows="class",
        headline=(
            ("accuracy", "accuracy"),
            ("balanced_accuracy", "balanced accuracy"),
            ("f1_macro", "F1 (mean of classes)"),
            ("log_loss", "log loss (nats)"),
            CALIBRATION_ERROR,
            ERROR_BEFORE,
            *RANKING,
        ),
        columns=(("n", "galaxies"), ("precision", "purity"), ("recall", "completeness"), ("f1", "F1")),
        by_epoch=("accuracy", "balanced_accuracy", "f1_macro"),
    )
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.class_names, (list, tuple)):
            object.__setattr__(self, "class_names", tuple(str(name) for name in self.class_names))
        super().__post_init__()
        if len(set(self.class_names)) != len(self.class_names) or len(self.class_names) < 2:
            msg = f"class_names must be two or more different names, got {list(self.class_names)}"
            raise ConfigError(msg)

    @classmethod
    def of_columns(cls, label_cols: Sequence[str], **said: Any) -> ClassificationTask:
        """The task of one column with the numbers of `class_names`."""
        return cls(class_names=said["class_names"], label_cols=tuple(label_cols))

    @property
    def num_label_cols(self) -> int:
        """How many catalog columns hold the labels of one galaxy."""
        return 1

    @property
    def num_outputs(self) -> int:
        """How many numbers a model predicts for one galaxy."""
        return len(self.class_names)

    @property
    def num_factors(self) -> int:
        """How many factors say how sure a model of this task may be."""
        return 1

    @property
    def groups(self) -> tuple[Group, ...]:
        """All classes, together."""
        return (Group("class", slice(0, self.num_outputs), self.class_names),)

    @property
    def output_columns(self) -> list[str]:
        """The names of those numbers in a prediction table, in order."""
        stem = f"{self.label_cols[0]}_" if self.label_cols else ""
        return [f"{stem}{name}_probability" for name in self.class_names]

    @property
    def model_options(self) -> dict[str, Any]:
        """What a classifier is told of the task."""
        return super().model_options | {"class_names": self.class_names}

    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        """Raise a LabelError unless every label is the number of a class."""
        refuse_missing(labels, ids, self.label_cols)
        bad = (labels != np.round(labels)) | (labels < 0) | (labels >= self.num_outputs)
        expected = f"classes must be whole numbers from 0 to {self.num_outputs - 1}"
        if (labels % 1 != 0).any():
            expected += " (measured numbers are for a task of regression)"
        refuse_bad(labels, bad, ids, self.label_cols, expected)

    def count_labels(self, labels: np.ndarray) -> LabelCounts:
        """How many galaxies have each class."""
        counts = np.bincount(labels[:, 0].astype(int), minlength=self.num_outputs)
        return LabelCounts(
            self.class_names, counts, np.full(self.num_outputs, len(labels) / self.num_outputs)
        )

    def describe_labels(self, labels: np.ndarray) -> dict[str, str]:
        """How many training galaxies have each class, in words."""
        return {"classes": counts_in_words(self.count_labels(labels))}

    def reliability(
        self, predicted: np.ndarray, labels: np.ndarray
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The probability of the most likely class, and whether it is right."""
        right = predicted.argmax(axis=1) == labels[:, 0]
        return {self.factor_names[0]: (predicted.max(axis=1), right)}

    def scorer(self, predictions: np.ndarray, labels: np.ndarray) -> Scorer:
        """What gives the scores of `classification_metrics` of weighted galaxies."""
        return classification_scorer(predictions, labels[:, 0].astype(int), self.class_names)

    def decisions(self, expected: np.ndarray, labels: np.ndarray, **_: Any) -> list[Decision]:
        """Whether a galaxy is of each class."""
        return [
            Decision(name, expected[:, k], (labels[:, 0] == k).astype(np.float64), name)
            for k, name in enumerate(self.class_names)
        ]

    def mistakes(self, expected: np.ndarray, labels: np.ndarray, **_: Any) -> Mistakes:
        """How sure the wrong class is."""
        guess = expected.argmax(axis=1)
        size = np.where(guess == labels[:, 0], np.nan, expected.max(axis=1))
        return Mistakes(size, lambda _: "")  # a galaxy's bars begin with it

    @property
    def class_columns(self) -> tuple[str, ...]:
        """The names of the columns of the most likely class, and of its probability."""
        stem = f"{self.label_cols[0]}_class" if self.label_cols else "class"
        while f"{stem}_probability" in self.output_columns:  # of a class that is called so
            stem += "_"
        return stem, f"{stem}_probability"

    @property
    def conformal_names(self) -> tuple[str, ...]:
        """The class."""
        return ("class",)

    def nonconformity(self, predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The probability of all other classes than the true one.

        Sets of all classes that are at least so likely are the smallest (Sadinle et al. 2019). Sets that add
        classes until they are likely enough (adaptive ones) hold the truth as often, and are larger:
        `benchmarks/bench_intervals.py` measures both.
        """
        return 1 - np.take_along_axis(predicted, labels.astype(np.int64), axis=1)

    def interval_columns(self, level: str) -> list[tuple[str, str, str]]:
        """The set of classes, and how many they are."""
        stem = f"{self.label_cols[0]}_" if self.label_cols else ""
        return [
            (
                f"{stem}set_{level}",
                "str",
                f"classes that hold the true one with {level}%, likeliest first",
            ),
            (f"{stem}set_size_{level}", "int16", f"how many classes are in the {level}% set"),
        ]

    def intervals(self, predicted: np.ndarray, thresholds: np.ndarray) -> list[np.ndarray]:
        """The classes in the set, the likeliest first, as "spiral|smooth", and their number."""
        chosen = self._sets(predicted, thresholds)
        order = np.argsort(-predicted, axis=1, kind="stable")
        words = [
            "|".join(self.class_names[k] for k in row if inside[k])
            for row, inside in zip(order, chosen, strict=True)
        ]
        return [np.array(words, dtype=object), chosen.sum(axis=1)]

    def _sets(self, predicted: np.ndarray, thresholds: np.ndarray) -> NDArray[np.bool_]:
        """Which classes are in the set, (galaxies, classes): never none, for the likeliest always is."""
        chosen: NDArray[np.bool_] = 1 - predicted <= thresholds
        chosen[np.arange(len(predicted)), predicted.argmax(axis=1)] = True
        return chosen

    def judge_intervals(
        self, predicted: np.ndarray, labels: np.ndarray, thresholds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whether the class is in the set, and how many are."""
        chosen = self._sets(predicted, thresholds)
        held = np.take_along_axis(chosen, labels.astype(np.int64), axis=1).astype(np.float64)
        return held, chosen.sum(axis=1, keepdims=True).astype(np.float64)

    @property
    def score_rows(self) -> tuple[str, ...]:
        """The classes."""
        return self.class_names

    @property
    def factor_names(self) -> tuple[str, ...]:
        """What the one factor is for."""
        return ("most likely class",)

    def of_factor(self, place: int) -> ClassificationTask:
        """All classes have one factor."""
        return self

    def sharpen(self, probabilities: ArrayLike, factors: ArrayLike) -> NDArray[np.float64]:
        """The probabilities whose logits are so many times as large, adding up to 1."""
        from scipy.special import softmax

        given = np.clip(np.asarray(probabilities, dtype=np.float64), TINY, None)
        found: NDArray[np.float64] = softmax(np.log(given) * np.asarray(factors), axis=-1)
        return found

    def label_losses(self, probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
        """The negative log-likelihood of the classes, in nats, (galaxies, 1)."""
        given = np.clip(np.asarray(probabilities, dtype=np.float64), TINY, None)
        return -np.log(np.take_along_axis(given, np.asarray(labels).astype(np.int64), axis=1))

    def is_wrong(self, probabilities: np.ndarray, labels: np.ndarray) -> NDArray[np.bool_]:
        """Whether another class is the most likely, (galaxies, 1)."""
        wrong: NDArray[np.bool_] = probabilities.argmax(axis=1, keepdims=True) != labels
        return wrong

    def to_config(self) -> dict[str, Any]:
        """The task as JSON-ready values."""
        return super().to_config() | {"class_names": list(self.class_names)}


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
    return metrics.score_once(classification_scorer(probabilities, labels, class_names), len(labels))


def classification_scorer(
    probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str] = ()
) -> Scorer:
    """What gives the scores of `classification_metrics`, told the same, of weighted galaxies."""
    probabilities, labels = metrics.check_classes(probabilities, labels)
    classes = np.arange(probabilities.shape[1])
    names = metrics.check_names(class_names, len(classes))
    true = labels[:, None] == classes
    taken = probabilities.argmax(axis=1)[:, None] == classes
    given = probabilities[np.arange(len(labels)), labels]
    # scikit-learn's takes a probability of 0 for 2e-16, ours for the least there is
    losses = -np.log(np.maximum(given, np.finfo(np.float64).tiny))
    counted = np.hstack([true, taken, true & taken, losses[:, None]]).astype(np.float64)
    rankings = [metrics.ranking_scorer(probabilities[:, k], true[:, k]) for k in classes]

    def score(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        sums = weights @ counted
        n, chosen, right = np.split(sums[:, :-1], 3, axis=1)
        per_class = {"precision": metrics.ratio(right, chosen), "recall": metrics.ratio(right, n)}
        per_class |= {"f1": metrics.ratio(2 * right, n + chosen), "n": n}
        ranked = [ranking(weights) for ranking in rankings]
        per_class |= {metric: np.stack([each[metric] for each in ranked], axis=1) for metric in ranked[0]}
        galaxies = weights.sum(axis=1)
        scores = {
            "accuracy": metrics.ratio(right.sum(axis=1), galaxies),
            "balanced_accuracy": metrics.mean_of_defined(per_class["recall"]),
            "f1_macro": metrics.mean_of_defined(per_class["f1"]),
            "log_loss": metrics.ratio(sums[:, -1], galaxies),
            "n": galaxies,
        }
        whole = {metric: metrics.mean_of_defined(per_class[metric]) for metric in ranked[0]}
        return scores | (ranked[1] if len(names) == 2 else whole) | metrics.by_name(per_class, names)

    return score
