"""What enters a block of a network: the network runs up to there, and no further."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoobot.shared.training.blocks import Block

__all__ = ["activations_into", "first_module"]


def first_module(model: nn.Module, block: Block) -> Any:
    """The module that a block begins with."""
    is_path = any(name == block.name for name, _ in model.named_modules())
    return model.get_submodule(block.name if is_path else block.parameters[0].rpartition(".")[0])


@torch.no_grad()
def activations_into(module: nn.Module, model: nn.Module, images: Tensor) -> Tensor | None:
    """What enters a module of a model, (batch, …), from the model's input; None if nothing does."""
    taken = module.register_forward_pre_hook(_stop_with_input)
    try:
        model(images)
    except _Reached as reached:
        return reached.activations
    finally:
        taken.remove()
    return None


class _Reached(Exception):  # noqa: N818 - it is no error: what is above need not run
    def __init__(self, activations: Tensor) -> None:
        super().__init__()
        self.activations = activations


def _stop_with_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    raise _Reached(inputs[0])
