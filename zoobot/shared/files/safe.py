"""The files of a run, replaced whole or not at all: a full disk costs the newer ones alone."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoobot.shared.errors import WriteError
from zoobot.shared.files.whole import abandoned, owned_name, publish

__all__ = ["replacing", "saying_why", "write_safely"]


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
    draft = owned_name(path, ".draft")
    with saying_why(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for left in abandoned(path.parent, f".{glob.escape(path.name)}.*.draft"):
                left.unlink(missing_ok=True)
            yield draft
            publish(draft, path)
        finally:
            with suppress(OSError):  # of which there was one already
                draft.unlink(missing_ok=True)


@contextmanager
def saying_why(path: Path) -> Iterator[None]:
    """Say which file could not be written, and why: a full disk, a quota, a lost drive.

    Raises:
        WriteError: If the system refuses.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        kept = "; the older file is kept" if path.exists() else ""
        reason = error.strerror or error
        msg = f"can't write {path}: {reason}{kept}. See to the disk's free space and your quota, then go on"
        raise WriteError(msg) from error
