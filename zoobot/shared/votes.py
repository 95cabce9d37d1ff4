"""Votes and vote fractions: conversions both ways, who was asked what, and the checks that come first.

Arrays are `(galaxies, answers)`, their columns in the order of `Schema.label_cols`. Votes are counts or,
where volunteers are weighted, any numbers from 0. A question that a galaxy was not asked has 0 votes, or is
missing (NaN) in all its answers; both mean the same everywhere. Fractions are of those asked the question
(conditional), unless called cumulative: then of everyone, so that they shrink along the tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoobot.shared.errors import LabelError

if TYPE_CHECKING:
    from zoobot.shared.trees.tree import Schema

FloatArray = NDArray[np.float64]

# Published fractions are rounded, often to 2 or 3 decimals, so those of a question may miss 1 by this much.
SUM_TOLERANCE = 0.02
# And one alone may exceed 1 by this much.
ROUNDING = 1e-5
# Above, float64 no longer holds every whole number, and sums of votes no longer add up.
MAX_VOTES = 2.0**53
ROWS_IN_MESSAGE = 5


def check_votes(votes: ArrayLike, schema: Schema, ids: Sequence[str] | None = None) -> FloatArray:
    """The votes as float64, once found to be votes of this schema.

    Args:
        votes: Votes, from 0; NaN in all answers of a question that was not asked; `(galaxies, answers)`.
        schema: The tree they answer.
        ids: Id of each galaxy, for messages.

    Raises:
        LabelError: If the shape is wrong, a vote is negative, infinite or beyond 2**53, or a question is NaN
            in part; the message names rows, ids and columns.

    Example:
        >>> from zoobot.shared import schemas
        >>> check_votes([[3, 37]], schemas.get("gz_rings"))
        array([[ 3., 37.]])
    """
    return check_vote_array(votes, schema.question_slices, columns=schema.label_cols, ids=ids)


def check_vote_array(
    votes: ArrayLike,
    question_slices: Sequence[slice],
    *,
    columns: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
) -> FloatArray:
    """As `check_votes`, where the slices of the questions are known but not the schema."""
    votes = _as_table(votes, question_slices, "votes")
    _refuse_where((votes < 0) | np.isinf(votes), votes, "votes must be finite and not negative", columns, ids)
    _refuse_where(votes > MAX_VOTES, votes, f"votes must be at most {MAX_VOTES:.0f}", columns, ids)
    _refuse_partly_missing(votes, question_slices, "votes", columns, ids)
    return votes


def check_fractions(fractions: ArrayLike, schema: Schema, ids: Sequence[str] | None = None) -> FloatArray:
    """The fractions as float64, once found to be conditional fractions of this schema.

    Args:
        fractions: In [0, 1] and adding up to 1 over each question (within 0.02, for rounding), or all 0 or
            all NaN for a question that was not asked; `(galaxies, answers)`.
        schema: The tree they answer.
        ids: Id of each galaxy, for messages.

    Raises:
        LabelError: If the shape is wrong, a value is outside [0, 1], a question is NaN in part, or fractions
            do not add up; the message names rows, ids and columns.
    """
    columns, slices = schema.label_cols, schema.question_slices
    fractions = _as_table(fractions, slices, "fractions")
    outside = (fractions < 0) | (fractions > 1 + ROUNDING)
    _refuse_where(outside, fractions, "fractions must lie in [0, 1] (are these votes?)", columns, ids)
    _refuse_partly_missing(fractions, slices, "fractions", columns, ids)
    sums = sum_by_question(fractions, slices)
    _refuse_where(
        (sums > 0) & (np.abs(sums - 1) > SUM_TOLERANCE),
        sums,
        "the fractions of a question must add up to 1 (are these cumulative fractions?)",
        [question.text for question in schema.questions],
        ids,
    )
    return fractions


def totals(votes: ArrayLike, schema: Schema) -> FloatArray:
    """The number of votes, or their total weight, on each question: `(galaxies, questions)`, 0 if not asked.

    Raises:
        LabelError: As for `check_votes`.

    Example:
        >>> from zoobot.shared import schemas
        >>> totals([[3, 37], [float("nan"), float("nan")]], schemas.get("gz_rings"))
        array([[40.],
               [ 0.]])
    """
    return sum_by_question(np.nan_to_num(check_votes(votes, schema)), schema.question_slices)


def asked(votes: ArrayLike, schema: Schema) -> NDArray[np.bool_]:
    """Whether anybody answered each question: `(galaxies, questions)`.

    Raises:
        LabelError: As for `check_votes`.
    """
    return totals(votes, schema) > 0


def fractions_from_votes(votes: ArrayLike, schema: Schema) -> FloatArray:
    """The fraction of each question's votes that each answer got: `(galaxies, answers)`, NaN if not asked.

    Raises:
        LabelError: As for `check_votes`.

    Example:
        >>> from zoobot.shared import schemas
        >>> fractions_from_votes([[3, 37], [0, 0]], schemas.get("gz_rings"))
        array([[0.075, 0.925],
               [  nan,   nan]])
    """
    return _share(check_votes(votes, schema), schema)


def votes_from_fractions(
    fractions: ArrayLike, totals: ArrayLike, schema: Schema, *, whole: bool = False
) -> FloatArray:
    """The votes that give these fractions: `(galaxies, answers)`, 0 if not asked.

    Args:
        fractions: As for `check_fractions`; rounding is evened out, so that votes add up to the totals.
        totals: Votes on each question, `(galaxies, questions)`.
        schema: The tree they answer.
        whole: Give whole votes, which still add up to the totals (rounded): largest remainders go up.

    Raises:
        LabelError: As for `check_fractions`; or if totals are not finite and from 0, or a question has
            votes and no fractions.

    Example:
        >>> from zoobot.shared import schemas
        >>> votes_from_fractions([[0.07, 0.93]], [[40]], schemas.get("gz_rings"), whole=True)
        array([[ 3., 37.]])
    """
    shares = _share(check_fractions(fractions, schema), schema)
    per_question = np.asarray(totals, dtype=np.float64)
    expected = (len(shares), len(schema.questions))
    if per_question.shape != expected:
        msg = f"totals must have shape (galaxies, questions) = {expected}, got {per_question.shape}"
        raise LabelError(msg)
    columns = [question.text for question in schema.questions]
    bad = ~np.isfinite(per_question) | (per_question < 0)
    _refuse_where(bad, per_question, "totals must be finite and not negative", columns, None)
    many = per_question > MAX_VOTES
    _refuse_where(many, per_question, f"totals must be at most {MAX_VOTES:.0f}", columns, None)
    first_answers = [part.start for part in schema.question_slices]
    unknown = (per_question > 0) & np.isnan(shares[:, first_answers])
    _refuse_where(unknown, per_question, "a question with votes must have fractions", columns, None)
    if whole:
        per_question = np.rint(per_question)
    per_answer = np.repeat(per_question, _sizes(schema.question_slices), axis=1)
    votes = np.where(per_answer > 0, per_answer * shares, 0.0)
    return _round_keeping_totals(votes, per_question, schema.question_slices) if whole else votes


def cumulative_from_fractions(fractions: ArrayLike, schema: Schema) -> FloatArray:
    """The fraction of *everyone* who was led to each question and gave each answer: `(galaxies, answers)`.

    NaN fractions of a question that nobody was led to become 0; see `Schema.probability_asked`.

    Raises:
        LabelError: As for `check_fractions`.
    """
    return schema.joint_fractions(check_fractions(fractions, schema))


def fractions_from_cumulative(cumulative: ArrayLike, schema: Schema) -> FloatArray:
    """The conditional fractions that belong to cumulative ones: `(galaxies, answers)`, NaN if not asked.

    Each question is divided by its own sum, not by the sum of its parent answers, so that published tables
    with a question of another convention, such as something-odd in the Galaxy Challenge, come out right too.

    Raises:
        LabelError: If the shape is wrong, a value is outside [0, 1] or a question is NaN in part.
    """
    columns, slices = schema.label_cols, schema.question_slices
    cumulative = _as_table(cumulative, slices, "cumulative fractions")
    outside = (cumulative < 0) | (cumulative > 1 + ROUNDING)
    _refuse_where(outside, cumulative, "cumulative fractions must lie in [0, 1]", columns, None)
    _refuse_partly_missing(cumulative, slices, "fractions", columns, None)
    return _share(cumulative, schema)


def sum_by_question(values: NDArray[np.generic], question_slices: Sequence[slice]) -> NDArray:
    """The sum over the answers of each question: `(…, answers)` → `(…, questions)`."""
    return np.add.reduceat(values, [part.start for part in question_slices], axis=-1)


def _share(values: FloatArray, schema: Schema) -> FloatArray:
    """Values divided by their question's sum; NaN where that is 0 or NaN."""
    sums = sum_by_question(values, schema.question_slices)
    sums = np.repeat(np.where(sums > 0, sums, np.nan), _sizes(schema.question_slices), axis=1)
    return values / sums


