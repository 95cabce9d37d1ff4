"""What a model learns: the label columns it needs, the columns it predicts, and how it is scored.

A task is a small immutable record, saved in every checkpoint. Both engines ask it the same questions, so that
labels are checked in the same words and prediction tables have the same columns in either engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from zoobot.shared import metrics, votes
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.field_types import check_field_types
from zoobot.shared.schemas import Schema, get

__all__ = [
    "ClassificationTask",
    "MultiLabelTask",
    "RegressionTask",
    "Task",
    "TreeTask",
    "classification_task",
    "from_config",
    "refuse_bad",
    "refuse_missing",
    "refuse_unlabelled",
    "refuse_voteless",
    "regression_task",
    "tree_task",
]


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
    msg = (
        f"{expected}: got {float(labels[row, column])!r} in column {name!r} of galaxy {ids[row]!r} "
        f"({int(bad.any(axis=1).sum())} galaxies have such a value)"
    )
    raise LabelError(msg)


MAX_OUTPUTS = 1_000_000
"""Most numbers a model may predict; a damaged checkpoint may ask for so many that none fit in memory."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every task has; use one of the four kinds below.

    Args:
        label_cols: The catalog columns that hold the labels. Empty until the task has met a catalog.
    """

    kind: ClassVar[str] = ""
    label_cols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_field_types(self)
        if len(set(self.label_cols)) < len(self.label_cols):
            msg = f"label_cols must be different columns, got {list(self.label_cols)}"
            raise ConfigError(msg)
        if not 1 <= self.num_label_cols <= MAX_OUTPUTS:
            msg = f"a {self.kind} task has 1 to {MAX_OUTPUTS:,} label columns, got {self.num_label_cols}"
            raise ConfigError(msg)
        if self.label_cols and len(self.label_cols) != self.num_label_cols:
            msg = f"a {self.kind} task needs {self.num_label_cols} label columns, got {list(self.label_cols)}"
            raise ConfigError(msg)

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
        """How many factors say how sure a model may be; see `zoobot.certainty.temperature`."""
        return 0

    @property
    def output_columns(self) -> list[str]:
        """The names of those numbers in a prediction table, in order."""
        raise NotImplementedError

    @property
    def stored_as(self) -> str:
        """The type that tables keep those numbers in."""
        return "float32"

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

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Scores of `predictions`, (galaxies, outputs), against `labels`, (galaxies, label columns)."""
        raise NotImplementedError

    def to_config(self) -> dict[str, Any]:
        """The task as JSON-ready values."""
        return {"kind": self.kind, "label_cols": list(self.label_cols)}


@dataclass(frozen=True, kw_only=True)
class ClassificationTask(Task):
    """One of several classes for each galaxy; the label is the number of the class, from 0.

    Args:
        class_names: One name for each class, in the order of the labels.
    """

    kind: ClassVar[str] = "classification"
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.class_names, (list, tuple)):
            object.__setattr__(self, "class_names", tuple(str(name) for name in self.class_names))
        super().__post_init__()
        if len(set(self.class_names)) != len(self.class_names) or len(self.class_names) < 2:
            msg = f"class_names must be two or more different names, got {list(self.class_names)}"
            raise ConfigError(msg)

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
    def output_columns(self) -> list[str]:
        """The names of those numbers in a prediction table, in order."""
        stem = f"{self.label_cols[0]}_" if self.label_cols else ""
        return [f"{stem}{name}_probability" for name in self.class_names]

    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        """Raise a LabelError unless every label is the number of a class."""
        refuse_missing(labels, ids, self.label_cols)
        bad = (labels != np.round(labels)) | (labels < 0) | (labels >= self.num_outputs)
        expected = f"classes must be whole numbers from 0 to {self.num_outputs - 1}"
        if (labels % 1 != 0).any():
            expected += " (measured numbers are for a task of regression)"
        refuse_bad(labels, bad, ids, self.label_cols, expected)

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Scores by name: see `zoobot.shared.metrics`."""
        return metrics.classification_metrics(predictions, labels[:, 0].astype(int), self.class_names)

    def to_config(self) -> dict[str, Any]:
        """The task as JSON-ready values."""
        return super().to_config() | {"class_names": list(self.class_names)}


@dataclass(frozen=True, kw_only=True)
class MultiLabelTask(Task):
    """Any number of yes/no labels for each galaxy, each in its own column: 1, 0, or missing (NaN).

    Args:
        num_labels: How many labels; they may be named later, when the task meets a catalog.
    """

    kind: ClassVar[str] = "multi-label"
    num_labels: int

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
        return [f"{name}_probability" for name in self.label_cols or map(str, range(self.num_labels))]

    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        """Raise a LabelError unless labels are 1, 0 or NaN, with one at least for each galaxy."""
        bad = ~np.isnan(labels) & (labels != 0) & (labels != 1)
        refuse_bad(labels, bad, ids, self.label_cols, "yes/no labels must be 1, 0 or missing")
        refuse_unlabelled(labels, ids)

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Scores by name: see `zoobot.shared.metrics`."""
        return metrics.multilabel_metrics(predictions, labels, self.label_cols)

    def to_config(self) -> dict[str, Any]:
        """The task as JSON-ready values."""
        return super().to_config() | {"num_labels": self.num_labels}


