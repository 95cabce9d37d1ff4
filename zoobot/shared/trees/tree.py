"""The decision tree of questions and answers: one immutable `Schema` for each campaign of volunteers."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoobot.shared.errors import LabelError, SchemaError
from zoobot.shared.public_names import advise
from zoobot.shared.trees import text as tree_text
from zoobot.shared.trees.questions import Answer, Question, check_tree, not_found

FloatArray = NDArray[np.float64]

# A fraction may exceed 1 by this much before it is refused: float32 rounding of a network's output.
ROUNDING = 1e-5


@advise
@dataclass(frozen=True)
class Schema:
    """A decision tree: questions in label order, each asked of everyone or after some answers of others.

    A question may have any number of parent answers, so the tree is in truth a directed acyclic graph.
    Build one with `schemas.get`, `Schema.from_pairs`, `Schema.from_yaml` or `Schema.from_config`.

    Args:
        name: What the tree is called.
        questions: The questions, whose answers count up from 0.

    Raises:
        SchemaError: If a question or answer is empty or repeated, a parent answer does not exist, or
            questions lead to each other in a circle.

    Example:
        >>> schema = Schema.from_pairs(
        ...     {"smooth-or-featured": ["smooth", "featured"], "bar": ["yes", "no"]},
        ...     {"bar": "smooth-or-featured_featured"},
        ... )
        >>> schema.label_cols
        ['smooth-or-featured_smooth', 'smooth-or-featured_featured', 'bar_yes', 'bar_no']
        >>> schema.probability_asked([[0.75, 0.25, 0.5, 0.5]])
        array([[1.  , 0.25]])
    """

    name: str
    questions: tuple[Question, ...]

    def __post_init__(self) -> None:
        questions = self.questions
        if not isinstance(questions, tuple) or not all(isinstance(q, Question) for q in questions):
            raise SchemaError(
                f"a Schema is made of a name and Questions, got {reprlib.repr(self.name)} and "
                f"{reprlib.repr(questions)}; from a dict of answers and a dict of dependencies, use "
                f"Schema.from_pairs(question_answer_pairs, dependencies)"
            )
        check_tree(self.name, self.questions)

    @classmethod
    def from_pairs(
        cls,
        question_answer_pairs: Mapping[str, Sequence[str]],
        dependencies: Mapping[str, str | Sequence[str] | None] | None = None,
        *,
        name: str = "custom",
        campaigns: Mapping[str, str] | None = None,
    ) -> Schema:
        """A schema from a dict of questions and their answers, and a dict of what leads to each.

        Args:
            question_answer_pairs: Answers of each question, with or without a leading underscore.
            dependencies: For each question the label column, or columns, after which it is asked; None, or
                no entry, if it is asked of everyone. Entries for other questions are ignored if every
                question has its own entry, and otherwise refused, because they are then likely typing errors.
            name: What to call the tree.
            campaigns: For questions of several campaigns, the campaign that asked each.

        Raises:
            SchemaError: If the tree is not well formed.
        """
        dependencies = dependencies or {}
        unknown = [question for question in dependencies if question not in question_answer_pairs]
        if unknown and any(question not in dependencies for question in question_answer_pairs):
            known = list(question_answer_pairs)
            msg = f"schema {name!r}: dependencies name {unknown}, which are not among the questions {known}"
            raise SchemaError(msg)
        questions: list[Question] = []
        n_answers = 0
        for text, answer_texts in question_answer_pairs.items():
            if isinstance(answer_texts, str) or not all(isinstance(answer, str) for answer in answer_texts):
                msg = f"schema {name!r}: answers of {text!r} must be a list of texts, got {answer_texts!r}"
                raise SchemaError(msg)
            answers = tuple(
                Answer(text, answer.removeprefix("_"), n_answers + i) for i, answer in enumerate(answer_texts)
            )
            n_answers += len(answers)
            parents = dependencies.get(text) or ()
            parents = (parents,) if isinstance(parents, str) else tuple(parents)
            questions.append(Question(text, answers, parents, (campaigns or {}).get(text, "")))
        return cls(name, tuple(questions))

    @cached_property
    def answers(self) -> tuple[Answer, ...]:
        """All answers, in label order."""
        return tuple(answer for question in self.questions for answer in question.answers)

    @property
    def label_cols(self) -> list[str]:
        """The column of every answer, in order: the last axis of every votes, fractions or output array."""
        return [answer.label_col for answer in self.answers]

    @property
    def question_slices(self) -> list[slice]:
        """Where each question's answers stand among the label columns, half-open."""
        return [question.slice for question in self.questions]

    @property
    def titles(self) -> list[str]:
        """What each question is called for readers: without the survey's suffix where all share one."""
        endings = {question.text.rpartition("-")[2] for question in self.questions}
        shared = len(self.questions) > 1 and len(endings) == 1
        ending = f" {next(iter(endings))}" if shared else ""
        return [question.pretty.removesuffix(ending) for question in self.questions]

    @property
    def campaigns(self) -> dict[str, list[int]]:
        """The campaigns joined in this schema, each with the places of its questions; empty if it is one."""
        joined: dict[str, list[int]] = {}
        for place, question in enumerate(self.questions):
            if question.campaign:
                joined.setdefault(question.campaign, []).append(place)
        return joined

    def get_question(self, text: str) -> Question:
        """The question with this text, or the one that a label column belongs to.

        Raises:
            SchemaError: If there is none; the message lists near names.
        """
        for question in self.questions:
            if text == question.text or text in question.label_cols:
                return question
        known = [question.text for question in self.questions]
        raise SchemaError(not_found(f"question in schema {self.name!r}", text, known + self.label_cols))

    def get_answer(self, label_col: str) -> Answer:
        """The answer with this label column.

        Raises:
            SchemaError: If there is none; the message lists near names.
        """
        for answer in self.answers:
            if label_col == answer.label_col:
                return answer
        raise SchemaError(not_found(f"answer in schema {self.name!r}", label_col, self.label_cols))

    def probability_asked(self, fractions: ArrayLike) -> FloatArray:
        """The probability that each question is asked of a galaxy, `(galaxies, questions)`.

        A question is asked after any of its parent answers: the probabilities of the paths to it are added
        and capped at 1. Paths of one tree exclude each other, so the sum is exact; the cap only matters for
        trees whose parent answers can be given together. A fraction of NaN makes unknown (NaN) all that
        depends on it, unless its own question has no chance to be asked: then it adds exactly 0.

        Args:
            fractions: Fraction of each answer among those asked its question, in [0, 1]; `(galaxies,
                answers)`, or any number of leading axes.

        Raises:
            LabelError: If the last axis is not one column for each answer, or a value is outside [0, 1].
        """
        fractions = self._as_fractions(fractions)
        asked = np.ones((*fractions.shape[:-1], len(self.questions)))
        for child, parents in self._walk:
            paths = [_and_then(asked[..., question], fractions[..., answer]) for question, answer in parents]
            if paths:
                asked[..., child] = np.minimum(np.sum(paths, axis=0), 1.0)
        return asked

    def joint_fractions(self, fractions: ArrayLike) -> FloatArray:
        """The probability that each question is asked *and* each answer given, `(galaxies, answers)`.

        These are the cumulative fractions of some published catalogs: answers of a question add up to the
        probability that it is asked.

        Args:
            fractions: As for `probability_asked`.

        Raises:
            LabelError: As for `probability_asked`.
        """
        fractions = self._as_fractions(fractions)
        counts = [len(question.answers) for question in self.questions]
        return _and_then(np.repeat(self.probability_asked(fractions), counts, axis=-1), fractions)

    def joint_p(self, fractions: ArrayLike, answer_text: str) -> FloatArray:
        """The probability that one answer's question is asked and that answer given, `(galaxies,)`.

        Args:
            fractions: As for `probability_asked`.
            answer_text: The answer's label column.

        Raises:
            SchemaError: If there is no such answer.
            LabelError: As for `probability_asked`.
        """
        return self.joint_fractions(fractions)[..., self.get_answer(answer_text).index]

    def to_config(self) -> dict[str, Any]:
        """The schema as JSON-ready values."""
        return tree_text.to_config(self.name, self.questions)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Schema:
        """The schema back from `to_config`.

        Raises:
            SchemaError: If an entry is missing, unknown or of the wrong kind, or the tree not well formed.
        """
        answers, parents, campaigns = tree_text.pairs_from_config(config)
        return cls.from_pairs(answers, parents, name=config["name"], campaigns=campaigns)

    def to_yaml(self, path: str | Path) -> None:
        """Write the schema to a YAML file that people can read and edit."""
        tree_text.write_yaml(self.to_config(), path)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Schema:
        """The schema in a YAML file, such as `to_yaml` writes; words need no quotes, not even yes and no.

        Raises:
            SchemaError: If the file can't be read or the tree is not well formed; the message names the file.
        """
        config = tree_text.read_yaml(path)
        try:
            return cls.from_config(config)
        except SchemaError as error:
            raise SchemaError(f"{path}: {error}") from error

    def draw(self) -> str:
        """The tree as text for the terminal: each question, its answers, and what each answer leads to."""
        return tree_text.draw(self.name, self.questions)

    def _repr_html_(self) -> str:
        return tree_text.draw_html(self.name, self.questions)

    def __repr__(self) -> str:
        return f"<Schema {self.name}: {tree_text.size(self.questions)}>"

    @cached_property
    def _walk(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """Questions, parents first, each with the (question, answer) indices of its parent answers."""
        place = {question.text: i for i, question in enumerate(self.questions)}
        owner = {answer.label_col: (place[answer.question], answer.index) for answer in self.answers}
        parents = [[owner[parent] for parent in question.parents] for question in self.questions]
        graph = {child: [question for question, _ in of_child] for child, of_child in enumerate(parents)}
        return [(child, parents[child]) for child in TopologicalSorter(graph).static_order()]

    def _as_fractions(self, fractions: ArrayLike) -> FloatArray:
        array = np.asarray(fractions, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != len(self.answers):
            expected = f"(galaxies, {len(self.answers)}) for schema {self.name!r}"
            raise LabelError(f"fractions must have shape {expected}, got {array.shape}")
        outside = (array < 0) | (array > 1 + ROUNDING)
        if outside.any():
            raise LabelError(
                f"fractions must lie in [0, 1], got {array[outside][0]!r} and {outside.sum() - 1} more; "
                "turn votes to fractions with votes.fractions_from_votes"
            )
        return array


def _and_then(asked: FloatArray, fraction: FloatArray) -> FloatArray:
    """The probability of both; 0 where the question is never asked, whatever the fraction, NaN too."""
    return np.where(asked == 0, 0.0, asked * fraction)
