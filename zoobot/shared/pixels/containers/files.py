"""Files that many threads read at once, with few of them open at a time."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["SharedFile"]

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


class _OpenFiles:
    """The handles used last; an older one is closed, and opened again when it is needed."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew: after a fork, another thread may have left the lock closed."""
        self._lock = threading.Lock()
        self._handles: OrderedDict[tuple[str, int], _Handle] = OrderedDict()

    def find(self, path: str, version: int) -> _Handle:
        with self._lock:
            handle = self._handles.get((path, version))
            if handle is None:
                handle = self._handles[path, version] = _Handle(path)
                while len(self._handles) > _MOST_OPEN:
                    self._handles.popitem(last=False)
            else:
                self._handles.move_to_end((path, version))
            return handle


_OPEN_FILES = _OpenFiles()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_OPEN_FILES.forget)


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
        _OPEN_FILES.find(path, self._version)

    def read_at(self, offset: int, size: int) -> bytes:
        """So many bytes from a place; fewer where the file ends."""
        handle = _OPEN_FILES.find(self.path, self._version)
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
