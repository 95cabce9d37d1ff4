"""The vote loss on a CPU for PyTorch: NumPy's, with its derivative written out.

Through torch's own operations, of which it takes some forty on small arrays, the same takes a third (batches
of 512) to a half (of 64) longer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoobot.shared.voted_entries import Tree, VotedEntries

__all__ = ["VotedLoss"]


class VotedLoss(torch.autograd.Function):
    """`VotedLoss.apply(concentrations, votes, tree)`: each question's loss, (batch, questions).

    It is in the type of the concentrations, at least float32. Numbers that are not finite make a loss that is
    not, of their galaxy alone; whoever trains tells of it.
    """

    @staticmethod
    @np.errstate(all="ignore")
    def forward(ctx: Any, concentrations: Tensor, votes: Tensor, tree: Tree) -> Tensor:
        """The loss, and for the way back where its entries stand."""
        entries = VotedEntries(_array(votes), tree)
        at = entries.at(_array(concentrations))
        ctx.kept = entries, at
        ctx.shape, ctx.dtype = concentrations.shape, concentrations.dtype
        return torch.from_numpy(entries.losses(at)).to(
            torch.promote_types(concentrations.dtype, torch.float32)
        )

    @staticmethod
    @torch.autograd.function.once_differentiable
    @np.errstate(all="ignore")
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None, None]:
        """The gradient by the concentrations, in their type."""
        entries, at = ctx.kept
        gradient = np.zeros(ctx.shape, np.float64 if ctx.dtype == torch.float64 else np.float32)
        entries.slopes(at, _array(grad_loss), gradient)
        return torch.from_numpy(gradient).to(ctx.dtype), None, None


def _array(values: Tensor) -> NDArray:
    """The same memory, but for bfloat16, which NumPy does not know."""
    return (values.float() if values.dtype == torch.bfloat16 else values.detach()).numpy()
