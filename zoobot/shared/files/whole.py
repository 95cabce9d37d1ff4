"""Files that appear whole or not at all, whatever kills the process or the machine."""

from __future__ import annotations

import glob
import math
import os
import re
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoobot.shared.errors import WriteError

# The files of a run, replaced whole or not at all: a full disk costs the newer ones alone.


def write_safely(path: str | Path, content: bytes | str) -> None:
    """Write a file, UTF-8 if it is text, or leave the older one as it is.

    Raises:
        WriteError: If it can't be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "run.json"
        >>> write_safely(path, "{}")
        >>> path.read_text()
        '{}'
    """
    with replacing(path) as draft:
        draft.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A name beside `path` to write to; what is there at the end takes the place of `path`, safe on the disk.

    Raises:
        WriteError: If it can't be written; the older file stays.
    """
    path = Path(path)
    with saying_why(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_abandoned(path.parent, glob.escape(path.name), endings=(".draft",))
        with whole_file(path) as draft:
            yield draft


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """What `replacing` does, for whoever makes the folder, and says why, once for many files."""
    draft = draft_name(path)
    try:
        yield draft
        publish(draft, path)
    finally:
        with suppress(OSError):  # of which there was one already
            draft.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder`; at the end it takes the place of `folder`, its files safe on the disk.

    Raises:
        WriteError: If it can't be written; the older folder stays.
    """
    draft = draft_name(folder)
    with saying_why(folder):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            clear_abandoned(folder.parent, glob.escape(folder.name), endings=(".draft",))
            draft.mkdir()
            yield draft
            for path in (*draft.iterdir(), draft):
                sync(path)
            _move_into_place(draft, folder)
            sync(folder.parent)
            clear_abandoned(folder.parent, glob.escape(folder.name))
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _move_into_place(draft: Path, folder: Path) -> None:
    if not folder.exists():
        draft.rename(folder)
        return
    older = owned_name(folder, ".older")
    folder.rename(older)
    try:
        draft.rename(folder)
    except OSError:
        older.rename(folder)
        raise
    shutil.rmtree(older, ignore_errors=True)


@contextmanager
def saying_why(path: Path) -> Iterator[None]:
    """Say which file or folder could not be written, and why: a full disk, a quota, a lost drive.

    Raises:
        WriteError: If the system refuses.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        kept = f"; the older {'folder' if path.is_dir() else 'file'} is kept" if path.exists() else ""
        raise WriteError(
            f"can't write {path}: {error.strerror or error}{kept}. Nothing half-written is left; see to the "
            "disk's free space and your quota, then give the same command again"
        ) from error


# Arrays that may be larger than memory: then they lie in a temporary file, which the system deletes.

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


# Names of files after galaxies, whatever the galaxies are called.

_LONGEST = 100


def file_stems(ids: Iterable[str]) -> list[str]:
    """A name for the files of each galaxy: its id, where a file can be called so and no other one is.

    Otherwise what no file system takes becomes "_", and the galaxy's number is added.

    Example:
        >>> file_stems(["J0004+02", "a/b", "../x", "j0004+02"])
        ['J0004+02', 'a_b-1', '_x-2', 'j0004+02-3']
    """
    stems: list[str] = []
    taken: set[str] = set()
    for number, galaxy in enumerate(ids):
        stem = re.sub(r"[^A-Za-z0-9_.+-]+", "_", galaxy)[:_LONGEST].lstrip(".-").rstrip(".")
        if not stem or stem != galaxy or stem.lower() in taken:  # some file systems know no case
            stem = f"{stem or 'galaxy'}-{number}"
        taken.add(stem.lower())
        stems.append(stem)
    return stems


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


def draft_name(path: Path) -> Path:
    """A name for what is not yet whole."""
    return owned_name(path, ".draft")


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
    folder: Path, names: str = "*", *, endings: Sequence[str] = (".draft", ".partial", ".older")
) -> None:
    """Delete what killed processes left of certain files in a folder.

    Args:
        folder: The folder; it need not be there.
        names: Of the files they were to become, as a pattern.
        endings: Which kinds of leftovers; some were called ".partial" once.
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


def sync(path: Path) -> None:
    """Have the system write a file, or a folder's list of files, to the disk itself."""
    if path.is_dir() and os.name == "nt":
        return  # Windows can't open folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
