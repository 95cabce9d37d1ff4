"""The Dirichlet-multinomial likelihood of votes, in NumPy and float64: the reference both engines must meet.

For one question, with concentrations a (sum A) and votes k (sum N),

    log p(k | a) = lnΓ(N+1) − Σ lnΓ(k+1) + lnΓ(A) − lnΓ(A+N) + Σ [lnΓ(a+k) − lnΓ(a)]

Γ extends the multinomial coefficient to votes that are weights rather than counts. With no votes every term
is exactly 0.

References:
    Walmsley et al. 2022, MNRAS 509, 3966: one such likelihood for each question, added up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoobot.shared.errors import LabelError, MissingPackageError, NonFiniteError, SchemaError
from zoobot.shared.votes import check_vote_array, sum_by_question

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "answer_question_index",
    "dirichlet_multinomial_nll",
    "dirichlet_multinomial_nll_gradient",
    "mixture_nll",
]

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
            msg = (
                f"question slices must follow each other from 0 without gap or overlap: expected "
                f"slice {question} to start at {expected_start} and hold an answer, got {part!r}"
            )
            raise SchemaError(msg)
        expected_start = part.stop
    if expected_start == 0:
        msg = "question slices must hold at least one question, got none"
        raise SchemaError(msg)
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
        msg = (
            f"concentrations must be finite and above 0, got {concentrations[bad][0]} (first of {bad.sum()}) "
            f"in {len(rows)} rows, such as {rows[:ROWS_IN_MESSAGE].tolist()}; look for NaN pixels or a "
            "diverged training run"
        )
        raise NonFiniteError(msg)
    return concentrations, votes


def _special() -> Any:
    try:
        from scipy import special
    except ImportError as error:
        msg = "the reference likelihood needs SciPy: pip install scipy"
        raise MissingPackageError(msg) from error
    return special