def _round_keeping_totals(
    votes: FloatArray, totals: FloatArray, question_slices: Sequence[slice]
) -> FloatArray:
    """Whole votes that add up to the totals: all rounded down, then the largest remainders up."""
    whole = np.floor(votes + ROUNDING)  # 2.9999999 is 3
    for question, part in enumerate(question_slices):
        remainders = votes[:, part] - whole[:, part]
        rank = np.argsort(np.argsort(-remainders, axis=1, kind="stable"), axis=1, kind="stable")
        spare = totals[:, question] - whole[:, part].sum(axis=1)
        whole[:, part] += rank < spare[:, None]
    return whole


def _as_table(values: ArrayLike, question_slices: Sequence[slice], what: str) -> FloatArray:
    try:
        table = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LabelError(f"{what} must be numbers: {error}") from error
    n_answers = question_slices[-1].stop
    if table.ndim != 2 or table.shape[1] != n_answers:
        msg = f"{what} must have shape (galaxies, answers) = (galaxies, {n_answers}), got {table.shape}"
        raise LabelError(msg)
    return table


def _refuse_partly_missing(
    table: FloatArray,
    question_slices: Sequence[slice],
    what: str,
    columns: Sequence[str] | None,
    ids: Sequence[str] | None,
) -> None:
    missing = np.isnan(table)
    sizes = _sizes(question_slices)
    n_missing = np.repeat(sum_by_question(missing.astype(np.int64), question_slices), sizes, axis=1)
    in_part = missing & (n_missing < np.repeat(sizes, sizes))
    _refuse_where(in_part, table, f"a question's {what} must be all given or all NaN", columns, ids)


def _sizes(question_slices: Sequence[slice]) -> list[int]:
    return [part.stop - part.start for part in question_slices]


def _refuse_where(
    bad: NDArray[np.bool_],
    values: FloatArray,
    expected: str,
    columns: Sequence[str] | None,
    ids: Sequence[str] | None,
) -> None:
    """Raise a LabelError that names the first bad rows and columns, if there are any."""
    if not bad.any():
        return
    places = []
    for row, column in np.argwhere(bad)[:ROWS_IN_MESSAGE]:
        galaxy = f"row {row}" + (f" (id {ids[row]!r})" if ids is not None else "")
        name = repr(columns[column]) if columns is not None else column
        places.append(f"{values[row, column]:g} in {galaxy}, column {name}")
    more = int(bad.sum()) - len(places)
    raise LabelError(f"{expected}, got {'; '.join(places)}" + (f"; and {more} more" if more else ""))
