"""What every task has and can be asked, and the refusals of labels that no task can use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.metrics import score_once
from zoobot.shared.settings import check_record

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from zoobot.shared.metrics import Scorer
    from zoobot.shared.trees.tree import Schema


# Labels that no task can use, refused in the same words for all of them.


def refuse_missing(labels: np.ndarray, ids: Sequence[str], columns: Sequence[str]) -> None:
    """Raise a LabelError if a galaxy has no label."""
    refuse_bad(labels, np.isnan(labels), ids, columns, "every galaxy needs a label")


def refuse_unlabelled(labels: np.ndarray, ids: Sequence[str]) -> None:
    """Raise a LabelError if a galaxy has not a single label: more likely a wrong column than a wish."""
    empty = np.isnan(labels).all(axis=1)
    if empty.any():
        first = [ids[i] for i in np.flatnonzero(empty)[:10]]
        msg = f"every galaxy needs at least one label, but {int(empty.sum())} have none; the first: {first}"
        raise LabelError(msg)


def refuse_voteless(votes: np.ndarray, part: str) -> None:
    """Raise a LabelError if nobody voted on any of the galaxies: nothing can be learned so."""
    if not (np.nan_to_num(votes) > 0).any():
        msg = f"not one of the {len(votes):,} {part} galaxies has a vote; look at the catalog's vote columns"
        raise LabelError(msg)


def refuse_bad(
    labels: np.ndarray, bad: np.ndarray, ids: Sequence[str], columns: Sequence[str], expected: str
) -> None:
    """Raise a LabelError if any label is bad, naming the first.

    Args:
        labels: (galaxies, label columns).
        bad: Which of them are, the same shape.
        ids: The galaxies.
        columns: The label columns; may be empty.
        expected: What labels must be.
    """
    if not bad.any():
        return
    row, column = np.argwhere(bad)[0]
    name = columns[column] if columns else f"label {column}"
    raise LabelError(
        f"{expected}: got {float(labels[row, column])!r} in column {name!r} of galaxy {ids[row]!r} "
        f"({int(bad.any(axis=1).sum())} galaxies have such a value)"
    )


class Group(NamedTuple):
    """Outputs of a model that are one prediction: all classes, one label, one number, one question.

    Attributes:
        name: Of the label, the number or the question; of classes "class".
        slice: Its place among the outputs.
        answers: What each of these outputs stands for.
    """

    name: str
    slice: slice
    answers: tuple[str, ...]


class Decision(NamedTuple):
    """A yes-or-no question that a threshold of a prediction answers: a class, a label, an answer of a tree.

    Attributes:
        name: What is asked for.
        scores: How likely a yes is, or which fraction is expected, in [0, 1], (galaxies,).
        truth: 1, 0, or NaN where it is not known, (galaxies,).
        title: The same for a picture.
    """

    name: str
    scores: NDArray[np.float64]
    truth: NDArray[np.float64]
    title: str = ""

    def known(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The scores and the truth of the galaxies whose truth is known."""
        known = ~np.isnan(self.truth)
        return self.scores[known], self.truth[known] == 1


class Mistakes(NamedTuple):
    """How wrong predictions are.

    Attributes:
        size: Of each galaxy, (galaxies,), to sort by; NaN where a prediction is right, or nobody knows.
        words: What is wrong with each that has a size, by its place, where its bars do not say it.
    """

    size: NDArray[np.float64]
    words: Callable[[int], str]


class ScoresToRead(NamedTuple):
    """Which scores of a task are shown, as (name in `metrics`, words for the reader).

    Attributes:
        rows: What a row of the table is.
        headline: Scores of all rows together.
        columns: Scores of each row.
        by_epoch: Those that training curves show, by name alone.
    """

    rows: str
    headline: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, str], ...]
    by_epoch: tuple[str, ...]


class LabelCounts(NamedTuple):
    """How many galaxies have which class or label, and how many would if none were rare."""

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    balanced: NDArray[Any]


