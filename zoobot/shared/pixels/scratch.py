"""Memory that a thread uses again and again, instead of asking the system for it at every image."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["borrow"]

_KEPT_BYTES = 2**24
"""Larger arrays are not kept: they are rare, and asking for them costs little beside filling them."""

_kept = threading.local()


def borrow(purpose: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """An array with arbitrary content, whose memory is that of this thread's last array for the same purpose.

    An image's temporary arrays are so large that the C library gives them back to the system when they are
    freed, which then clears the same pages for the next image: that costs more than the work done in them.

    Args:
        purpose: Names the memory. What was borrowed for it before is overwritten.
        shape: Shape of the array.
        dtype: Its type.

    Example:
        >>> borrow("an example", (2, 3), np.uint8).shape
        (2, 3)
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > _KEPT_BYTES:
        return np.empty(shape, dtype)
    memory = getattr(_kept, purpose, None)
    if memory is None or memory.size < size:
        memory = np.empty(size, np.uint8)
        setattr(_kept, purpose, memory)
    return memory[:size].view(dtype).reshape(shape)
