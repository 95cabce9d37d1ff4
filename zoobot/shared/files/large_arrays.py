"""Arrays that may be larger than memory: then they lie in a temporary file, which the system deletes."""

from __future__ import annotations

import math
import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["large_array"]

_BYTES_IN_MEMORY = 2**30


def large_array(shape: tuple[int, ...], dtype: Any, folder: str | None = None) -> NDArray:
    """Zeros, in memory up to a gigabyte, else in a memory-mapped temporary file.

    Args:
        shape: Shape of the array.
        dtype: Its type.
        folder: Where the file lies; None is the system's folder for temporary files.

    Raises:
        OSError: If the disk has no room for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= _BYTES_IN_MEMORY:
        return np.zeros(shape, dtype)
    folder = tempfile.gettempdir() if folder is None else folder
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(prefix="zoobot-features-", dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # a disk that fills up later would kill the process
            os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype, "w+", shape=shape)
