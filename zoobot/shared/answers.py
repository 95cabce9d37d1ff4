"""One answer out of all that a model predicts: a class, a label, a target, or an answer to a question."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoobot.shared.errors import ConfigError
from zoobot.shared.tasks import Task

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
    known = _answers(task)
    if name is None:
        if task.predicts == "numbers" and len(known) > 1:
            msg = f"say which target is to be explained: one of {list(known)}"
            raise ConfigError(msg)
        return known[task.groups[0].name] if task.predicts == "votes" else _all(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        some = list(known)[:_SHOWN]
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {some}"
        msg = f"no {task.noun} is called {name!r}: {hint}"
        raise ConfigError(msg)
    return known[name]


def most_likely(answers: Sequence[PickedAnswer], predictions: NDArray) -> PickedAnswer:
    """The answer with the largest value in the predictions for one galaxy, (outputs,)."""
    return answers[int(np.argmax([answer.value(predictions) for answer in answers]))]


def _answers(task: Task) -> dict[str, tuple[PickedAnswer, ...]]:
    """Each question of a tree with its answers; then each answer, class, label or number alone."""
    if task.tree is None:
        names = [name for group in task.groups for name in group.answers]
        return {name: (PickedAnswer(name, column),) for column, name in enumerate(names)}
    questions = {
        question.text: tuple(PickedAnswer(a.label_col, a.index, question.slice) for a in question.answers)
        for question in task.tree.questions
    }
    return questions | {answer.name: (answer,) for answer in _all(questions)}


def _all(known: dict[str, tuple[PickedAnswer, ...]]) -> tuple[PickedAnswer, ...]:
    return tuple(answer for answers in known.values() for answer in answers)
