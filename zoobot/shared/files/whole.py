"""Files that appear whole or not at all, whatever kills the process or the machine."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PARTIAL_SUFFIX", "partial_name", "publish", "sync", "whole_file"]

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


def sync(path: Path) -> None:
    """Have the system write a file, or a folder's list of files, to the disk itself."""
    if path.is_dir() and os.name == "nt":
        return  # Windows can't open folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
