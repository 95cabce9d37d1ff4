"""The Dirichlet-multinomial loss of volunteers' votes, for all questions at once.

Written with one function, the log of a generalised binomial coefficient,

    v(x, c) = ln C(x + c − 1, c) = lnΓ(x + c) − lnΓ(x) − lnΓ(c + 1),    v(x, 0) = 0,

a question with concentrations a (sum A) and votes k (sum N) has the loss v(A, N) − Σ v(a, k).
Answers without votes and questions nobody was asked add nothing, so only the others need log-gamma: a tenth
of the table in a survey of many campaigns. The reference is `zoobot.shared.likelihood`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoobot.pytorch.voted_loss import VotedLoss
from zoobot.shared.training.loss_checks import check_votes_shape
from zoobot.shared.voted_entries import Tree, tree_of

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
    tree = tree_of(question_slices)
    check_votes_shape(tuple(concentrations.shape), tuple(votes.shape), len(tree.question))
    if concentrations.device.type == "cpu":
        # to find the entries that have votes is cheap on a CPU, and a stall elsewhere
        return VotedLoss.apply(concentrations, votes, tree)
    loss = _dense_loss(concentrations, votes, _membership(tree, concentrations.device))
    return loss.to(torch.promote_types(concentrations.dtype, torch.float32))


def _dense_loss(concentrations: Tensor, votes: Tensor, membership: Tensor) -> Tensor:
    """The same loss with every entry computed, so that the shapes do not depend on the votes."""
    counts = torch.where(votes > 0, votes, 0).to(membership.dtype)
    concentrations = concentrations.to(membership.dtype)
    of_questions = _log_coefficient(concentrations @ membership, counts @ membership)
    return of_questions - _log_coefficient(concentrations, counts) @ membership


def _log_coefficient(x: Tensor, c: Tensor) -> Tensor:
    """v(x, c) of the module's docstring."""
    return torch.lgamma(x + c) - torch.lgamma(x) - torch.lgamma(c + 1)


@lru_cache(maxsize=8)
def _membership(tree: Tree, device: torch.device) -> Tensor:
    """1 where an answer belongs to a question, else 0: (answers, questions), in the device's longest type."""
    longest = torch.float32 if device.type == "mps" else torch.float64
    return torch.nn.functional.one_hot(torch.from_numpy(tree.question), len(tree.first)).to(device, longest)
