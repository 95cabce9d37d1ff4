"""The vote loss on a CPU, from nothing but the answers that have votes and the questions that were asked.

In NumPy, and with its derivative written out: through torch's own operations, of which it takes some forty on
small arrays, the same takes a third (batches of 512) to a half (of 64) longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoobot.shared.likelihood import answer_question_index

__all__ = ["Tree", "VotedLoss", "tree_of"]


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


class VotedLoss(torch.autograd.Function):
    """`VotedLoss.apply(concentrations, votes, tree)`: each question's loss, (batch, questions).

    It is in the type of the concentrations, at least float32. Numbers that are not finite make a loss that is
    not, of their galaxy alone; whoever trains tells of it.
    """

    @staticmethod
    @np.errstate(all="ignore")
    def forward(ctx: Any, concentrations: Tensor, votes: Tensor, tree: Tree) -> Tensor:
        """The loss, and for the way back where its entries stand."""
        flat, flat_votes = _flat_array(concentrations), _flat_array(votes)
        voted = np.flatnonzero(flat_votes > 0)
        cells = _question_of_entry(tree, len(votes))[voted]
        begins = np.ones(len(cells), dtype=bool)
        np.not_equal(cells[1:], cells[:-1], out=begins[1:])
        asked, their_asked = cells[np.flatnonzero(begins)], begins.cumsum()
        their_asked -= 1
        entries, asked_of_entry = _entries_of(asked, tree)

        counts = flat_votes[voted].astype(np.float64)
        c = np.concatenate((counts, np.bincount(their_asked, counts, len(asked))))
        x = np.concatenate((flat[voted], np.bincount(asked_of_entry, flat[entries], len(asked))))
        x_plus_c = x + c
        value, answers = _log_coefficient(x, x_plus_c, c), len(voted)
        loss = np.zeros((len(votes), len(tree.first)))
        loss.reshape(-1)[asked] = value[answers:] - np.bincount(their_asked, value[:answers], len(asked))
        ctx.kept = x, x_plus_c, voted, their_asked, asked, entries, asked_of_entry
        ctx.shape, ctx.dtype = concentrations.shape, concentrations.dtype
        return torch.from_numpy(loss).to(torch.promote_types(concentrations.dtype, torch.float32))

    @staticmethod
    @torch.autograd.function.once_differentiable
    @np.errstate(all="ignore")
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None, None]:
        """The gradient by the concentrations, in their type."""
        x, x_plus_c, voted, their_asked, asked, entries, asked_of_entry = ctx.kept
        slope = _digamma(x_plus_c)
        slope -= _digamma(x)
        of_answers, of_questions = slope[: len(voted)], slope[len(voted) :]
        weights = _flat_array(grad_loss)[asked]
        of_questions *= weights
        of_answers *= weights[their_asked]
        gradient = np.zeros(ctx.shape, np.float64 if ctx.dtype == torch.float64 else np.float32)
        flat = gradient.reshape(-1)
        flat[entries] = of_questions[asked_of_entry]
        flat[voted] = of_questions[their_asked] - of_answers
        return torch.from_numpy(gradient).to(ctx.dtype), None, None


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
        whole = counts.astype(np.intp)
        if (whole == counts).all():
            return table.take(whole)
    return gammaln(counts + 1)


@lru_cache(maxsize=1)
def _log_factorials() -> NDArray:
    from scipy.special import gammaln

    return gammaln(np.arange(1.0, 1025.0))


def _flat_array(values: Tensor) -> NDArray:
    """The same memory, but for bfloat16, which NumPy does not know."""
    return (values.float() if values.dtype == torch.bfloat16 else values.detach()).numpy().ravel()


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
