"""Where a PyTorch model computes, and how batches get there and results come back."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from zoobot.shared.predicting.members import Start


# Keep the memory that layers give back, for the next ones, instead of asking the system for it every time.
#
# On a CPU, PyTorch takes the output of each layer from `malloc`, and glibc's hands large blocks straight back
# to the system, which has to clear every page of the next one: half of the time of a small network, or more.
# PyTorch's performance tuning guide suggests another allocator, such as jemalloc, which has to be in place
# before a process begins; to tell glibc to keep the blocks does the same, for as long as is wanted.

# of glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = -1
#: The largest that glibc would choose by itself, which it no longer does once it was told anything.
_LARGEST_TRIM_BYTES, _LARGEST_MMAP_BYTES = 2**26, 2**25
_USUAL_MMAPS = 65_536

_lock = Lock()
_users = 0


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the process keep freed memory for a while, and give it back at the end; only glibc is told."""
    global _users  # noqa: PLW0603  there is one heap
    libc = _glibc()
    if libc is None:
        yield
        return
    with _lock:
        _users += 1
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                libc.mallopt(_MMAP_MAX, _USUAL_MMAPS)
                libc.mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_BYTES)
                libc.mallopt(_TRIM_THRESHOLD, _LARGEST_TRIM_BYTES)
                libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, if it is one that can be told."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


# Batches on their way to a device, and results on their way back, without waiting for either.


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


def best_device() -> torch.device:
    """A GPU, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class BestDevice:
    """Where PyTorch computes in a run over a catalog: a `Device` of `zoobot.shared.predicting.run`."""

    engine = "pytorch"

    def __init__(self) -> None:
        self.device = best_device()
        self.on_gpu = self.device.type != "cpu"

    def ready(self, model: nn.Module) -> AbstractContextManager[None]:
        """Have a model compute there for a while."""
        return ready_on(self.device, model)

    def start(self, compute: Callable[[Tensor, int], Tensor]) -> Start:
        """What has a batch computed without waiting for the device."""

        def start(images: np.ndarray, remaining: int) -> Callable[[], np.ndarray]:
            return to_host(compute(to_device(images, self.device), remaining))

        return start


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
