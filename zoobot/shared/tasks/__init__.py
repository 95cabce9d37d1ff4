"""What a model learns: the label columns it needs, the columns it predicts, and all that differs by task.

A task is a small immutable record, saved in every checkpoint. Both engines ask it the same questions, so that
labels are checked in the same words and prediction tables have the same columns in either engine. Each kind
has a file of its own here. What options and help say of the kinds is here; the rest is loaded when asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    from zoobot.shared.tasks.base import (
        Group,
        ProbabilityTask,
        Task,
        refuse_bad,
        refuse_missing,
        refuse_unlabelled,
        refuse_voteless,
    )
    from zoobot.shared.tasks.classification import ClassificationTask
    from zoobot.shared.tasks.multi_label import MultiLabelTask, classification_task
    from zoobot.shared.tasks.regression import RegressionTask, regression_task
    from zoobot.shared.tasks.tree import TreeTask, tree_task

__all__ = [
    "KINDS",
    "ClassificationTask",
    "Group",
    "KindOfTask",
    "MultiLabelTask",
    "ProbabilityTask",
    "RegressionTask",
    "Task",
    "TaskKind",
    "TreeTask",
    "class_of",
    "classification_task",
    "from_config",
    "refuse_bad",
    "refuse_missing",
    "refuse_unlabelled",
    "refuse_voteless",
    "regression_task",
    "tree_task",
]

TaskKind = Literal["classification", "multi-label", "regression", "tree"]


class KindOfTask(NamedTuple):
    """What the command line says of a kind of task.

    Attributes:
        task: Its class.
        meaning: In a line of help.
        losses: By name, the default first.
        options: Those that not every kind has.
        choosing: What its labels can be chosen by, the default first: see `zoobot.choosing.strategy_names`.
        main_score: The one that curves show.
        for_several: Of a task of one label column, what to do with several.
    """

    task: str
    meaning: str
    losses: tuple[str, ...]
    options: tuple[str, ...]
    choosing: tuple[str, ...]
    main_score: str
    for_several: str = ""


_OPENNESS = ("bald", "entropy", "margin")

KINDS: dict[str, KindOfTask] = {
    "classification": KindOfTask(
        task="ClassificationTask",
        meaning="one class for each galaxy",
        losses=("cross_entropy", "focal"),
        options=("class_names", "class_weights"),
        choosing=(*_OPENNESS, "least-confidence", "random"),
        main_score="accuracy",
        for_several="for several yes/no columns say --task multi-label",
    ),
    "multi-label": KindOfTask(
        task="MultiLabelTask",
        meaning="independent yes/no columns",
        losses=("cross_entropy", "focal"),
        options=("class_weights",),
        choosing=(*_OPENNESS, "least-confidence", "random"),
        main_score="average_precision",
    ),
    "regression": KindOfTask(
        task="RegressionTask",
        meaning="one or more numbers",
        losses=("mse", "mae", "huber"),
        options=("missing_values",),
        choosing=("variance", "random"),
        main_score="r2",
    ),
    "tree": KindOfTask(
        task="TreeTask",
        meaning="volunteers' votes on a decision tree",
        losses=(),
        options=("schema",),
        choosing=(*_OPENNESS, "random"),
        main_score="nll",
    ),
}


def class_of(kind: str) -> type[Task]:
    """The class of a kind of task.

    Example:
        >>> class_of("tree").__name__
        'TreeTask'
    """
    task: type[Task] = _find(KINDS[kind].task)
    return task


def from_config(config: dict[str, Any]) -> Task:
    """The task back from `to_config`.

    Raises:
        ConfigError: If the kind is not one of ours, a value is missing or unknown, or can't work.
        SchemaError: If the decision tree is not well formed.
    """
    options = dict(config)
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"task kind must be one of {sorted(KINDS)}, got {kind!r}")
    return class_of(kind).from_values(options)


def _find(name: str) -> Any:
    """What the file of a kind, or of all kinds, calls so."""
    for home in ("base", *(kind.replace("-", "_") for kind in KINDS)):
        module = import_module(f"{__name__}.{home}")
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"no task is called {name!r}")


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """A task or a check of labels, from the file that has it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return _find(name)
