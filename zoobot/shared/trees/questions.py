"""Questions and their answers, and whether they join to a tree that is well formed."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import chain

from zoobot.shared.errors import SchemaError


@dataclass(frozen=True)
class Answer:
    """One answer to one question, and where it stands among the label columns.

    Args:
        question: Text of the question it answers.
        text: The answer, such as `featured-or-disk`.
        index: Its place in `Schema.label_cols`.

    Example:
        >>> Answer("bar", "strong", 0).label_col
        'bar_strong'
    """

    question: str
    text: str
    index: int

    @property
    def label_col(self) -> str:
        """The column of catalogs and predictions that holds this answer: question, underscore, answer."""
        return f"{self.question}_{self.text}"

    @property
    def pretty(self) -> str:
        """The answer as people write it: 'Featured or disk'."""
        return _pretty(self.text)


@dataclass(frozen=True)
class Question:
    """One question: its answers, and the answers elsewhere in the tree that lead to it.

    Args:
        text: The question, such as `smooth-or-featured-dr5`.
        answers: Its answers, in label order.
        parents: Label columns of the answers after which it is asked; empty if it is asked of everyone.
        campaign: The campaign that asked it, where several are joined in one schema; otherwise empty.
    """

    text: str
    answers: tuple[Answer, ...]
    parents: tuple[str, ...] = ()
    campaign: str = ""

    @property
    def slice(self) -> slice:
        """Where its answers stand among the label columns, half-open."""
        return slice(self.answers[0].index, self.answers[-1].index + 1)

    @property
    def label_cols(self) -> list[str]:
        """The label columns of its answers."""
        return [answer.label_col for answer in self.answers]

    @property
    def pretty(self) -> str:
        """The question as people write it: 'Smooth or featured dr5'."""
        return _pretty(self.text)


def _pretty(text: str) -> str:
    words = text.replace("-", " ").replace("_", " ")
    return words[:1].upper() + words[1:]


def check_tree(name: str, questions: Sequence[Question]) -> None:
    """Nothing, if a decision tree is well formed.

    Args:
        name: What the tree is called.
        questions: Its questions, in label order.

    Raises:
        SchemaError: If a question or answer is empty, repeated or out of order, a parent answer does not
            exist or is repeated, or questions lead to each other in a circle.
    """
    for fault in chain(*(find(questions) for find in (_names, _indices, _parents, _circles))):
        raise SchemaError(f"schema {name!r}: {fault}")


def not_found(what: str, name: object, known: Sequence[str]) -> str:
    """The message for a name that is not known: near names if there are any, else all."""
    near = difflib.get_close_matches(str(name), known, n=5, cutoff=0.5)
    return f"no {what} is called {name!r}; " + (f"near names: {near}" if near else f"known: {list(known)}")


def _label_cols(questions: Sequence[Question]) -> list[str]:
    return [label_col for question in questions for label_col in question.label_cols]


def _names(questions: Sequence[Question]) -> Iterator[str]:
    if not questions:
        yield "it has no questions"
    for question in questions:
        if not question.answers:
            yield f"question {question.text!r} has no answers"
        if not question.text or any(not answer.text for answer in question.answers):
            yield f"question {question.text!r} has an empty text: {question.label_cols}"
    texts = [question.text for question in questions]
    for what, known in (("question", texts), ("label column", _label_cols(questions))):
        repeated = [text for text, count in Counter(known).items() if count > 1]
        if repeated:
            yield f"{what} {repeated} given more than once"


def _indices(questions: Sequence[Question]) -> Iterator[str]:
    indices = [answer.index for question in questions for answer in question.answers]
    if indices != list(range(len(indices))):
        yield f"answers must count up from 0, got {indices}; Schema.from_pairs numbers them"
    for question in questions:
        strangers = [answer for answer in question.answers if answer.question != question.text]
        if strangers:
            yield f"question {question.text!r} holds an answer to another question: {strangers}"


def _parents(questions: Sequence[Question]) -> Iterator[str]:
    known = _label_cols(questions)
    for question in questions:
        for parent in question.parents:
            if parent not in known:
                yield not_found(f"answer, named as parent of {question.text!r},", parent, known)
        if len(set(question.parents)) < len(question.parents):
            yield f"question {question.text!r} repeats a parent: {question.parents}"


def _circles(questions: Sequence[Question]) -> Iterator[str]:
    owner = {answer.label_col: answer.question for question in questions for answer in question.answers}
    graph = {question.text: [owner[parent] for parent in question.parents] for question in questions}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"questions lead to each other in a circle: {' → '.join(error.args[1])}"
