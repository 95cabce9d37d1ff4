"""Whether a decision tree is well formed; each fault is a `SchemaError` that says what is wrong and where."""

from __future__ import annotations

import difflib
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, NoReturn

from zoobot.shared.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoobot.shared.trees.tree import Schema

__all__ = ["check_tree", "not_found"]


def check_tree(schema: Schema) -> None:
    """Nothing, if the tree is well formed.

    Raises:
        SchemaError: If a question or answer is empty, repeated or out of order, a parent answer does not
            exist or is repeated, or questions lead to each other in a circle.
    """
    _check_names(schema)
    _check_indices(schema)
    _check_parents(schema)
    _check_no_circle(schema)


def not_found(what: str, name: object, known: Sequence[str]) -> str:
    """The message for a name that is not known: near names if there are any, else all."""
    near = difflib.get_close_matches(str(name), known, n=5, cutoff=0.5)
    return f"no {what} is called {name!r}; " + (f"near names: {near}" if near else f"known: {list(known)}")


def _check_names(schema: Schema) -> None:
    if not schema.questions:
        _refuse(schema, "it has no questions")
    for question in schema.questions:
        if not question.answers:
            _refuse(schema, f"question {question.text!r} has no answers")
        if not question.text or any(not answer.text for answer in question.answers):
            _refuse(schema, f"question {question.text!r} has an empty text: {question.label_cols}")
    questions = [question.text for question in schema.questions]
    for what, texts in (("question", questions), ("label column", schema.label_cols)):
        repeated = [text for text, count in Counter(texts).items() if count > 1]
        if repeated:
            _refuse(schema, f"{what} {repeated} given more than once")


def _check_indices(schema: Schema) -> None:
    indices = [answer.index for answer in schema.answers]
    if indices != list(range(len(indices))):
        _refuse(schema, f"answers must count up from 0, got {indices}; Schema.from_pairs numbers them")
    for question in schema.questions:
        strangers = [answer for answer in question.answers if answer.question != question.text]
        if strangers:
            _refuse(schema, f"question {question.text!r} holds an answer to another question: {strangers}")


def _check_parents(schema: Schema) -> None:
    known = set(schema.label_cols)
    for question in schema.questions:
        for parent in question.parents:
            if parent not in known:
                what = f"answer, named as parent of {question.text!r},"
                _refuse(schema, not_found(what, parent, schema.label_cols))
        if len(set(question.parents)) < len(question.parents):
            _refuse(schema, f"question {question.text!r} repeats a parent: {question.parents}")


def _check_no_circle(schema: Schema) -> None:
    owner = {answer.label_col: answer.question for answer in schema.answers}
    graph = {question.text: [owner[parent] for parent in question.parents] for question in schema.questions}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        _refuse(schema, f"questions lead to each other in a circle: {' → '.join(error.args[1])}")


def _refuse(schema: Schema, reason: str) -> NoReturn:
    msg = f"schema {schema.name!r}: {reason}"
    raise SchemaError(msg)
