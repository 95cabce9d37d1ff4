"""Files that hold many images: which kinds there are, how each is known, what opens it and keeps it open."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from zoobot.shared import defaults
from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.locations import is_saved_dataset, watched_file
from zoobot.shared.pixels.shared_files import ForkSafeCache

if TYPE_CHECKING:
    from zoobot.shared.pixels.mosaics import Mosaic


class Archive(Protocol):
    """Files by name, or rows by number, each the bytes of one image file.

    Attributes:
        damage: Why members may be lacking at the end; empty if it is whole.
        has_labels: Whether labels may lie beside images, as in a WebDataset; where not said, they may not.
    """

    damage: str

    def __len__(self) -> int: ...

    def __contains__(self, member: str) -> bool: ...

    def names(self) -> list[str]:
        """All members, in order."""

    def read(self, member: str) -> bytes:
        """The bytes of a member, or an ImageError."""


Container: TypeAlias = "Archive | Mosaic"


class Kind(NamedTuple):
    """A kind of file, or folder, that holds many images.

    Attributes:
        word: What it is called in messages.
        load: Gives the class that opens it by its path; imported when it is needed, for help names it, too.
        knows: Whether it is what lies at a path, by the first 512 bytes.
        holds: "names": files, of each its image or its labels; "rows" of a table, an `ImageRows`; "places" on
            the sky.
        ending: What its name ends in where it is a catalog by itself; empty if it can't be, or is a folder.
    """

    word: str
    load: Callable[[], Callable[[str], Container]]
    knows: Callable[[str, bytes], bool]
    holds: Literal["names", "rows", "places"]
    ending: str = ""


def _tar() -> Callable[[str], Container]:
    from zoobot.shared.pixels import archives

    return archives.TarImages


def _zip() -> Callable[[str], Container]:
    from zoobot.shared.pixels import archives

    return archives.ZipImages


def _parquet() -> Callable[[str], Container]:
    from zoobot.shared.pixels import image_tables

    return image_tables.ParquetImages


def _dataset() -> Callable[[str], Container]:
    from zoobot.shared.pixels import image_tables

    return image_tables.SavedDataset


def _mosaic() -> Callable[[str], Container]:
    from zoobot.shared.pixels import mosaics

    return mosaics.Mosaic


#: All kinds; opening, lists of galaxies, messages and help go through them.
KINDS = (
    Kind("tar", _tar, lambda path, head: head[257:262] == b"ustar", "names", ".tar"),
    Kind("zip", _zip, lambda path, head: head[:4] in (b"PK\x03\x04", b"PK\x05\x06"), "names", ".zip"),
    Kind("Parquet file", _parquet, lambda path, head: head[:4] == b"PAR1", "rows", ".parquet"),
    Kind("saved dataset", _dataset, lambda path, head: is_saved_dataset(path), "rows"),
    Kind("FITS mosaic", _mosaic, lambda path, head: head[:9] == b"SIMPLE  =", "places"),
)


def catalog_kinds() -> list[Kind]:
    """The kinds of which one file is a catalog by itself, known by what its name ends in."""
    return [kind for kind in KINDS if kind.ending]


def kind_of_name(name: str) -> Kind | None:
    """The kind of a catalog by what its name ends in.

    Example:
        >>> kind_of_name("survey/shard-01.TAR").word, kind_of_name("galaxies.csv")
        ('tar', None)
    """
    return next((kind for kind in catalog_kinds() if name.lower().endswith(kind.ending)), None)


class _Slot:
    """The container of one path: opened once in each version, by the first thread that asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version: tuple[int, ...] = ()
        self._container: Container | None = None
        self._error: ImageError | None = None

    def open(self, path: str, version: tuple[int, ...]) -> Container:
        with self._lock:
            if version != self._version:
                self._version, self._container, self._error = version, None, None
            if self._error is not None:  # or a damaged archive would be gone through for each member
                raise ImageError(str(self._error))
            if self._container is None:
                try:
                    kind = _find_kind(path)
                    self._container = opened = kind.load()(path)
                except ImageError as error:
                    self._error = error
                    raise
                _CONTAINERS.keep(path, self, len(opened) if kind.holds == "names" else 0)  # type: ignore[arg-type]
            return self._container


#: Everything opened in this process: where members lie, that is; few of the files are open at a time.
_CONTAINERS: ForkSafeCache[str, _Slot] = ForkSafeCache(lambda: defaults.INDEXED_MEMBERS)


def open_container(path: str) -> Container:
    """What reads the images in a file or folder that holds many.

    It may be used by any number of threads, and is opened anew where the file has changed.

    Args:
        path: The file, or the folder of a saved dataset.

    Raises:
        ImageError: If it can't be read, or is of no kind that we know.
        MissingPackageError: If the package that reads it is not installed.
    """
    try:
        status = os.stat(watched_file(path))
        version = (status.st_size, status.st_mtime_ns, status.st_ino)
        return _CONTAINERS.get_or_make(path, _Slot, 0).open(path, version)
    except OSError as error:
        raise ImageError(f"{path} can't be opened ({error.strerror or error})") from error


def _find_kind(path: str) -> Kind:
    head = b""
    if not is_saved_dataset(path):
        with open(path, "rb") as file:
            head = file.read(512)
    found = next((kind for kind in KINDS if kind.knows(path, head)), None)
    named = kind_of_name(path)
    if found is None and named is not None and named.word == "tar":
        return named  # the oldest have nothing at their beginning that tells them
    if found is not None:
        return found
    packed = head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
    hint = ": compressed as a whole, it can't be read in any order; unpack it once (gunzip)" if packed else ""
    *first, last = (kind.word for kind in KINDS)
    raise ImageError(f"{path} is no {', '.join(first)} or {last}{hint}")
