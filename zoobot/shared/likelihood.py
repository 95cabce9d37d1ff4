"""The Dirichlet-multinomial likelihood of votes, in NumPy and float64: the reference both engines must meet.

For one question, with concentrations a (sum A) and votes k (sum N),

    log p(k | a) = lnΓ(N+1) − Σ lnΓ(k+1) + lnΓ(A) − lnΓ(A+N) + Σ [lnΓ(a+k) − lnΓ(a)]

Γ extends the multinomial coefficient to votes that are weights rather than counts. With no votes every term
is exactly 0.

References:
    Walmsley et al. 2022, MNRAS 509, 3966: one such likelihood for each question, added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, expit, gammaln

from zoobot.shared import defaults
from zoobot.shared.errors import LabelError, MissingPackageError, NonFiniteError, SchemaError
from zoobot.shared.votes import check_vote_array, sum_by_question

__all__ = [
    "Tree",
    "TreeHeadLoss",
    "VotedEntries",
    "answer_question_index",
    "dirichlet_multinomial_nll",
    "dirichlet_multinomial_nll_gradient",
    "mixture_nll",
    "tree_of",
]


# The vote loss from nothing but the answers that have votes and the questions that were asked, in NumPy.
#
# With v(x, c) = lnΓ(x + c) − lnΓ(x) − lnΓ(c + 1), a question with concentrations a (sum A) and votes k
# (sum N) has the loss v(A, N) − Σ v(a, k). Where votes stand is looked up once, for one batch's loss and
# its derivative as for the thousand evaluations that find the best head of the same galaxies. The
# reference is `zoobot.shared.likelihood`.


@dataclass(frozen=True, eq=False)
class Tree:
    """Where the answers of each question stand in a table of all answers.

    Attributes:
        question: The question of each answer, (answers,).
        first: The first answer of each question, (questions,).
        length: How many answers each question has, (questions,).
    """

    question: NDArray
    first: NDArray
    length: NDArray


def tree_of(question_slices: Sequence[slice]) -> Tree:
    """The same tree each time for the same slices.

    Raises:
        SchemaError: If the slices overlap, leave a gap, or do not begin at 0.
    """
    return _tree_of(tuple((part.start, part.stop, part.step) for part in question_slices))


@lru_cache(maxsize=32)
def _tree_of(extents: tuple[tuple[int, int, int | None], ...]) -> Tree:
    question = answer_question_index([slice(*extent) for extent in extents])
    first = np.array([start for start, _, _ in extents])
    return Tree(question, first, np.array([stop for _, stop, _ in extents]) - first)


class VotedEntries:
    """Where a table of votes, (galaxies, answers), has any, for losses of many concentrations.

    Args:
        votes: Above 0 where there are any, (galaxies, answers); NaN where nobody was asked.
        tree: Where the answers of each question stand.

    Example:
        >>> entries = VotedEntries(np.array([[3.0, 1.0]]), tree_of([slice(0, 2)]))
        >>> at = entries.at(np.ones((1, 2)))
        >>> bool(np.isclose(entries.losses(at), np.log(5)))  # five splits of four votes, all as likely
        True
    """

    def __init__(self, votes: NDArray, tree: Tree) -> None:
        flat = votes.ravel()
        self._shape = len(votes), len(tree.first)
        self._voted = np.flatnonzero(flat > 0)
        cells = _question_of_entry(tree, len(votes))[self._voted]
        begins = np.ones(len(cells), dtype=bool)
        np.not_equal(cells[1:], cells[:-1], out=begins[1:])
        self._asked, self._their_asked = cells[np.flatnonzero(begins)], begins.cumsum()
        self._their_asked -= 1
        self._entries, self._asked_of_entry = _entries_of(self._asked, tree)
        counts = flat[self._voted].astype(np.float64)
        self._counts = np.concatenate((counts, np.bincount(self._their_asked, counts, len(self._asked))))
        self._log_factorials = _log_factorial(self._counts)

    def at(self, concentrations: NDArray) -> tuple[NDArray, NDArray]:
        """Concentrations, (galaxies, answers), where they matter, without and with the votes."""
        flat = concentrations.ravel()
        of_questions = np.bincount(self._asked_of_entry, flat[self._entries], len(self._asked))
        x = np.concatenate((flat[self._voted], of_questions))
        return x, x + self._counts

    def losses(self, at: tuple[NDArray, NDArray]) -> NDArray[np.float64]:
        """The loss of each question, in nats, (galaxies, questions); exactly 0 where nobody was asked."""
        x, x_plus_c = at
        value = gammaln(x_plus_c)
        value -= gammaln(x)
        value -= self._log_factorials
        answers = len(self._voted)
        loss = np.zeros(self._shape)
        of_answers = np.bincount(self._their_asked, value[:answers], len(self._asked))
        loss.reshape(-1)[self._asked] = value[answers:] - of_answers
        return loss

    def slopes(self, at: tuple[NDArray, NDArray], weights: NDArray | None, gradient: NDArray) -> NDArray:
        """The derivative of the losses, each times its weight, by the concentrations.

        Args:
            at: Where: see `at`.
            weights: (galaxies, questions); None weighs all alike.
            gradient: Zeros, (galaxies, answers), which are filled and returned.
        """
        x, x_plus_c = at
        slope = digamma(x_plus_c)
        slope -= digamma(x)
        of_answers, of_questions = slope[: len(self._voted)], slope[len(self._voted) :]
        if weights is not None:
            of_asked = weights.ravel()[self._asked]
            of_questions *= of_asked
            of_answers *= of_asked[self._their_asked]
        flat = gradient.reshape(-1)
        flat[self._entries] = of_questions[self._asked_of_entry]
        flat[self._voted] = of_questions[self._their_asked] - of_answers
        return gradient


class TreeHeadLoss:
    """The loss of a tree's head as a function of what its linear layer gives: see `head_optimum.HeadLoss`.

    Args:
        question_slices: Where each question's answers stand: `Schema.question_slices`.

    Example:
        >>> losses, slopes = TreeHeadLoss([slice(0, 2)])(np.zeros((1, 2)), np.array([[4.0, 0.0]]))
        >>> bool(slopes[0, 0] < 0 < slopes[0, 1])  # more concentration on the chosen answer fits better
        True
    """

    def __init__(self, question_slices: Sequence[slice]) -> None:
        self._tree = tree_of(question_slices)
        self._votes: NDArray | None = None

    def __call__(self, outputs: NDArray, votes: NDArray) -> tuple[NDArray, NDArray]:
        """Losses, (galaxies,), and their derivatives by the outputs, (galaxies, answers)."""
        if votes is not self._votes:  # a search asks again and again about the same galaxies
            self._votes, self._entries = votes, VotedEntries(votes, self._tree)
        share = expit(outputs)
        at = self._entries.at(defaults.CONCENTRATION_MIN + defaults.CONCENTRATION_RANGE * share)
        slopes = self._entries.slopes(at, None, np.zeros(outputs.shape))
        slopes *= defaults.CONCENTRATION_RANGE * share * (1 - share)
        return self._entries.losses(at).sum(axis=1), slopes


def _log_factorial(counts: NDArray) -> NDArray:
    """lnΓ(c + 1), looked up where all counts are whole and not many."""
    table = _log_factorials()
    if len(counts) and counts.max() < len(table):
        whole = counts.astype(np.intp)
        if (whole == counts).all():
            return table.take(whole)
    return gammaln(counts + 1)


@lru_cache(maxsize=1)
def _log_factorials() -> NDArray:
    return gammaln(np.arange(1.0, 1025.0))


def _entries_of(cells: NDArray, tree: Tree) -> tuple[NDArray, NDArray]:
    """Where the answers of some cells of a flattened (batch, questions) table stand in that of the answers.

    Returns:
        The entries of the flattened (batch, answers) table, and for each its cell's position among `cells`.
    """
    row, question = np.divmod(cells, len(tree.first))
    lengths = tree.length[question]
    shift = row * len(tree.question)
    shift += tree.first[question]
    shift += lengths
    shift -= lengths.cumsum()
    position = np.repeat(np.arange(len(cells)), lengths)
    entries = shift[position]
    entries += np.arange(len(position))
    return entries, position


@lru_cache(maxsize=8)
def _question_of_entry(tree: Tree, batch_size: int) -> NDArray:
    """The cell of a flattened (batch, questions) table for each entry of a flattened (batch, answers) one."""
    return (len(tree.first) * np.arange(batch_size)[:, None] + tree.question).ravel()


FloatArray = NDArray[np.float64]
ROWS_IN_MESSAGE = 5


def answer_question_index(question_slices: Sequence[slice]) -> NDArray[np.int64]:
    """The question that each answer belongs to, `(answers,)`: the segments of a vectorised likelihood.

    Raises:
        SchemaError: If the slices do not tile the answers: from 0, in order, without gap, overlap or step.

    Example:
        >>> answer_question_index([slice(0, 3), slice(3, 5)])
        array([0, 0, 0, 1, 1])
    """
    expected_start = 0
    for question, part in enumerate(question_slices):
        tiles = part.start == expected_start and part.stop is not None and part.stop > expected_start
        if not tiles or part.step not in (None, 1):
            raise SchemaError(
                f"question slices must follow each other from 0 without gap or overlap: expected "
                f"slice {question} to start at {expected_start} and hold an answer, got {part!r}"
            )
        expected_start = part.stop
    if expected_start == 0:
        raise SchemaError("question slices must hold at least one question, got none")
    sizes = [part.stop - part.start for part in question_slices]
    return np.repeat(np.arange(len(sizes)), sizes)


def dirichlet_multinomial_nll(
    concentrations: ArrayLike, votes: ArrayLike, question_slices: Sequence[slice]
) -> FloatArray:
    """The negative log-likelihood, in nats, of each question's votes: `(galaxies, questions)`.

    Args:
        concentrations: Concentrations, finite and above 0, `(galaxies, answers)`.
        votes: Votes, whole or weighted, `(galaxies, answers)`. A question with no votes, or NaN in all its
            answers, contributes exactly 0.
        question_slices: Where each question's answers stand, half-open: `Schema.question_slices`.

    Raises:
        SchemaError: If the slices do not tile the answers.
        LabelError: If shapes differ, a vote is negative or infinite, or a question is NaN in part.
        NonFiniteError: If a concentration is not finite and above 0; the message names rows.

    Example:
        >>> uniform = dirichlet_multinomial_nll([[1.0, 1.0]], [[3, 1]], [slice(0, 2)])
        >>> bool(np.isclose(uniform, np.log(5)))  # all five splits of four votes are as likely
        True
    """
    gammaln = _special().gammaln
    concentrations, votes = _checked(concentrations, votes, question_slices)
    total_votes = sum_by_question(votes, question_slices)
    total_concentrations = sum_by_question(concentrations, question_slices)
    per_answer = gammaln(concentrations + votes) - gammaln(concentrations) - gammaln(votes + 1)
    per_question = (
        gammaln(total_votes + 1) + gammaln(total_concentrations) - gammaln(total_concentrations + total_votes)
    )
    log_likelihood = per_question + sum_by_question(per_answer, question_slices)
    return np.where(total_votes > 0, -log_likelihood, 0.0)


def mixture_nll(concentrations: FloatArray, votes: ArrayLike, question_slices: Sequence[slice]) -> FloatArray:
    """The negative log-likelihood of each question's votes under an equal mixture: `(galaxies, questions)`.

    Each question is looked at by itself, though the questions of a mixture are not independent.

    Args:
        concentrations: Of each sample or model, `(samples, galaxies, answers)`.
        votes: As for `dirichlet_multinomial_nll`.
        question_slices: Likewise.

    Raises:
        SchemaError: As for `dirichlet_multinomial_nll`.
        LabelError: Likewise.
        NonFiniteError: Likewise.
    """
    each = np.stack([dirichlet_multinomial_nll(alpha, votes, question_slices) for alpha in concentrations])
    mixed: FloatArray = np.log(len(each)) - _special().logsumexp(-each, axis=0)
    return mixed


def dirichlet_multinomial_nll_gradient(
    concentrations: ArrayLike, votes: ArrayLike, question_slices: Sequence[slice]
) -> FloatArray:
    """The derivative of each galaxy's summed loss with respect to its concentrations: `(galaxies, answers)`.

    Exactly 0 for questions without votes.

    Args:
        concentrations: As for `dirichlet_multinomial_nll`, the loss that is differentiated.
        votes: Likewise.
        question_slices: Likewise.

    Raises:
        SchemaError: As for `dirichlet_multinomial_nll`.
        LabelError: Likewise.
        NonFiniteError: Likewise.

    Example:
        >>> gradient = dirichlet_multinomial_nll_gradient([[2.0, 2.0]], [[4, 0]], [slice(0, 2)])
        >>> bool(gradient[0, 0] < 0 < gradient[0, 1])  # more concentration on the chosen answer fits better
        True
    """
    digamma = _special().digamma
    concentrations, votes = _checked(concentrations, votes, question_slices)
    total_votes = sum_by_question(votes, question_slices)
    total_concentrations = sum_by_question(concentrations, question_slices)
    index = answer_question_index(question_slices)
    per_question = digamma(total_concentrations + total_votes) - digamma(total_concentrations)
    per_answer = digamma(concentrations + votes) - digamma(concentrations)
    return np.where(total_votes[:, index] > 0, per_question[:, index] - per_answer, 0.0)


def _checked(
    concentrations: ArrayLike, votes: ArrayLike, question_slices: Sequence[slice]
) -> tuple[FloatArray, FloatArray]:
    """Both arrays as float64, missing votes as 0."""
    answer_question_index(question_slices)  # refuses slices that do not tile the answers
    votes = np.nan_to_num(check_vote_array(votes, question_slices))
    concentrations = np.asarray(concentrations, dtype=np.float64)
    if concentrations.shape != votes.shape:
        msg = f"concentrations must have the shape of the votes, {votes.shape}, got {concentrations.shape}"
        raise LabelError(msg)
    bad = ~(np.isfinite(concentrations) & (concentrations > 0))
    if bad.any():
        rows = np.flatnonzero(bad.any(axis=1))
        raise NonFiniteError(
            f"concentrations must be finite and above 0, got {concentrations[bad][0]} (first of {bad.sum()}) "
            f"in {len(rows)} rows, such as {rows[:ROWS_IN_MESSAGE].tolist()}; look for NaN pixels or a "
            "diverged training run"
        )
    return concentrations, votes


def _special() -> Any:
    try:
        from scipy import special
    except ImportError as error:
        raise MissingPackageError("the reference likelihood needs SciPy: pip install scipy") from error
    return special
