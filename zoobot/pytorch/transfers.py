"""Batches on their way to a device, and results on their way back, without waiting for either."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

__all__ = ["to_device", "to_host", "to_numpy"]


def to_device(images: np.ndarray, device: torch.device) -> Tensor:
    """Images on their way to a device; from pinned memory nobody waits for the copy."""
    tensor = torch.from_numpy(images)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


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