@dataclass(frozen=True, kw_only=True)
class RegressionTask(Task):
    """One or many measured numbers for each galaxy; a missing one is NaN and is left out of the loss.

    Args:
        num_targets: How many numbers; they may be named later, when the task meets a catalog.
        unit_interval: Whether targets lie in [0, 1], and predictions must too.
    """

    kind: ClassVar[str] = "regression"
    num_targets: int = 1
    unit_interval: bool = False

    @property
    def num_label_cols(self) -> int:
        """How many catalog columns hold the labels of one galaxy."""
        return self.num_targets

    @property
    def output_columns(self) -> list[str]:
        """The names of those numbers in a prediction table, in order."""
        return [f"{name}_predicted" for name in self.label_cols or map(str, range(self.num_targets))]

    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        """Raise a LabelError unless targets are finite or NaN, with one at least for each galaxy."""
        refuse_bad(labels, np.isinf(labels), ids, self.label_cols, "targets must be finite or missing")
        if self.unit_interval:
            bad = (labels < 0) | (labels > 1)
            refuse_bad(labels, bad, ids, self.label_cols, "with unit_interval, targets must lie in [0, 1]")
        refuse_unlabelled(labels, ids)

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Scores by name: see `zoobot.shared.metrics`."""
        return metrics.regression_metrics(predictions, labels, self.label_cols)

    def to_config(self) -> dict[str, Any]:
        """The task as JSON-ready values."""
        return super().to_config() | {"num_targets": self.num_targets, "unit_interval": self.unit_interval}


@dataclass(frozen=True, kw_only=True)
class TreeTask(Task):
    """Volunteers' votes for every answer of a decision tree; NaN where a question was not asked.

    Args:
        schema: The decision tree. Its label columns are the task's.
    """

    kind: ClassVar[str] = "tree"
    schema: Schema

    def __post_init__(self) -> None:
        check_field_types(self)
        if self.label_cols and list(self.label_cols) != list(self.schema.label_cols):
            msg = (
                f"the label columns of a tree are its schema's ({self.schema.name}: "
                f"{list(self.schema.label_cols)}), got {list(self.label_cols)}"
            )
            raise ConfigError(msg)
        object.__setattr__(self, "label_cols", tuple(self.schema.label_cols))

    @property
    def num_label_cols(self) -> int:
        """How many catalog columns hold the labels of one galaxy."""
        return len(self.schema.label_cols)

    @property
    def num_factors(self) -> int:
        """How many factors say how sure a model of this task may be."""
        return self.num_outputs

    @property
    def output_columns(self) -> list[str]:
        """The names of those numbers in a prediction table, in order."""
        return [f"{name}_concentration" for name in self.label_cols]

    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        """Raise a LabelError unless these are votes for the answers of the tree."""
        votes.check_votes(labels, self.schema, ids)

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Scores by name: see `zoobot.shared.metrics`."""
        return metrics.tree_metrics(predictions, labels, self.schema)

    def to_config(self) -> dict[str, Any]:
        """The task as JSON-ready values."""
        return super().to_config() | {"schema": self.schema.to_config()}


_KINDS: dict[str, type[Task]] = {
    task.kind: task for task in (ClassificationTask, MultiLabelTask, RegressionTask, TreeTask)
}


def from_config(config: dict[str, Any]) -> Task:
    """The task back from `to_config`.

    Raises:
        ConfigError: If the kind is not one of ours, a value is missing or unknown, or can't work.
        SchemaError: If the decision tree is not well formed.
    """
    options = dict(config)
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        msg = f"task kind must be one of {sorted(_KINDS)}, got {kind!r}"
        raise ConfigError(msg)
    known = {field.name: field.default is MISSING for field in fields(_KINDS[kind])}
    missing = [name for name, needed in known.items() if needed and name not in options]
    unknown = [name for name in options if name not in known]
    if missing or unknown:
        msg = f"a {kind} task must hold {list(known)}: missing {missing}, unknown {unknown}"
        raise ConfigError(msg)
    if "schema" in options:
        options["schema"] = Schema.from_config(options["schema"])
    return _KINDS[kind](**options)


def classification_task(
    *,
    num_classes: int | None,
    class_names: Sequence[str] | None,
    multi_label: bool,
    label_cols: Sequence[str] | None,
) -> ClassificationTask | MultiLabelTask:
    """The task of a classifier, from what its user said of the classes.

    Raises:
        ConfigError: If the number of classes is not said, or said in two ways that differ.
    """
    counts = {"num_classes": num_classes, "class_names": class_names and len(class_names)}
    if multi_label:
        counts["label_cols"] = label_cols and len(label_cols)
    number = _agreed(counts)
    if multi_label:
        return MultiLabelTask(num_labels=number, label_cols=tuple(label_cols or class_names or ()))
    names = tuple(class_names or map(str, range(number)))
    return ClassificationTask(class_names=names, label_cols=tuple(label_cols or ()))


def regression_task(
    *, num_targets: int | None, label_cols: Sequence[str] | None, unit_interval: bool
) -> RegressionTask:
    """The task of a regressor, from what its user said of the targets; one target if nothing was said.

    Raises:
        ConfigError: If the number of targets is said in two ways that differ.
    """
    said = {"num_targets": num_targets, "label_cols": label_cols and len(label_cols)}
    number = _agreed(said) if any(said.values()) else 1
    return RegressionTask(num_targets=number, unit_interval=unit_interval, label_cols=tuple(label_cols or ()))


def tree_task(schema: Schema | str) -> TreeTask:
    """The task of a tree model, from a schema or the name of one."""
    return TreeTask(schema=get(schema) if isinstance(schema, str) else schema)


def _agreed(counts: dict[str, Any]) -> int:
    said = {name: count for name, count in counts.items() if count}
    if not said:
        msg = f"say how many outputs the model has: give one of {list(counts)}"
        raise ConfigError(msg)
    if len(set(said.values())) > 1:
        msg = f"these say different numbers of outputs: {said}"
        raise ConfigError(msg)
    return next(iter(said.values()))
