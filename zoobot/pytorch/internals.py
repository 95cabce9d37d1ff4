"""What this engine needs of torch and Lightning that they don't promise to keep, each behind one function.

When an update of theirs breaks one, `tests/engines/test_private_apis.py` says what the function must do.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn


def go_on_with_validation(checkpoint: dict[str, Any]) -> None:
    """Have a run that is saved after the last batch of an epoch go on with the epoch's validation.

    By itself, Lightning would take a run that was saved there for one that has validated.

    Args:
        checkpoint: As Lightning is about to write it; other checkpoints stay as they are.
    """
    loops = checkpoint["loops"]["fit_loop"]
    epochs, batches = loops["epoch_progress"]["current"], loops["epoch_loop.batch_progress"]
    if epochs["processed"] == epochs["started"] or not batches["is_last_batch"]:
        return
    for counts in (batches["total"], batches["current"]):
        counts["completed"] = counts["processed"]
    validation = loops["epoch_loop.val_loop.batch_progress"]
    for counts in (validation["total"], validation["current"]):
        counts |= {"ready": 1, "started": 1, "processed": 0, "completed": 0}


def act_as_first_process() -> None:
    """Have Lightning log and write in this process, whatever the number of its SLURM task tells it."""
    rank_zero_only.rank = 0  # type: ignore[attr-defined]


def trainer_of(model: pl.LightningModule) -> pl.Trainer | None:
    """What fits a model at this moment; None where nothing does, and Lightning's own word for it raises."""
    return model._trainer


def follow(averages: list[Tensor], live: list[Tensor], share: float) -> None:
    """Move each average by a share of the way to its tensor, all of them in a few kernels of a GPU."""
    torch._foreach_lerp_(averages, live, share)


def twin_of(module: nn.Module, part_for: Callable[[str, nn.Module], nn.Module]) -> Any:
    """What computes as a module does with other parts, and has its parameters that learn, no others.

    Args:
        module: Stays as it is; other attributes are shared.
        part_for: From the name of one of its parts, and that part, to the twin's.
    """
    twin: Any = copy.copy(module)
    own, parts = module._parameters, module._modules
    twin._parameters = {name: p if p is not None and p.requires_grad else None for name, p in own.items()}
    twin._modules = {name: part if part is None else part_for(name, part) for name, part in parts.items()}
    return twin


def built_with(module: nn.Module) -> dict[str, Any]:
    """What timm was told to build a model with; nothing of a module that is not timm's."""
    return dict(getattr(module, "_model_args", {}))