MAX_OUTPUTS = 1_000_000
"""Most numbers a model may predict; a damaged checkpoint may ask for so many that none fit in memory."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every task has; use one of the kinds in the files beside.

    Args:
        label_cols: The catalog columns that hold the labels. Empty until the task has met a catalog.

    Attributes:
        predicts: What its groups are, by which others choose how they draw, explain and compare them.
        noun: What an `--answer` of it is called.
        doing: What a model does with galaxies, on progress bars.
        model: The class in an engine's `finetune` that learns it.
        head: The class in an engine's `heads` that predicts it.
        loss: The function in an engine's `losses` that it is learned by.
        loss_options: What that class is told besides, among the options of the command line.
        scores: Which of its `metrics` are shown.
    """

    kind: ClassVar[str] = ""
    predicts: ClassVar[Literal["classes", "labels", "numbers", "votes"]]
    noun: ClassVar[str]
    doing: ClassVar[str] = "Predicting"
    model: ClassVar[str]
    head: ClassVar[str]
    loss: ClassVar[str]
    loss_options: ClassVar[tuple[str, ...]] = ()
    scores: ClassVar[ScoresToRead]
    label_cols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_record(self)
        if len(set(self.label_cols)) < len(self.label_cols):
            raise ConfigError(f"label_cols must be different columns, got {list(self.label_cols)}")
        if not 1 <= self.num_label_cols <= MAX_OUTPUTS:
            msg = f"a {self.kind} task has 1 to {MAX_OUTPUTS:,} label columns, got {self.num_label_cols}"
            raise ConfigError(msg)
        if self.label_cols and len(self.label_cols) != self.num_label_cols:
            msg = f"a {self.kind} task needs {self.num_label_cols} label columns, got {list(self.label_cols)}"
            raise ConfigError(msg)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Task:
        """The task back from the values of `to_config`, but its kind.

        Raises:
            ConfigError: If a value is missing or unknown, or can't work.
        """
        known = {field.name: field.default is MISSING for field in fields(cls)}
        missing = [name for name, needed in known.items() if needed and name not in values]
        unknown = [name for name in values if name not in known]
        if missing or unknown:
            msg = f"a {cls.kind} task must hold {list(known)}: missing {missing}, unknown {unknown}"
            raise ConfigError(msg)
        return cls(**values)

    @classmethod
    def of_columns(cls, label_cols: Sequence[str], **said: Any) -> Task:
        """The task of these label columns.

        Args:
            label_cols: The columns; those of classes have the numbers of classes.
            **said: What else was said: `class_names`, `unit_interval`, `schema`; each task takes its own.
        """
        raise NotImplementedError

    # What a model has to predict.

    @property
    def num_label_cols(self) -> int:
        """How many catalog columns hold the labels of one galaxy."""
        raise NotImplementedError

    @property
    def num_outputs(self) -> int:
        """How many numbers a model predicts for one galaxy."""
        return self.num_label_cols

    @property
    def num_factors(self) -> int:
        """How many factors say how sure a model may be; see `zoobot.certainty`."""
        return 0

    @property
    def groups(self) -> tuple[Group, ...]:
        """The outputs that belong together, in order."""
        return tuple(Group(name, slice(k, k + 1), (name,)) for k, name in enumerate(self._column_names()))

    @property
    def tree(self) -> Schema | None:
        """The decision tree, if the labels are votes on one."""
        return None

    @property
    def output_columns(self) -> list[str]:
        """The names of the outputs in a prediction table, in order."""
        raise NotImplementedError

    @property
    def stored_as(self) -> str:
        """The type that tables keep the outputs in."""
        return "float32"

    @property
    def model_options(self) -> dict[str, Any]:
        """What the engine's class `model` is told of the task."""
        return {"label_cols": self.label_cols or None}

    @property
    def head_options(self) -> dict[str, Any]:
        """What the engine's class `head` is told besides the numbers of features and outputs."""
        return {}

    def _column_names(self) -> tuple[str, ...]:
        return self.label_cols or tuple(f"{self.noun} {number}" for number in range(self.num_outputs))

    # Its labels.

    def bind(self, label_cols: Sequence[str]) -> Task:
        """The same task, told which catalog columns hold its labels.

        Raises:
            ConfigError: If it is already bound to other columns, or needs another number of them.
        """
        if self.label_cols and tuple(label_cols) != self.label_cols:
            msg = f"the model was made for the label columns {list(self.label_cols)}, got {list(label_cols)}"
            raise ConfigError(msg)
        return replace(self, label_cols=tuple(label_cols))

    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        """Raise a LabelError unless `labels`, (galaxies, label columns), are what this task needs."""
        raise NotImplementedError

    def check_learnable(self, labels: np.ndarray, part: str) -> None:
        """Raise a LabelError if checked labels teach nothing; `part` names the galaxies: "train", "val"."""

    def count_labels(self, labels: np.ndarray) -> LabelCounts:
        """How many galaxies have which class, or the yes of which label."""
        raise ConfigError(f"a {self.kind} task has no classes to count")

    def describe_labels(self, labels: np.ndarray) -> dict[str, str]:
        """What the labels of training galaxies are, in words, under one heading."""
        raise NotImplementedError

    # Its predictions.

    def mix(self, samples: np.ndarray) -> np.ndarray:
        """The prediction of an equal mixture of dropout samples or models, from (samples, galaxies, outputs).

        Mean probabilities or targets, (galaxies, outputs). Of a tree the concentrations as they are: a
        mixture of Dirichlet distributions is none itself; (samples, galaxies, answers), or without the first
        axis where there is one sample.
        """
        return samples.mean(axis=0)

    def expect(self, predicted: np.ndarray) -> np.ndarray:
        """One number for each output from what `mix` gives, (galaxies, outputs): of a tree its fractions."""
        return predicted

    def reliability(
        self, predicted: np.ndarray, labels: np.ndarray
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By name, how sure predictions are, in [0, 1], and what came of each; none if they are of no chance.

        Args:
            predicted: As `mix` gives it.
            labels: (galaxies, label columns); what came is NaN where they are missing.
        """
        return {}

    @property
    def class_columns(self) -> tuple[str, ...]:
        """The names of the columns of the most likely class and its probability; none without classes."""
        return ()

    # How far its predictions are from the truth, and what follows for others: see `zoobot.shared.conformal`.

    @property
    def conformal_names(self) -> tuple[str, ...]:
        """What has an interval or a set of its own."""
        return ()

    def nonconformity(self, predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """How far the truth is from predictions, (galaxies, conformal names); NaN where it is not known.

        Args:
            predicted: (galaxies, outputs).
            labels: (galaxies, label columns).
        """
        raise NotImplementedError

    def interval_columns(self, level: str) -> list[tuple[str, str, str]]:
        """The columns of intervals or sets: name, type and meaning.

        Args:
            level: The probability that they hold the truth, in percent.
        """
        raise NotImplementedError

    def intervals(self, predicted: np.ndarray, thresholds: np.ndarray) -> list[np.ndarray]:
        """The values of these columns, each (galaxies,); nothing (NaN, "") where a threshold is not known.

        Args:
            predicted: (galaxies, outputs).
            thresholds: How far the truth may be, (conformal names,).
        """
        raise NotImplementedError

    def judge_intervals(
        self, predicted: np.ndarray, labels: np.ndarray, thresholds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whether intervals or sets hold the truth, and how wide or large they are.

        Args:
            predicted: (galaxies, outputs).
            labels: (galaxies, label columns).
            thresholds: How far the truth may be, (conformal names,).

        Returns:
            1 or 0 (or how likely, where that is random), and widths or numbers of classes: each (galaxies,
            conformal names), NaN where that is not known.
        """
        raise NotImplementedError

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Scores by name of `predictions`, as `mix` gives them, against (galaxies, label columns)."""
        return score_once(self.scorer(predictions, labels), len(labels))

    def scorer(self, predictions: np.ndarray, labels: np.ndarray) -> Scorer:
        """What gives the `metrics` of weighted galaxies."""
        raise NotImplementedError

    def decisions(
        self,
        expected: np.ndarray,
        labels: np.ndarray,
        *,
        truth_threshold: float = 0.5,
        truth_votes: int = defaults.ENOUGH_VOTES,
    ) -> list[Decision]:
        """The yes-or-no questions that thresholds can answer; none if there are only numbers.

        Args:
            expected: As `expect` gives it, (galaxies, outputs).
            labels: (galaxies, label columns).
            truth_threshold: Of votes: a larger fraction is a yes.
            truth_votes: Of votes: with fewer for its question, nobody knows.
        """
        return []

    def mistakes(
        self, expected: np.ndarray, labels: np.ndarray, *, truth_votes: int = defaults.ENOUGH_VOTES
    ) -> Mistakes:
        """How wrong each prediction is; told as `decisions`."""
        raise NotImplementedError

    @property
    def score_rows(self) -> tuple[str, ...]:
        """What has scores of its own, `SCORE_NAME` in `metrics`, to be shown in a table."""
        return self.label_cols if len(self.label_cols) > 1 else ()

    def say(self, value: float) -> str:
        """One expected value in words: a share, unless it is measured."""
        return f"{100 * value:.0f}%"

    def to_config(self) -> dict[str, Any]:
        """The task as JSON-ready values."""
        return {"kind": self.kind, "label_cols": list(self.label_cols)}


class ProbabilityTask(Task):
    """A task of classes or labels: a probability for each, whose logits one factor may make less sure."""

    loss_options: ClassVar[tuple[str, ...]] = ("class_weights", "label_smoothing", "focal_gamma")

    @property
    def factor_names(self) -> tuple[str, ...]:
        """What each factor is for."""
        raise NotImplementedError

    def of_factor(self, place: int) -> ProbabilityTask:
        """The task of the outputs of one factor alone: those of one group."""
        raise NotImplementedError

    def sharpen(self, probabilities: ArrayLike, factors: ArrayLike) -> NDArray[np.float64]:
        """The probabilities whose logits are so many times as large; the inverse factors undo it.

        Args:
            probabilities: (…, outputs).
            factors: One for each group, (groups,); or these for each galaxy, (galaxies, groups).
        """
        raise NotImplementedError

    def label_losses(self, probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
        """The negative log-likelihood of each label, in nats, (galaxies, groups); NaN where it is missing."""
        raise NotImplementedError

    def is_wrong(self, probabilities: np.ndarray, labels: np.ndarray) -> NDArray[np.bool_]:
        """Whether the likelier answer of each group is not that of the label, (galaxies, groups)."""
        raise NotImplementedError


#: Probabilities are kept so far from 0 and 1 that their logits are finite; float32 knows nothing nearer to 1.
TINY, NEARLY_ONE = 1e-38, 1 - 2.0**-24

#: Scores that classes and labels share, in words.
RANKING = (
    ("average_precision", "average precision"),
    ("roc_auc", "ROC AUC"),
    ("purity_at_90_completeness", "purity at 90% completeness"),
)
CALIBRATION_ERROR = ("ece", "calibration error")
ERROR_BEFORE = ("ece_uncalibrated", "the same without calibration")


_MOST_CLASSES = 12
_FEW = 20  # galaxies of a class, of which little can be learned


def counts_in_words(found: LabelCounts) -> str:
    """The commonest classes or labels, and which are rare."""
    names, counts = found.names, found.counts
    order = np.argsort(-counts, kind="stable")
    shown = ", ".join(f"{names[k]} {counts[k]:,}" for k in order[:_MOST_CLASSES])
    more = f" and {len(names) - _MOST_CLASSES} more" if len(names) > _MOST_CLASSES else ""
    few = [f"{names[k]} ({counts[k]:,})" for k in order[::-1] if counts[k] < _FEW][:6]
    warned = f"; few to learn from: {', '.join(few)}" if few else ""
    return f"{shown}{more}{warned}"


def agreed(counts: Mapping[str, Any]) -> int:
    """The number of outputs, which may be said in several ways.

    Raises:
        ConfigError: If it is said in none, or in two that differ.
    """
    said = {name: count for name, count in counts.items() if count}
    if not said:
        raise ConfigError(f"say how many outputs the model has: give one of {list(counts)}")
    if len(set(said.values())) > 1:
        raise ConfigError(f"these say different numbers of outputs: {said}")
    number: int = next(iter(said.values()))
    return number
