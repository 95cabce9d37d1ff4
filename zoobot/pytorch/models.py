"""Models that are trained whole, to answer every question of one or many campaigns."""

from __future__ import annotations

from torch import Tensor, nn

from zoobot.pytorch.finetune import FinetuneableZoobotTree
from zoobot.shared.recipes import WholeTreeRecipe

__all__ = ["ZoobotTree"]


class ZoobotTree(WholeTreeRecipe[nn.Module, Tensor], FinetuneableZoobotTree):  # type: ignore[misc]
    """An encoder and a Dirichlet head that learn together, to answer as volunteers do: `WholeTreeRecipe`.

    Example:
        >>> ZoobotTree(schema="gz_decals_dr5", name="resnet18").settings.n_blocks
        'all'
    """
