"""The vote loss on a CPU, from nothing but the answers that have votes and the questions that were asked.

In NumPy, and with its derivative written out: through torch's own operations, of which it takes some forty on
small arrays, the same takes a quarter (batches of 512) to a third (of 64) longer.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoobot.shared.likelihood import answer_question_index

__all__ = ["Tiles", "VotedLoss", "question_of_answer"]

#: Start, stop and step of each question's slice: slices that a cache takes for a key.
Tiles = tuple[tuple[int, int, int | None], ...]


class VotedLoss(torch.autograd.Function):
    """`VotedLoss.apply(concentrations, votes, tiles)`: each question's loss, (batch, questions).

    It is in the type of the concentrations, at least float32. Numbers that are not finite make a loss that is
    not, of their galaxy alone; whoever trains tells of it.
    """

    @staticmethod
    @np.errstate(all="ignore")
    def forward(ctx: Any, concentrations: Tensor, votes: Tensor, tiles: Tiles) -> Tensor:
        """The loss, and for the way back where its entries stand."""
        flat, flat_votes = _flat_array(concentrations), _flat_array(votes)
        voted = np.flatnonzero(flat_votes > 0)
        cells = _question_of_entry(tiles, len(votes))[voted]
        begins = np.ones(len(cells), dtype=bool)
        np.not_equal(cells[1:], cells[:-1], out=begins[1:])
        asked, their_asked = cells[np.flatnonzero(begins)], begins.cumsum() - 1
        entries, asked_of_entry = _entries_of(asked, tiles)

        counts = flat_votes[voted].astype(np.float64)
        c = np.concatenate((counts, np.bincount(their_asked, counts, len(asked))))
        x = np.concatenate((flat[voted], np.bincount(asked_of_entry, flat[entries], len(asked))))
        x_plus_c = x + c
        of_answers, of_questions = np.split(_log_coefficient(x, x_plus_c, c), [len(voted)])
        loss = np.zeros(len(votes) * len(tiles))
        loss[asked] = of_questions - np.bincount(their_asked, of_answers, len(asked))
        ctx.kept = x, x_plus_c, voted, their_asked, asked, entries, asked_of_entry
        ctx.shape, ctx.dtype = concentrations.shape, concentrations.dtype
        dtype = torch.promote_types(concentrations.dtype, torch.float32)
        return torch.from_numpy(loss).view(len(votes), len(tiles)).to(dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    @np.errstate(all="ignore")
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None, None]:
        """The gradient by the concentrations, in their type."""
        x, x_plus_c, voted, their_asked, asked, entries, asked_of_entry = ctx.kept
        of_answers, of_questions = np.split(_digamma(x_plus_c) - _digamma(x), [len(voted)])
        weights = _flat_array(grad_loss)[asked]
        of_questions *= weights
        gradient = np.zeros(ctx.shape.numel(), np.float64 if ctx.dtype == torch.float64 else np.float32)
        gradient[entries] = of_questions[asked_of_entry]
        gradient[voted] = of_questions[their_asked] - of_answers * weights[their_asked]
        return torch.from_numpy(gradient).view(ctx.shape).to(ctx.dtype), None, None


def _log_coefficient(x: NDArray, x_plus_c: NDArray, c: NDArray) -> NDArray:
    """lnΓ(x + c) − lnΓ(x) − lnΓ(c + 1), by SciPy, whose log-gamma takes two thirds of the time of torch's."""
    from scipy.special import gammaln

    value = gammaln(x_plus_c)
    value -= gammaln(x)
    value -= _log_factorial(c)
    return value


def _digamma(x: NDArray) -> NDArray:
    """By torch, a little faster than SciPy's."""
    return torch.digamma(torch.from_numpy(x)).numpy()


def _log_factorial(counts: NDArray) -> NDArray:
    """lnΓ(c + 1), looked up where all counts are whole and not many."""
    from scipy.special import gammaln

    table = _log_factorials()
    if len(counts) and counts.max() < len(table):
        whole = counts.astype(np.int64)
        if np.array_equal(whole, counts):
            return table[whole]
    return gammaln(counts + 1)


@lru_cache(maxsize=1)
def _log_factorials() -> NDArray:
    from scipy.special import gammaln

    return gammaln(np.arange(1.0, 1025.0))


def _flat_array(values: Tensor) -> NDArray:
    """The same memory, but for bfloat16, which NumPy does not know."""
    return (values.float() if values.dtype == torch.bfloat16 else values.detach()).numpy().ravel()


def _entries_of(cells: NDArray, tiles: Tiles) -> tuple[NDArray, NDArray]:
    """Where the answers of some cells of a flattened (batch, questions) table stand in that of the answers.

    Returns:
        The entries of the flattened (batch, answers) table, and for each its cell's position among `cells`.
    """
    first = np.array([start for start, _, _ in tiles])
    length = np.array([stop for _, stop, _ in tiles]) - first
    row, question = np.divmod(cells, len(tiles))
    lengths = length[question]
    shift = row * length.sum() + first[question] + lengths - lengths.cumsum()
    position = np.repeat(np.arange(len(cells)), lengths)
    return shift[position] + np.arange(len(position)), position


@lru_cache(maxsize=32)
def question_of_answer(tiles: Tiles) -> NDArray:
    """The question of each answer, (answers,)."""
    return answer_question_index([slice(*tile) for tile in tiles])


@lru_cache(maxsize=8)
def _question_of_entry(tiles: Tiles, batch_size: int) -> NDArray:
    """The cell of a flattened (batch, questions) table for each entry of a flattened (batch, answers) one."""
    return (len(tiles) * np.arange(batch_size)[:, None] + question_of_answer(tiles)).ravel()
