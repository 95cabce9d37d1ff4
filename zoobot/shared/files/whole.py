"""Files that appear whole or not at all, whatever kills the process or the machine."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = [
    "PARTIAL_SUFFIX",
    "SESSION",
    "abandoned",
    "clear_abandoned",
    "owned_name",
    "owner_is_gone",
    "partial_name",
    "publish",
    "sync",
    "this_host",
    "whole_file",
]

PARTIAL_SUFFIX = ".partial"

#: Tells this process from an earlier one of the same number, as containers have them.
SESSION = uuid.uuid4().hex[:8]

_OWNER = re.compile(r"_(?P<host>[A-Za-z0-9]*)_(?P<pid>\d+)_(?P<session>[0-9a-f]{8})_[0-9a-f]{12}")

#: Nobody here can ask whether a process of another machine lives: its files are left alone for so long.
_ELSEWHERE_S = 24 * 3600.0


def owned_name(path: Path, ending: str) -> Path:
    """A name beside `path` for what is not yet whole: hidden, its own, and telling which process made it.

    Only in the same folder is a rename one indivisible step.

    Args:
        path: What it will become, or was.
        ending: What it is, such as ".draft".
    """
    owner = f"_{this_host()}_{os.getpid()}_{SESSION}_{uuid.uuid4().hex[:12]}"
    return path.with_name(f".{path.name}.{owner}{ending}")


def partial_name(path: Path) -> Path:
    """A name for a file that is not yet whole."""
    return owned_name(path, PARTIAL_SUFFIX)


def this_host() -> str:
    """The machine's name, its first letters and digits."""
    return re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:24]


def owner_is_gone(host: str, pid: int, session: str) -> bool | None:
    """Whether a process has ended; None where it ran on another machine, of which nobody here knows."""
    if host != this_host():
        return None
    if pid == os.getpid():
        return session != SESSION
    if os.name == "nt":
        return not _is_alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # another user's
        return False
    return False


def _is_alive_on_windows(pid: int) -> bool:
    import ctypes

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    handle = kernel.OpenProcess(0x1000, 0, pid)  # to be asked, no more
    if not handle:
        return False
    still_active = 259
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == still_active


def abandoned(folder: Path, pattern: str) -> Iterator[Path]:
    """What killed processes left unfinished in a folder; what a living one makes is not among it.

    Args:
        folder: Where they lie.
        pattern: Of their names.
    """
    for path in sorted(folder.glob(pattern)):
        with suppress(FileNotFoundError):  # another process finished or removed its own meanwhile
            owner = _OWNER.search(path.name)
            if owner is None:
                continue  # not one of ours
            gone = owner_is_gone(owner["host"], int(owner["pid"]), owner["session"])
            if gone is None:
                gone = time.time() - path.stat().st_mtime > _ELSEWHERE_S
            if gone:
                yield path


def clear_abandoned(
    folder: Path, names: str = "*", *, endings: Sequence[str] = (".draft", PARTIAL_SUFFIX, ".older")
) -> None:
    """Delete what killed processes left of certain files in a folder.

    Args:
        folder: The folder; it need not be there.
        names: Of the files they were to become, as a pattern.
        endings: Which kinds of leftovers.
    """
    for ending in endings:
        for path in list(abandoned(folder, f".{names}.*{ending}")):
            if ending == ".older" and not _successor(path).exists():
                continue  # it is all that there is, and whoever reads it puts it back
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _successor(older: Path) -> Path:
    """What was to take the place of something that was moved aside."""
    *_, owner = _OWNER.finditer(older.name)
    return older.with_name(older.name[1 : owner.start() - 1])


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
