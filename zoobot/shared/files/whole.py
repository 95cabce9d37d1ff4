"""Files that appear whole or not at all, whatever kills the process or the machine."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["PARTIAL_SUFFIX", "forgotten", "partial_name", "publish", "sync", "whole_file"]

PARTIAL_SUFFIX = ".partial"


def partial_name(path: Path) -> Path:
    """A name for a file that is not yet whole: hidden, of its own, and in the same folder.

    Only there is a rename one indivisible step.
    """
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL_SUFFIX}")


def publish(partial: Path, path: Path) -> None:
    """Give a file that is complete its name, once it is on the disk itself."""
    sync(partial)
    partial.replace(path)
    sync(path.parent)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """The name to write a file under; it gets its own name when the block ends well, and else is removed."""
    partial = partial_name(path)
    try:
        yield partial
        publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def forgotten(folder: Path, pattern: str, *, after_s: float) -> Iterator[Path]:
    """What killed processes left unfinished in a folder: younger ones may be about to be finished.

    Args:
        folder: Where they lie.
        pattern: Of their names.
        after_s: Seconds since they were last changed.
    """
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):  # another process finished or removed its own meanwhile
            if time.time() - path.stat().st_mtime > after_s:
                yield path


def sync(path: Path) -> None:
    """Have the system write a file, or a folder's list of files, to the disk itself."""
    if path.is_dir() and os.name == "nt":
        return  # Windows can't open folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
