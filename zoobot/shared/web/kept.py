"""A folder of what web addresses answered, so that none is asked for twice, whatever is killed in between."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path

from zoobot.shared.files.whole import clear_abandoned, draft_name

logger = logging.getLogger("zoobot")

_OWN = re.compile("[0-9a-f]{38}")
_SEAL_BYTES = 4
_KEEP_FREE_BYTES = 2**30
"""A cache never fills the disk: checkpoints and results need room, too."""
_LOOKS = 20
"""How often a folder is looked at anew while it fills, for other processes fill it, too."""


def usual_folder() -> Path:
    """Where answers are kept if nobody says otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    return Path(cache).expanduser() / "zoobot" / "web-images"


class KeptAnswers:
    """What addresses answered: a file for each, whole or not at all, with a checksum at its end.

    Any number of threads and processes may share a folder. Where it is full, what was not used since this run
    began goes first; if all was, no more is kept, and that is said. A damaged file is asked for again.

    Args:
        folder: Where they lie; it is made when needed.
        most_bytes: How large it may become; by a twentieth more for each further process that fills it.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self._most = folder, most_bytes
        self._began, self._lock = time.time(), threading.Lock()
        self._total = self._since_look = 0
        self._unused: list[tuple[float, str, int]] | None = (
            None  # the oldest last; None before the first look
        )
        self._is_full = False

    def find(self, url: str) -> bytes | None:
        """What an address answered; None if it is not known."""
        path = self._path(url)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        content, seal = data[:-_SEAL_BYTES], data[-_SEAL_BYTES:]
        if not content or _seal(content) != seal:
            return None
        with suppress(OSError):  # it may be of another user
            os.utime(path)  # in use
        return content

    def keep(self, url: str, content: bytes) -> None:
        """Keep what an address answered, if there is room."""
        if self._is_full:
            return
        path, size = self._path(url), len(content) + _SEAL_BYTES
        try:
            with self._lock:
                self._make_room(size)
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = draft_name(path)
            try:
                draft.write_bytes(content + _seal(content))
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            self._is_full = True
            logger.warning(
                "%s keeps no more images of the web (%s): those that it lacks are asked for each time they "
                "are needed",
                self.folder,
                error.strerror or error,
            )

    def _path(self, url: str) -> Path:
        name = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:40]
        return self.folder / name[:2] / name[2:]

    def _make_room(self, size: int) -> None:
        if self._unused is None or self._since_look > self._most / _LOOKS:
            self._look()
        while self._total + size > self._most and self._unused:
            _, place, freed = self._unused.pop()
            with suppress(OSError):
                if os.stat(place).st_mtime < self._began:  # not even now
                    os.unlink(place)
                    self._total -= freed
        if self._total + size > self._most:
            raise OSError(f"it has {self._total / 1e9:.3g} GB, and may have {self._most / 1e9:.3g}")
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free - size < _KEEP_FREE_BYTES:
            raise OSError("less than 1 GiB of disk would be free")
        self._total += size
        self._since_look += size

    def _look(self) -> None:
        """Find out how much is there, and what of it was not used since the run began."""
        found = []
        for folder in self.folder.glob("[0-9a-f][0-9a-f]"):
            clear_abandoned(folder)
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if _OWN.fullmatch(entry.name):  # whatever else lies there is none of ours
                        status = entry.stat()
                        found.append((status.st_mtime, entry.path, status.st_size))
        self._total, self._since_look = sum(size for _, _, size in found), 0
        self._unused = sorted((one for one in found if one[0] < self._began), reverse=True)


def _seal(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_SEAL_BYTES, "big")
