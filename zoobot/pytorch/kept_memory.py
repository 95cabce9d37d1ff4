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
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = -1
#: What glibc begins with; the first is the largest value that it would choose by itself.
_USUAL_TRIM_BYTES, _USUAL_MMAPS = 2**26, 65_536

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
                libc.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM_BYTES)
                libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, if it is one that can be told."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
