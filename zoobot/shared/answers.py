"""One answer out of all that a model predicts: a class, a label, a target, or an answer to a question."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoobot.shared.errors import ConfigError
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, RegressionTask, Task, TreeTask

__all__ = ["PickedAnswer", "find_answers", "most_likely"]

_SHOWN = 20


class PickedAnswer(NamedTuple):
    """One of the numbers that a model predicts.

    Attributes:
        name: The class, the label, the target, or the label column of a tree's answer.
        column: Its place among the model's outputs, from 0.
        question: Of a tree: the places of all answers to the same question; None elsewhere.
    """

    name: str
    column: int
    question: slice | None = None

    def value(self, predictions: NDArray) -> NDArray:
        """What predictions, (…, outputs), say of it: a probability, a target, an expected fraction."""
        value = predictions[..., self.column]
        return value if self.question is None else value / predictions[..., self.question].sum(axis=-1)


def find_answers(task: Task, name: str | None = None) -> tuple[PickedAnswer, ...]:
    """The answers that a name means: itself, or, of a question, all of which the most likely is meant.

    Args:
        task: What is predicted.
        name: A class, a label, a target, a tree's answer or question. None is all classes or labels, the
            only target, or the answers to the tree's first question.

    Raises:
        ConfigError: If nothing is called so, or nothing is named and there are several targets.

    Example:
        >>> from zoobot.shared.tasks import ClassificationTask
        >>> [found.name for found in find_answers(ClassificationTask(class_names=("ring", "no ring")))]
        ['ring', 'no ring']
    """
    groups = _groups_of_tree(task) if isinstance(task, TreeTask) else _single_answers(task)
    if name is None:
        if isinstance(task, RegressionTask) and len(groups) > 1:
            msg = f"say which target is to be explained: one of {list(groups)}"
            raise ConfigError(msg)
        return next(iter(groups.values())) if isinstance(task, TreeTask) else _all(groups)
    if name not in groups:
        near = difflib.get_close_matches(name, groups, n=3)
        some = list(groups)[:_SHOWN]
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {some}"
        msg = f"no {_WORDS[task.kind]} is called {name!r}: {hint}"
        raise ConfigError(msg)
    return groups[name]


def most_likely(answers: Sequence[PickedAnswer], predictions: NDArray) -> PickedAnswer:
    """The answer with the largest value in the predictions for one galaxy, (outputs,)."""
    return answers[int(np.argmax([answer.value(predictions) for answer in answers]))]


_WORDS = {
    "classification": "class",
    "multi-label": "label",
    "regression": "target",
    "tree": "answer or question",
}


def _single_answers(task: Task) -> dict[str, tuple[PickedAnswer, ...]]:
    if isinstance(task, ClassificationTask):
        names: Sequence[str] = task.class_names
    else:
        what = "label" if isinstance(task, MultiLabelTask) else "target"
        names = task.label_cols or [f"{what} {number}" for number in range(task.num_outputs)]
    return {name: (PickedAnswer(name, column),) for column, name in enumerate(names)}


def _groups_of_tree(task: TreeTask) -> dict[str, tuple[PickedAnswer, ...]]:
    """Each question with its answers, then each answer alone."""
    groups = {
        question.text: tuple(
            PickedAnswer(answer.label_col, answer.index, question.slice) for answer in question.answers
        )
        for question in task.schema.questions
    }
    return groups | {answer.name: (answer,) for answer in _all(groups)}


def _all(groups: dict[str, tuple[PickedAnswer, ...]]) -> tuple[PickedAnswer, ...]:
    return tuple(answer for group in groups.values() for answer in group)
