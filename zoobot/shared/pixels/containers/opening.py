"""What opens a file or folder that holds many images, by its content, and keeps it open."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Protocol

from zoobot.shared import defaults
from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.containers.archives import TarImages, ZipImages
from zoobot.shared.pixels.containers.mosaics import Mosaic
from zoobot.shared.pixels.containers.tables import ParquetImages, SavedDataset
from zoobot.shared.pixels.locations import is_saved_dataset, watched_file

__all__ = ["Archive", "open_container"]


class Archive(Protocol):
    """Files by name, or rows by number, each the bytes of one image file."""

    damage: str

    def __contains__(self, member: str) -> bool: ...

    def names(self) -> list[str]:
        """All members, in order."""

    def read(self, member: str) -> bytes:
        """The bytes of a member, or an ImageError."""


Container = Archive | Mosaic


class _Slot:
    """One version of one file: opened once, by the first thread that asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._container: Container | None = None
        self._error: ImageError | None = None
        self.members = 0
        self.is_counted = False

    def open(self, path: str) -> Container:
        with self._lock:
            if self._error is not None:
                raise ImageError(
                    str(self._error)
                )  # or a damaged archive would be gone through for each member
            if self._container is None:
                try:
                    self._container = _find_kind(path)(path)
                    if isinstance(self._container, (TarImages, ZipImages)):
                        self.members = len(self._container)
                except ImageError as error:
                    self._error = error
                    raise
            return self._container


class _Containers:
    """Everything opened in this process: where members lie, that is; few of the files are open at a time."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew: after a fork, another thread may have left a lock closed."""
        self._lock = threading.Lock()
        self._slots: dict[str, tuple[tuple[int, ...], _Slot]] = {}

    def open(self, path: str) -> Container:
        """The container in the present version of a file."""
        status = os.stat(watched_file(path))
        version = (status.st_size, status.st_mtime_ns, status.st_ino)
        with self._lock:
            known, slot = self._slots.pop(path, (None, None))
            if slot is None or known != version:
                slot = _Slot()
            self._slots[path] = (version, slot)  # as the one used last
        container = slot.open(path)
        if not slot.is_counted:
            self._make_room(slot)
        return container

    def _make_room(self, newest: _Slot) -> None:
        """Count an archive's members; of too many, forget those of the archives not used for longest."""
        with self._lock:
            newest.is_counted = True
            total = sum(slot.members for _, slot in self._slots.values())
            for path, (_, slot) in list(self._slots.items()):
                if total <= defaults.INDEXED_MEMBERS or slot is newest:
                    break
                total -= slot.members
                del self._slots[path]


_CONTAINERS = _Containers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_CONTAINERS.forget)


def open_container(path: str) -> Container:
    """What reads the images in a tar, zip, Parquet file, saved dataset or FITS mosaic.

    It may be used by any number of threads, and is opened anew where the file has changed.

    Args:
        path: The file, or the folder of a saved dataset.

    Raises:
        ImageError: If it can't be read, or is none of these.
        MissingPackageError: If the package that reads it is not installed.
    """
    try:
        return _CONTAINERS.open(path)
    except OSError as error:
        msg = f"{path} can't be opened ({error.strerror or error})"
        raise ImageError(msg) from error


def _find_kind(path: str) -> Callable[[str], Container]:
    if is_saved_dataset(path):
        return SavedDataset
    with open(path, "rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ZipImages
    if head.startswith(b"PAR1"):
        return ParquetImages
    if head.startswith(b"SIMPLE  ="):
        return Mosaic
    if head[257:262] == b"ustar" or path.lower().endswith(".tar"):
        return TarImages
    packed = head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
    hint = ": compressed as a whole, it can't be read in any order; unpack it once (gunzip)" if packed else ""
    msg = f"{path} is no tar, zip, Parquet file, saved dataset or FITS mosaic{hint}"
    raise ImageError(msg)
