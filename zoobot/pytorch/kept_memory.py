"""Keep the memory that layers give back, for the next ones, instead of asking the system for it every time.

On a CPU, PyTorch takes the output of each layer from `malloc`, and glibc's hands large blocks straight back
to the system, which has to clear every page of the next one: half of the time of a small network, or more.
PyTorch's performance tuning guide suggests another allocator, such as jemalloc, which has to be in place
before a process begins; to tell glibc to keep the blocks does the same, for as long as is wanted.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["kept_memory"]

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
