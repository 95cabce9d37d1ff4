"""Scores of a tree: question by question, and as in the Galaxy Challenge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from zoobot.shared.errors import LabelError, SchemaError
from zoobot.shared.metrics import by_name, ratio, score_once
from zoobot.shared.posteriors import as_mixture, expected_fractions
from zoobot.shared.tasks.tree import CONFIDENT_FRACTION
from zoobot.shared.votes import check_votes, fractions_from_votes, sum_by_question

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from zoobot.shared.metrics import Scorer
    from zoobot.shared.trees.tree import Question, Schema
    from zoobot.shared.votes import FloatArray

# How often a tree model picks the answer that most volunteers picked: question by question, as published.
#
# The prediction is the answer with the largest expected fraction, the truth that with the most votes; of
# several with as many, the predicted one. Precision, recall and F1 are means over answers, weighted by how
# many galaxies truly have each. All of it once for every galaxy that was asked, and once for those on
# which volunteers agree.
#
# References:
# Walmsley et al. 2022, MNRAS 509, 3966, tables 3 and 4.


def question_confusions(
    concentrations: ArrayLike, votes: ArrayLike, schema: Schema, *, confident: bool = False
) -> list[NDArray[np.int64]]:
    """For each question, galaxies of each true answer (rows) that were given each answer (columns).

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        votes: Votes, (galaxies, answers), NaN or 0 where a question was not asked.
        schema: The decision tree.
        confident: Only galaxies with more than 80 % of their votes on one answer.

    Raises:
        LabelError: If the shapes do not fit, or these are no votes.
    """
    matrices = []
    for choice in _choices(concentrations, votes, schema, confident=confident):
        size = len(choice.question.answers)
        cells = choice.truth[choice.rows] * size + choice.guess[choice.rows]
        matrices.append(np.bincount(cells, minlength=size**2).reshape(size, size))
    return matrices


class _Choice(NamedTuple):
    """Who was asked a question, (galaxies,), which answer volunteers chose, and which the model."""

    question: Question
    rows: NDArray[np.bool_]
    truth: NDArray[np.int64]
    guess: NDArray[np.int64]


def _choices(
    concentrations: ArrayLike, votes: ArrayLike, schema: Schema, *, confident: bool
) -> Iterator[_Choice]:
    expected = expected_fractions(concentrations, schema)
    counted = np.nan_to_num(check_votes(votes, schema))
    for question in schema.questions:
        given, total = counted[:, question.slice], counted[:, question.slice].sum(axis=1)
        share = CONFIDENT_FRACTION if confident else 0.0
        rows = (total > 0) & (given.max(axis=1) > share * total)
        guess = expected[:, question.slice].argmax(axis=1)
        right = given[np.arange(len(given)), guess] == given.max(axis=1)
        yield _Choice(question, rows, np.where(right, guess, given.argmax(axis=1)), guess)


def question_table(
    concentrations: ArrayLike, votes: ArrayLike, schema: Schema, *, confident: bool = False
) -> pd.DataFrame:
    """Accuracy, precision, recall and F1 of each question: a row for each.

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        votes: Votes, (galaxies, answers), NaN or 0 where a question was not asked.
        schema: The decision tree.
        confident: Only galaxies with more than 80 % of their votes on one answer.

    Returns:
        Columns `question`, `n` (galaxies), `accuracy`, `precision`, `recall`, `f1`; NaN where there are none.

    Raises:
        LabelError: If the shapes do not fit, or these are no votes.
    """
    scorer = _choice_scorer(concentrations, votes, schema, confident=confident)
    scores = {name: values[0] for name, values in scorer(np.ones((1, len(np.asarray(votes))))).items()}
    questions = [question.text for question in schema.questions]
    table = pd.DataFrame({"question": questions} | scores)
    return table.astype({"n": int})


def question_scorer(concentrations: ArrayLike, votes: ArrayLike, schema: Schema) -> Scorer:
    """What gives the scores of `question_table` of weighted galaxies.

    They are `precision_QUESTION`, `recall_QUESTION` and `f1_QUESTION`, and of galaxies on which volunteers
    agree `precision_confident_QUESTION` and so on.
    """
    names = [question.text for question in schema.questions]
    scorers = {
        ending: _choice_scorer(concentrations, votes, schema, confident=bool(ending))
        for ending in ("", "_confident")
    }

    def score(weights: FloatArray) -> dict[str, FloatArray]:
        scores: dict[str, FloatArray] = {}
        for ending, scorer in scorers.items():
            found = scorer(weights)
            kept = {f"{metric}{ending}": found[metric] for metric in ("precision", "recall", "f1")}
            scores |= by_name(kept, names)
        return scores

    return score


def _choice_scorer(concentrations: ArrayLike, votes: ArrayLike, schema: Schema, *, confident: bool) -> Scorer:
    """What gives `n`, `accuracy`, `precision`, `recall` and `f1`, (resamples, questions) each.

    An answer that is never given has no precision and no F1: 0.
    """
    columns: list[NDArray[np.bool_]] = []
    for choice in _choices(concentrations, votes, schema, confident=confident):
        answers = np.arange(len(choice.question.answers))
        true, given = (chosen[:, None] == answers for chosen in (choice.truth, choice.guess))
        columns.append(choice.rows[:, None] & np.hstack([true, given, true & given]))

    def score(weights: FloatArray) -> dict[str, FloatArray]:
        found: dict[str, list[FloatArray]] = {}
        for of_question in columns:
            true, given, right = np.split(weights @ of_question.astype(float), 3, axis=1)
            n = true.sum(axis=1)
            precision = ratio((true * np.nan_to_num(ratio(right, given))).sum(axis=1), n)
            f1 = ratio((true * np.nan_to_num(ratio(2 * right, true + given))).sum(axis=1), n)
            recall = ratio(right.sum(axis=1), n)  # weighted so, it is how many are right
            row = {"n": n, "accuracy": recall, "precision": precision, "recall": recall, "f1": f1}
            for name, values in row.items():
                found.setdefault(name, []).append(values)
        return {name: np.stack(values, axis=1) for name, values in found.items()}

    return score


class _ChallengeQuestion(NamedTuple):
    """A question of the challenge: its name and answers in our trees, in published order."""

    text: str
    answers: tuple[str, ...]
    parent: tuple[int, int] | None  # question and answer after which it is asked, as in Class1.2


_QUESTIONS = (
    _ChallengeQuestion("smooth-or-featured-gz2", ("smooth", "featured-or-disk", "artifact"), None),
    _ChallengeQuestion("disk-edge-on-gz2", ("yes", "no"), (1, 2)),
    _ChallengeQuestion("bar-gz2", ("yes", "no"), (2, 2)),
    _ChallengeQuestion("has-spiral-arms-gz2", ("yes", "no"), (2, 2)),
    _ChallengeQuestion("bulge-size-gz2", ("no", "just-noticeable", "obvious", "dominant"), (2, 2)),
    _ChallengeQuestion("something-odd-gz2", ("yes", "no"), None),
    _ChallengeQuestion("how-rounded-gz2", ("round", "in-between", "cigar"), (1, 1)),
    _ChallengeQuestion(
        "odd-feature-gz2",
        ("ring", "lens-or-arc", "disturbed", "irregular", "other", "merger", "dust-lane"),
        (6, 1),
    ),
    _ChallengeQuestion("bulge-shape-gz2", ("round", "boxy", "no-bulge"), (2, 1)),
    _ChallengeQuestion("spiral-winding-gz2", ("tight", "medium", "loose"), (4, 1)),
    _ChallengeQuestion("spiral-arm-count-gz2", ("1", "2", "3", "4", "more-than-4", "cant-tell"), (4, 1)),
)

#: The published columns in order: Class1.1, Class1.2, … Class11.6.
CHALLENGE_COLUMNS = tuple(
    f"Class{number}.{place}"
    for number, question in enumerate(_QUESTIONS, start=1)
    for place in range(1, len(question.answers) + 1)
)


def has_challenge_questions(schema: Schema) -> bool:
    """Whether a schema, which may hold others too, has every question and answer of the challenge.

    Example:
        >>> from zoobot.shared import schemas
        >>> has_challenge_questions(schemas.get("gz2_full")), has_challenge_questions(schemas.get("gz2"))
        (True, False)
    """
    return set(_label_cols()) <= set(schema.label_cols)


def challenge_fractions(fractions: ArrayLike, schema: Schema) -> FloatArray:
    """The challenge's numbers from fractions among those asked each question: (galaxies, 37).

    Args:
        fractions: In [0, 1], (galaxies, answers), or any number of leading axes. NaN where a question was
            not asked counts as 0 if nobody was led to it, and else leaves NaN.
        schema: The tree they belong to; it must hold the eleven questions of `gz2_full`, and may hold more.

    Raises:
        SchemaError: If the schema lacks a question or answer.
        LabelError: If the fractions do not fit the schema.
    """
    columns = schema.label_cols
    missing = [name for name in _label_cols() if name not in columns]
    if missing:
        msg = f"the Galaxy Challenge needs the answers of gz2_full; schema {schema.name!r} lacks {missing}"
        raise SchemaError(msg)
    array = np.asarray(fractions, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != len(columns):
        msg = f"fractions must be (galaxies, {len(columns)}) for schema {schema.name!r}, got {array.shape}"
        raise LabelError(msg)
    cumulative: list[FloatArray] = []
    for question in _QUESTIONS:
        part = array[..., [columns.index(f"{question.text}_{answer}") for answer in question.answers]]
        if question.parent is not None:
            number, answer = question.parent
            led = cumulative[number - 1][..., answer - 1, None]
            part = np.where(led == 0, 0.0, led * part)
        cumulative.append(part)
    return np.concatenate(cumulative, axis=-1)


def challenge_from_concentrations(concentrations: ArrayLike, schema: Schema) -> FloatArray:
    """The challenge's numbers to expect from a tree model's predictions: (galaxies, 37).

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        schema: The tree they belong to; it must hold the eleven questions of `gz2_full`, and may hold more.

    Raises:
        SchemaError: If the schema lacks a question or answer.
        LabelError: If the shape is wrong or a concentration is not above 0.
    """
    alpha = as_mixture(concentrations, schema)
    slices = schema.question_slices
    sums = np.repeat(sum_by_question(alpha, slices), [part.stop - part.start for part in slices], axis=-1)
    return challenge_fractions(alpha / sums, schema).mean(axis=0)


def challenge_from_votes(votes: ArrayLike, schema: Schema) -> FloatArray:
    """The challenge's numbers that votes give: (galaxies, 37), NaN for a galaxy without all that they need.

    A question that nobody answered counts as one that nobody was led to: votes are few, and some that were
    led there may have stopped.

    Args:
        votes: Votes, (galaxies, answers), NaN or 0 where a question was not asked.
        schema: The tree they answer; it must hold the eleven questions of `gz2_full`, and may hold more.

    Raises:
        SchemaError: If the schema lacks a question or answer.
        LabelError: If these are no votes of this schema.
    """
    fractions = fractions_from_votes(votes, schema)
    numbers = challenge_fractions(np.nan_to_num(fractions), schema)
    first = [f"{q.text}_{q.answers[0]}" for q in _QUESTIONS if q.parent is None]
    roots = fractions[:, [schema.label_cols.index(name) for name in first]]
    return np.where(np.isfinite(roots).all(axis=1, keepdims=True), numbers, np.nan)


def challenge_rmse(predicted: ArrayLike, published: ArrayLike) -> float:
    """The challenge's score: the root mean square error over all galaxies and all 37 numbers.

    Args:
        predicted: (galaxies, 37).
        published: (galaxies, 37); galaxies with NaN are left out.

    Returns:
        In [0, 1], lower is better; NaN without galaxies.

    Raises:
        LabelError: If the shapes do not fit.
    """
    predicted, published = np.asarray(predicted, np.float64), np.asarray(published, np.float64)
    if (
        predicted.shape != published.shape
        or predicted.ndim != 2
        or predicted.shape[1] != len(CHALLENGE_COLUMNS)
    ):
        shapes = f"{predicted.shape} and {published.shape}"
        raise LabelError(f"expected two arrays (galaxies, {len(CHALLENGE_COLUMNS)}), got the shapes {shapes}")
    return score_once(_challenge_scorer(predicted, published), len(predicted))["challenge_rmse"]


def challenge_scorer(concentrations: ArrayLike, votes: ArrayLike, schema: Schema) -> Scorer:
    """What gives `challenge_rmse` of weighted galaxies, from predictions and votes of a tree."""
    return _challenge_scorer(
        challenge_from_concentrations(concentrations, schema), challenge_from_votes(votes, schema)
    )


def _challenge_scorer(predicted: FloatArray, published: FloatArray) -> Scorer:
    known = np.all(np.isfinite(published), axis=1)
    squares = np.where(known, ((predicted - np.where(known[:, None], published, 0.0)) ** 2).mean(axis=1), 0.0)
    return lambda weights: {"challenge_rmse": ratio(weights @ squares, weights @ known.astype(float)) ** 0.5}


def _label_cols() -> list[str]:
    return [f"{question.text}_{answer}" for question in _QUESTIONS for answer in question.answers]
