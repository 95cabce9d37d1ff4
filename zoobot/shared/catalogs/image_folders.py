"""What an image file is, what its galaxy is called, and the images in a folder, one folder's at a time.

A galaxy that is known by its image alone has one id wherever that image lies: the name of the file without
its image ending. Dots before it belong to the name: J000411.19+020924.0.jpg is J000411.19+020924.0.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pandas as pd

from zoobot.shared import defaults
from zoobot.shared.errors import CatalogError
from zoobot.shared.files.table_checks import RowChunk, Wanted
from zoobot.shared.pixels.locations import Location, split_location
from zoobot.shared.pixels.web_images import file_of_address, is_address

logger = logging.getLogger("zoobot")

_FITS_ENDINGS = (
    *(f"{name}{packed}" for name in (".fits", ".fit", ".fts") for packed in ("", ".gz", ".bz2", ".fz")),
    ".ftz",
)
#: What the names of images end in, in any letter case.
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", *_FITS_ENDINGS)

_KINDS_SHOWN = 8
_ENDING = re.compile(r"\.[A-Za-z0-9_-]{1,10}\Z")


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its name; a hidden file, or an ending alone, is none.

    Example:
        >>> [is_image_name(name) for name in ("a/b.fits.bz2", "B.JPG", "notes.txt", "a/.b.jpg")]
        [True, True, False, False]
    """
    last = _last_part(name).lower()
    return last.endswith(IMAGE_ENDINGS) and not last.startswith(".")


def is_fits_name(name: str) -> bool:
    """Whether a file is FITS by its name, packed or not."""
    return name.lower().endswith(_FITS_ENDINGS)


def id_of_image(name: str) -> str:
    """The galaxy's id in the name of its image: all but the image ending, the longest that fits.

    Example:
        >>> id_of_image("J000411.19+020924.0.jpg"), id_of_image("sky/ngc4565.fits.gz"), id_of_image("m31")
        ('J000411.19+020924.0', 'sky/ngc4565', 'm31')
    """
    folded = name.lower()
    ending = max((e for e in IMAGE_ENDINGS if folded.endswith(e)), key=len, default="")
    return name[: len(name) - len(ending)]


def image_ids(places: Sequence[str]) -> list[str]:
    """What galaxies are called of which each has an image in a place of its own, a file or part of one.

    Args:
        places: The files, or locations inside of files.

    Returns:
        Ids: of the names alone, if that tells them apart, and otherwise of the whole places.

    Example:
        >>> image_ids(["sky/a.1.jpg", "b.fits.gz"]), image_ids(["x/a.jpg", "y/a.jpg"])
        (['a.1', 'b'], ['x/a', 'y/a'])
    """
    members = [
        Location(file_of_address(place), None) if is_address(place) else split_location(place)
        for place in places
    ]
    names = [id_of_image(_last_part(member or container)) for container, member in members]
    if all(names) and len(set(names)) == len(names):
        return names
    whole = [id_of_image(str(place)) for place in places]
    return whole if len(set(whole)) == len(whole) else list(map(str, places))


