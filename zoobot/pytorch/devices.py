"""Where a PyTorch model computes, outside training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from zoobot.pytorch.kept_memory import kept_memory

__all__ = ["best_device", "ready_on", "true_float32"]


def best_device() -> torch.device:
    """A GPU, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def ready_on(device: torch.device, model: nn.Module) -> Iterator[None]:
    """Have a model predict on a device for a while, then leave it as and where it was.

    Where no mixed precision is asked for, float32 is float32 on every device.
    """
    home, was_training = next(model.parameters()).device, model.training
    model.to(device).eval()
    try:
        with kept_memory(), true_float32():
            yield
    finally:
        model.to(home).train(was_training)


@contextmanager
def true_float32() -> Iterator[None]:
    """Have a GPU's convolutions compute float32 in float32 for a while, not in the 10 bits of TF32.

    PyTorch allows them TF32 unless told otherwise, though not the products of matrices: predictions would
    differ from a CPU's in the third digit, and compiled ones would seem to differ from plain ones.
    """
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
