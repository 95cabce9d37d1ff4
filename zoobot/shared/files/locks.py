"""One process at a time in a place: a lock that dies with its process, whatever kills it.

The system's own lock on a hidden file holds where there is one, on most network drives too. Where there is
none, the file itself does: it names the process, and on the same machine a dead one's is taken over.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from zoobot.shared.errors import BusyError, WriteError
from zoobot.shared.files.whole import SESSION, owner_is_gone, this_host

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: What is said of a file system that has no such locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_TRIES = 10

#: How the names of locked files end.
LOCK_ENDING = ".working"

_held: dict[tuple[Path, int], int] = {}


def lock_file(place: Path) -> Path:
    """The file that is locked while a process works in a folder, or on a file."""
    return place / LOCK_ENDING if place.is_dir() else place.with_name(f".{place.name}{LOCK_ENDING}")


class Lock:
    """The lock of a file; the file is there while it is held.

    Args:
        path: The file; its folder is made.

    Raises:
        BusyError: If another process holds it: which, where and since when.
        WriteError: If the file can't be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open_locked(path)
            self._tell()
        except OSError as error:
            reason = error.strerror or error
            msg = f"can't write {path}: {reason}. See to the folder's permissions and the disk's free space"
            raise WriteError(msg) from error

    def _tell(self) -> None:
        """Say who holds it."""
        record = {
            "host": this_host(),
            "pid": os.getpid(),
            "session": SESSION,
            "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        self._file.truncate(0)
        self._file.write(json.dumps(record).encode())
        self._file.flush()

    def release(self) -> None:
        """Let others work there."""
        if self._file.closed:
            return
        if fcntl is None:
            self._file.close()  # Windows deletes no open file
        with suppress(FileNotFoundError):  # the whole folder was deleted
            self.path.unlink()
        self._file.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file for a while; a thread that holds it already goes on.

    Args:
        path: The file, as `lock_file` names it.

    Raises:
        BusyError: If another process holds it.
    """
    key = path.absolute(), threading.get_ident()
    lock = None if key in _held else Lock(path)
    _held[key] = _held.get(key, 0) + 1
    try:
        yield
    finally:
        _held[key] -= 1
        if lock is not None:
            del _held[key]
            lock.release()


def refuse_busy(path: Path) -> None:
    """Raise if another process holds the lock of a file.

    Raises:
        BusyError: Saying which process, where and since when.
    """
    if path.exists() and (path.absolute(), threading.get_ident()) not in _held:
        with suppress(WriteError):  # where one can't write at all, that will be told in time
            Lock(path).release()


def _open_locked(path: Path) -> Any:
    for _ in range(_TRIES):
        file = path.open("a+b")
        try:
            if not _try_to_lock(file):
                _refuse(file, path)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()  # its last holder has deleted it meanwhile
    return _refuse(None, path)


def _try_to_lock(file: Any) -> bool:
    if fcntl is not None:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        else:
            return True
    told = _read(file)
    return not told or owner_is_gone(told["host"], told["pid"], told["session"]) is True


def _read(file: Any) -> dict[str, Any]:
    file.seek(0)
    try:
        told = json.loads(file.read())
        return {"host": str(told["host"]), "pid": int(told["pid"])} | {
            name: str(told[name]) for name in ("session", "since")
        }
    except (ValueError, KeyError, TypeError):
        return {}


def _refuse(file: Any, path: Path) -> NoReturn:
    told = {} if file is None else _read(file)
    who = "another process"
    if told:
        who = f"process {told['pid']} on {told['host']}, since {told['since']},"
    name = path.name.removesuffix(LOCK_ENDING).removeprefix(".")
    place = f"on {name} in {path.parent}" if name else f"in {path.parent}"  # a table may not be there yet
    raise BusyError(f"{who} works {place}: let it end, or choose another place (its mark is {path})")