class PassedOver:
    """What lies beside galaxies and is none: files counted by kind, and labels and images that are no pair.

    Args:
        where: The folder or archives they lie in.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self.kinds: Counter[str] = Counter()
        self._images = 0
        self._without: dict[str, tuple[int, str]] = {"image": (0, ""), "label": (0, "")}

    def add(self, name: str) -> None:
        """Count a file."""
        last = _last_part(name)
        ending = _ENDING.search(last.lower())
        kind = ending.group() if ending else "without an ending"
        self.kinds["hidden" if last.startswith(".") else kind] += 1

    def add_pairs(self, images: int, without_label: Sequence[str], without_image: Sequence[str]) -> None:
        """Count images beside which labels may lie.

        Args:
            images: How many images there are.
            without_label: Those that have none.
            without_image: Labels that belong to none of them.
        """
        self._images += images
        for lacking, names in (("label", without_label), ("image", without_image)):
            count, first = self._without[lacking]
            self._without[lacking] = count + len(names), first or next(iter(names), "")

    def tell(self, logger: logging.Logger) -> None:
        """Say how many there were of each kind, and what is no pair, if there was any."""
        if self.kinds:
            count = sum(self.kinds.values())
            files = "1 file" if count == 1 else f"{count:,} files"
            logger.info("Passed over %s of %s that are no images: %s", files, self._where, self)
        labels, first_label = self._without["image"]
        if labels:
            words = "%s: %s labels (.cls, .json) belong to no image by their name, such as %r"
            logger.warning(words, self._where, f"{labels:,}", first_label)
        bare, first_bare = self._without["label"]
        if 0 < bare < self._images:
            words = "%s: %s of %s images have no labels beside them, such as %r"
            logger.warning(words, self._where, f"{bare:,}", f"{self._images:,}", first_bare)

    def __str__(self) -> str:
        shown = self.kinds.most_common(_KINDS_SHOWN)
        others = sum(self.kinds.values()) - sum(count for _, count in shown)
        listed = [f"{count:,} {kind}" for kind, count in shown]
        return ", ".join([*listed, f"{others:,} others"] if others else listed)


def _last_part(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def refuse_shared_ids(names: Iterable[str], where: str) -> None:
    """Raise a CatalogError that names two images which would give one galaxy's id to both.

    Args:
        names: Of the images.
        where: What they lie in, for messages.
    """
    seen: dict[str, str] = {}
    clashes = [(seen[key], name) for name in names if seen.setdefault(key := id_of_image(name), name) != name]
    if clashes:
        first, second = clashes[0]
        raise CatalogError(
            f"a galaxy's id is the name of its image without the ending, but {len(clashes):,} images of "
            f"{where} share it with another; the first: {first!r} and {second!r} are both "
            f"{id_of_image(first)!r}. Keep one image of each galaxy there, or give a table of ids and images"
        )


def image_names(folder: str, passed_over: PassedOver | None = None) -> Iterator[str]:
    """The images of a folder and of its subfolders, as paths relative to it, in the order of `sorted` paths.

    Args:
        folder: The folder. Links to other folders are not followed.
        passed_over: Counts the other files.

    Raises:
        CatalogError: If two images give one id.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.png", "a.jpg", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     list(image_names(folder))
        ['a.jpg', 'b.png']
    """
    with os.scandir(folder) as found:
        entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
    # only images of one folder can share an id, so that no more names than those are held
    refuse_shared_ids((name for name, is_folder in entries if not is_folder and is_image_name(name)), folder)
    for name, is_folder in entries:
        if is_folder:
            inner = image_names(os.path.join(folder, name), passed_over)
            yield from (os.path.join(name, image) for image in inner)
        elif is_image_name(name):
            yield name
        elif passed_over is not None:
            passed_over.add(name)


class FolderRows:
    """The images in a folder, and in folders below, as rows of ids and names.

    Args:
        folder: The folder.
        columns: What the column of ids is called, and that of names.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._folder, self._id_col = folder, columns[0]
        self.left_out: dict[str, str] = {}
        self.names: Sequence[str] = list(dict.fromkeys(columns))
        self._is_told = False

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The rows that are wanted."""
        passed_over = PassedOver(f"the folder {str(self._folder)!r}")
        names = image_names(os.fspath(self._folder), passed_over)
        first = 0
        while chunk := list(islice(names, defaults.ROWS_AT_ONCE)):
            if wanted(first, first + len(chunk)):
                table = self._table(chunk)
                yield RowChunk(first, [table[column] for column in columns])
            first += len(chunk)
        self._tell(passed_over)

    def read_table(self) -> pd.DataFrame:
        """All rows.

        Raises:
            CatalogError: If there are none.
        """
        passed_over = PassedOver(f"the folder {str(self._folder)!r}")
        names = list(image_names(os.fspath(self._folder), passed_over))
        if not names:
            there = f"; what it holds: {passed_over}" if passed_over.kinds else ""
            msg = f"the folder {self._folder} holds no images ({', '.join(IMAGE_ENDINGS)}){there}"
            raise CatalogError(msg)
        self._tell(passed_over)
        return self._table(names)

    def _table(self, names: list[str]) -> pd.DataFrame:
        ids = [id_of_image(name) for name in names]
        columns = {column: ids if column == self._id_col else names for column in self.names}
        return pd.DataFrame(columns, dtype=object)

    def _tell(self, passed_over: PassedOver) -> None:
        """Once, for the folder may be gone through several times."""
        if not self._is_told:
            passed_over.tell(logger)
        self._is_told = True
