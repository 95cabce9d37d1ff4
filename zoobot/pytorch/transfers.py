"""Batches on their way to a device, and results on their way back, without waiting for either."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

__all__ = ["pinned_for", "to_device", "to_host", "to_numpy"]


def to_device(images: np.ndarray, device: torch.device) -> Tensor:
    """Images on their way to a device; from pinned memory nobody waits for the copy."""
    tensor = pinned_for(device, torch.from_numpy(images))
    return tensor.to(device, non_blocking=tensor.is_pinned()) if device.type != "cpu" else tensor


def pinned_for(device: torch.device, tensor: Tensor) -> Tensor:
    """A tensor in memory from which a GPU copies while others work; as it is for any other device."""
    return tensor.pin_memory() if device.type == "cuda" else tensor


def to_host(results: Tensor) -> Callable[[], np.ndarray]:
    """Results on their way back; what is returned waits for them, and not for work that came later."""
    if results.device.type != "cuda":
        return lambda: to_numpy(results)
    copied = results.to("cpu", non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()

    def fetch() -> np.ndarray:
        arrived.synchronize()
        return copied.numpy()

    return fetch


def to_numpy(results: Tensor) -> np.ndarray:
    """Results, once they are there."""
    return results.cpu().numpy()
