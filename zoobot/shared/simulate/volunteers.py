"""Volunteers who look at a simulated galaxy and answer a decision tree, less surely where little is seen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import SchemaError
from zoobot.shared.simulate.opinions import QUESTIONS, opinions_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoobot.shared.simulate.structure import Galaxy
    from zoobot.shared.trees.tree import Question, Schema

__all__ = ["answer_probabilities", "cast_votes", "check_schema"]

AGREEMENT = 20.0
"""Total concentration of the Dirichlet that spreads answers between galaxies that are alike in truth."""

_SLIP = 0.03
"""Share of answers given without looking."""


def check_schema(schema: Schema) -> None:
    """Check that volunteers can be simulated for every question of a tree.

    Args:
        schema: The tree. A question is known by its name without the survey's suffix: `bar-dr5` is `bar`.

    Raises:
        SchemaError: A question or an answer has no simulated counterpart.
    """
    for question in schema.questions:
        known = QUESTIONS[_root_of(question)]
        unknown = [answer.text for answer in question.answers if answer.text not in known]
        if unknown:
            msg = (
                f"volunteers can't be simulated for the answers {unknown!r} to {question.text!r} "
                f"(schema {schema.name!r}); they can answer {sorted(known)}"
            )
            raise SchemaError(msg)


def answer_probabilities(galaxy: Galaxy, schema: Schema, *, visibility: float) -> np.ndarray:
    """Return the probability that a volunteer asked a question gives each answer.

    Args:
        galaxy: The truth.
        schema: The tree.
        visibility: How well details can be seen, in [0, 1].

    Returns:
        (answers,) float64 in (0, 1), summing to one within each question.

    Example:
        >>> from zoobot.shared import schemas
        >>> from zoobot.shared.simulate import draw_galaxy
        >>> galaxy = draw_galaxy(np.random.default_rng(0), median_radius_arcsec=6, kinds={"edge-on": 1})
        >>> tree = schemas.get("gz_decals_dr5")
        >>> probabilities = answer_probabilities(galaxy, tree, visibility=1.0)
        >>> bool(probabilities[tree.get_answer("disk-edge-on-dr5_yes").index] > 0.9)
        True
    """
    opinions = opinions_of(galaxy, visibility)
    probabilities = np.empty(len(schema.label_cols))
    for question in schema.questions:
        probabilities[question.slice] = _probabilities(question, opinions)
    return probabilities


def cast_votes(
    galaxy: Galaxy, schema: Schema, rng: np.random.Generator, *, visibility: float, volunteers: int
) -> np.ndarray:
    """Return how many volunteers gave each answer, each asked only what follows from their own answers.

    For each question the galaxy has its own answer probabilities, drawn from a Dirichlet distribution around
    what the truth suggests, so that counts are Dirichlet-multinomial.

    Args:
        galaxy: The truth.
        schema: The tree.
        rng: Source of randomness.
        visibility: How well details can be seen, in [0, 1].
        volunteers: How many look.

    Returns:
        Counts, (answers,) int64.

    Raises:
        SchemaError: The tree asks what can't be simulated, see `check_schema`.

    References:
        Votes as Dirichlet-multinomial draws: Walmsley et al. (2022), MNRAS 509, 3966.
    """
    expected = answer_probabilities(galaxy, schema, visibility=visibility)
    given: dict[str, np.ndarray] = {}
    votes = np.zeros(len(schema.label_cols), dtype=np.int64)
    waiting = list(schema.questions)
    while waiting:
        question = next(q for q in waiting if not set(q.parents) & _unanswered(waiting))
        waiting.remove(question)
        weights = rng.standard_gamma(AGREEMENT * expected[question.slice]) + 1e-12
        chosen = np.searchsorted(
            np.cumsum(weights / weights.sum())[:-1], rng.random(volunteers), side="right"
        )
        asked = np.any([given[parent] for parent in question.parents], axis=0) if question.parents else True
        for position, answer in enumerate(question.answers):
            given[answer.label_col] = (chosen == position) & asked
            votes[answer.index] = np.count_nonzero(given[answer.label_col])
    return votes


def _unanswered(questions: list[Question]) -> set[str]:
    return {label_col for question in questions for label_col in question.label_cols}


def _root_of(question: Question) -> str:
    """The name of a question without its survey: `bar` for `bar-dr5`."""
    for root in (question.text, question.text.rpartition("-")[0]):
        if root in QUESTIONS:
            return root
    msg = (
        f"volunteers can't be simulated for the question {question.text!r}; they can answer "
        f"{sorted(QUESTIONS)}, with or without a survey's suffix such as -dr5"
    )
    raise SchemaError(msg)


def _probabilities(question: Question, opinions: Mapping[str, Mapping[str, float]]) -> np.ndarray:
    root = _root_of(question)
    weights = np.array([opinions[root].get(answer.text, math.nan) for answer in question.answers])
    if np.isnan(weights).any():
        unknown = [
            answer.text
            for answer, weight in zip(question.answers, weights, strict=True)
            if math.isnan(weight)
        ]
        msg = f"volunteers can't be simulated for the answers {unknown!r} to {question.text!r}"
        raise SchemaError(msg)
    weights = (weights + 1e-9) / (weights + 1e-9).sum()
    return (1 - _SLIP) * weights + _SLIP / len(weights)
