"""Where a PyTorch model computes, outside training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from zoobot.pytorch.kept_memory import kept_memory

__all__ = ["best_device", "ready_on"]


def best_device() -> torch.device:
    """A GPU, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def ready_on(device: torch.device, model: nn.Module) -> Iterator[None]:
    """Have a model predict on a device for a while, then leave it as and where it was."""
    home, was_training = next(model.parameters()).device, model.training
    model.to(device).eval()
    try:
        with kept_memory():
            yield
    finally:
        model.to(home).train(was_training)
