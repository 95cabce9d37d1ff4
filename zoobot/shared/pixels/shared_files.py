"""Files that many threads read at once, few of them open at a time; and the cache of what was used last."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

K = TypeVar("K")
V = TypeVar("V")

_MOST_OPEN = 64
"""Far below the 256 that some systems allow, whatever else is open."""


class _Handle:
    """An open file that closes itself when nobody holds it any more, so in no one's hands."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.lock = threading.Lock()

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)

    def read(self, size: int, offset: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self.number, size, offset)
        with self.lock:  # Windows reads from a place in two steps
            os.lseek(self.number, offset, os.SEEK_SET)
            return os.read(self.number, size)


class ForkSafeCache(Generic[K, V]):
    """What was used last, by key, for any number of threads; a forked process starts with none.

    Args:
        most: How much is kept. Of more, what was not used for longest is forgotten, but never the newest.
    """

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Start anew: after a fork, another thread may have left the lock closed."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._total = 0

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._kept))

    def get(self, key: K) -> V | None:
        """What is kept by a key, if anything is."""
        with self._lock:
            return self._get(key)

    def keep(self, key: K, value: V, size: int = 1) -> V:
        """Keep a value of such a size, in the place of what was kept by that key."""
        with self._lock:
            return self._keep(key, value, size)

    def get_or_make(self, key: K, make: Callable[[], V], size: int = 1) -> V:
        """What is kept by a key; if nothing is, what is made, by one thread alone."""
        with self._lock:
            found = self._get(key)
            return self._keep(key, make(), size) if found is None else found

    def _get(self, key: K) -> V | None:
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def _keep(self, key: K, value: V, size: int) -> V:
        _, before = self._kept.pop(key, (None, 0))
        self._kept[key] = value, size
        self._total += size - before
        while self._total > self._most() and len(self._kept) > 1:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._total -= oldest
        return value


_OPEN_FILES: ForkSafeCache[tuple[str, int], _Handle] = ForkSafeCache(lambda: _MOST_OPEN)


class SharedFile(io.RawIOBase):
    """A file to read from, without a handle of its own: `read_at` serves any number of threads.

    As a file object it has a position, as tarfile, zipfile and pyarrow want it; that is for one thread at a
    time, and no fork shares it.

    Args:
        path: The file.

    Raises:
        OSError: If the file can't be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        status = os.stat(path)
        self.size = status.st_size
        self._version = status.st_mtime_ns
        self._position = 0
        self._open()

    def _open(self) -> _Handle:
        return _OPEN_FILES.get_or_make((self.path, self._version), lambda: _Handle(self.path))

    def read_at(self, offset: int, size: int) -> bytes:
        """So many bytes from a place; fewer where the file ends."""
        handle = self._open()
        data = handle.read(size, offset)
        if len(data) == size or not data:
            return data
        parts = [data]
        while data and (missing := size - sum(map(len, parts))):  # the system gives 2 GiB at most
            data = handle.read(missing, offset + size - missing)
            parts.append(data)
        return b"".join(parts)

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer from the position on."""
        view = memoryview(buffer).cast("B")
        data = self.read_at(self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
