"""The Dirichlet-multinomial loss of volunteers' votes, for all questions at once.

Written with one function, the log of a generalised binomial coefficient,

    v(x, c) = ln C(x + c − 1, c) = lnΓ(x + c) − lnΓ(x) − lnΓ(c + 1),    v(x, 0) = 0,

a question with concentrations a (sum A) and votes k (sum N) has the loss v(A, N) − Σ v(a, k).
Answers without votes and questions nobody was asked add nothing, so only the others need log-gamma: a tenth
of the table in a survey of many campaigns. The reference is `zoobot.shared.likelihood`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoobot.shared.likelihood import answer_question_index
from zoobot.shared.training.loss_checks import check_votes_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["dirichlet_multinomial_nll"]


def dirichlet_multinomial_nll(
    concentrations: Tensor, votes: Tensor, question_slices: Sequence[slice]
) -> Tensor:
    """Negative log-likelihood of the votes for each question, in nats: (batch, questions).

    The sums are taken in float64 (except on devices without it), since differences of log-gamma lose digits
    in float32 as votes grow. The values of the votes are not checked: `zoobot.shared.votes.check_votes` does
    that once, before training.

    Args:
        concentrations: Dirichlet concentrations, above 0, (batch, answers), of any floating type.
        votes: Votes for each answer, whole or weighted, (batch, answers). A question whose votes are all 0 or
            NaN was not asked: it contributes exactly 0, to the loss and to its gradient.
        question_slices: Where each question's answers stand, half-open, in order: `Schema.question_slices`.

    Returns:
        The loss, not reduced, (batch, questions), in the type of `concentrations`, at least float32.

    Raises:
        SchemaError: If the slices overlap, leave a gap, or do not begin at 0.
        LabelError: If the shapes do not fit each other or the slices.

    Example:
        >>> votes = torch.tensor([[3.0, 1.0]])
        >>> uniform = dirichlet_multinomial_nll(torch.ones(1, 2), votes, [slice(0, 2)])
        >>> bool(torch.isclose(uniform, torch.tensor(5.0).log()))  # five splits of four votes, all as likely
        True

    References:
        Walmsley et al. 2022, MNRAS 509, 3966.
    """
    tiles = tuple((part.start, part.stop, part.step) for part in question_slices)
    num_answers = len(_question_of_answer(tiles))
    check_votes_shape(tuple(concentrations.shape), tuple(votes.shape), num_answers)
    if concentrations.device.type == "cpu":
        loss = _VotedLoss.apply(concentrations, votes, _question_of_entry(tiles, len(votes)), len(tiles))
    else:
        loss = _dense_loss(concentrations, votes, _membership(tiles, concentrations.device))
    return loss.to(torch.promote_types(concentrations.dtype, torch.float32))


class _VotedLoss(torch.autograd.Function):
    """The loss from the entries that have votes; finding them is cheap on a CPU and a stall on a GPU.

    The derivative is written out (v' is a difference of digammas) because autograd's own, through gathers and
    sums, takes a third longer.
    """

    @staticmethod
    def forward(
        ctx: Any, concentrations: Tensor, votes: Tensor, question: Tensor, num_questions: int
    ) -> Tensor:
        flat, flat_votes = concentrations.reshape(-1).double(), votes.reshape(-1)
        num_cells = len(votes) * num_questions
        # NumPy's comparison and search take a quarter of the time of torch's
        voted = torch.from_numpy(np.flatnonzero(_to_numpy(flat_votes) > 0))
        voted_question = question.index_select(0, voted)
        counts = flat_votes.index_select(0, voted).double()
        totals = _sum_into(num_cells, voted_question, counts)
        asked = torch.from_numpy(np.flatnonzero(totals.numpy() > 0))
        concentration_sums = _sum_into(num_cells, question, flat)

        x = torch.cat((flat.index_select(0, voted), concentration_sums.index_select(0, asked)))
        c = torch.cat((counts, totals.index_select(0, asked)))
        of_answers, of_questions = _log_coefficient_on_cpu(x, c).split((len(voted), len(asked)))
        loss = _sum_into(num_cells, voted_question, -of_answers)
        loss.index_add_(0, asked, of_questions)
        ctx.save_for_backward(x, c, voted, voted_question, asked, question)
        ctx.shape, ctx.dtype, ctx.num_cells = concentrations.shape, concentrations.dtype, num_cells
        return loss.view(len(votes), num_questions)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None, None, None]:
        x, c, voted, voted_question, asked, question = ctx.saved_tensors
        of_answers, of_questions = (torch.digamma(x + c) - torch.digamma(x)).split((len(voted), len(asked)))
        grad_loss = grad_loss.reshape(-1)
        of_answers = of_answers * grad_loss.index_select(0, voted_question)
        by_question = _sum_into(ctx.num_cells, asked, of_questions * grad_loss.index_select(0, asked))
        # what has no votes gets only rounded values, in the type of the result
        gradient = by_question.to(ctx.dtype).index_select(0, question)
        at_voted = (by_question.index_select(0, voted_question) - of_answers).to(ctx.dtype)
        gradient.scatter_(0, voted, at_voted)
        return gradient.view(ctx.shape), None, None, None


def _dense_loss(concentrations: Tensor, votes: Tensor, membership: Tensor) -> Tensor:
    """The same loss with every entry computed, so that the shapes do not depend on the votes."""
    counts = torch.where(votes > 0, votes, 0).to(membership.dtype)
    concentrations = concentrations.to(membership.dtype)
    of_questions = _log_coefficient(concentrations @ membership, counts @ membership)
    return of_questions - _log_coefficient(concentrations, counts) @ membership


def _log_coefficient(x: Tensor, c: Tensor) -> Tensor:
    """v(x, c) of the module's docstring."""
    return torch.lgamma(x + c) - torch.lgamma(x) - torch.lgamma(c + 1)


def _log_coefficient_on_cpu(x: Tensor, c: Tensor) -> Tensor:
    """The same by SciPy's log-gamma, which takes two thirds of the time of torch's on one core."""
    from scipy.special import gammaln

    log_gamma_sum, log_gamma_x = torch.from_numpy(gammaln(torch.stack((x + c, x)).numpy()))
    return log_gamma_sum - log_gamma_x - _log_factorial(c)


def _log_factorial(counts: Tensor) -> Tensor:
    """lnΓ(c + 1) on a CPU, looked up where all counts are whole and not many."""
    table = _log_factorials()
    if len(counts) and counts.max() < len(table):
        whole = counts.numpy().astype(np.int32)
        if np.array_equal(whole, counts.numpy()):
            return torch.from_numpy(table[whole])
    return torch.lgamma(counts + 1)


@lru_cache(maxsize=1)
def _log_factorials() -> np.ndarray:
    return torch.lgamma(torch.arange(1, 1025, dtype=torch.float64)).numpy()


def _to_numpy(votes: Tensor) -> np.ndarray:
    """The same memory, but for bfloat16, which NumPy does not know."""
    return (votes.float() if votes.dtype == torch.bfloat16 else votes.detach()).numpy()


def _sum_into(num_cells: int, cell: Tensor, values: Tensor) -> Tensor:
    """The sums of the values that share a cell, (cells,)."""
    return values.new_zeros(num_cells).scatter_add_(0, cell, values)


@lru_cache(maxsize=32)
def _question_of_answer(tiles: tuple[tuple[int, int, int | None], ...]) -> Tensor:
    """The question of each answer, (answers,)."""
    return torch.from_numpy(answer_question_index([slice(*tile) for tile in tiles]))


@lru_cache(maxsize=8)
def _question_of_entry(tiles: tuple[tuple[int, int, int | None], ...], batch_size: int) -> Tensor:
    """The cell of a flattened (batch, questions) table for each entry of a (batch, answers) one."""
    rows = len(tiles) * torch.arange(batch_size)
    return (rows[:, None] + _question_of_answer(tiles)).reshape(-1)


@lru_cache(maxsize=8)
def _membership(tiles: tuple[tuple[int, int, int | None], ...], device: torch.device) -> Tensor:
    """1 where an answer belongs to a question, else 0: (answers, questions), in the device's longest type."""
    longest = torch.float32 if device.type == "mps" else torch.float64
    return torch.nn.functional.one_hot(_question_of_answer(tiles), len(tiles)).to(device, longest)
