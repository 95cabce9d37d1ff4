"""Galaxies listed from what holds their images: archives, Parquet files and saved datasets."""

from __future__ import annotations

import glob
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import pandas as pd

from zoobot.shared import defaults
from zoobot.shared.catalogs.image_folders import (
    IMAGE_ENDINGS,
    PassedOver,
    id_of_image,
    is_image_name,
    refuse_shared_ids,
)
from zoobot.shared.errors import CatalogError, ImageError
from zoobot.shared.files.table_checks import RowChunk, Wanted
from zoobot.shared.pixels.containers import Archive, Kind, catalog_kinds, kind_of_name
from zoobot.shared.pixels.image_tables import ImageRows, SavedDataset, choose_column, refuse_other_folders
from zoobot.shared.pixels.locations import SEPARATOR, is_saved_dataset

# The galaxies of many archives as rows of one table, read a few at a time.

logger = logging.getLogger(__name__)


class Listed(Protocol):
    """The galaxies of one archive."""

    def __len__(self) -> int: ...

    def locations(self, rows: slice) -> list[str]:
        """Where some of the images lie."""

    def column_names(self) -> list[str]:
        """What is known of the galaxies besides their images."""

    def columns(self, names: Sequence[str], rows: slice) -> pd.DataFrame:
        """Some columns for some of the galaxies."""


#: Opens an archive, and counts what in it is no galaxy.
OpenListed: TypeAlias = Callable[[PassedOver], Listed]


class ListedRows:
    """The galaxies of archives, one archive after the other: ids, locations of the images, and labels.

    Args:
        archives: What opens each archive. None is kept open: memory holds one archive's names at a time.
        id_col: What the column of ids is called.
        file_col: What the column of locations is called.
        name: What all of them are called in messages.
    """

    def __init__(self, archives: Sequence[OpenListed], *, id_col: str, file_col: str, name: str) -> None:
        self._archives, self._own, self._name = archives, (id_col, file_col), name
        self._is_told = False

    @cached_property
    def names(self) -> Sequence[str]:
        """Ids, locations, and what else is known of the first archive's galaxies."""
        return self._all_names(self._archives[0](PassedOver(self._name)))

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The galaxies in order; archives of which none is wanted are counted, and not read further."""
        first = 0
        passed_over = PassedOver(self._name)
        for open_archive in self._archives:
            archive = open_archive(passed_over)
            for start in range(0, len(archive), defaults.ROWS_AT_ONCE):
                stop = min(start + defaults.ROWS_AT_ONCE, len(archive))
                if wanted(first + start, first + stop):
                    table = self._read_part(archive, columns, slice(start, stop))
                    yield RowChunk(first + start, [table[name] for name in columns])
            first += len(archive)
        self._tell(passed_over)

    def read_table(self) -> pd.DataFrame:
        """All galaxies and all that is known of them; empty where an archive lacks what others have."""
        parts = []
        passed_over = PassedOver(self._name)
        for open_archive in self._archives:
            archive = open_archive(passed_over)
            parts.append(self._read_part(archive, self._all_names(archive), slice(None)))
        self._tell(passed_over)
        return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)

    def _tell(self, passed_over: PassedOver) -> None:
        """Once, for the archives may be gone through several times."""
        if not self._is_told:
            passed_over.tell(logger)
        self._is_told = True

    def _all_names(self, archive: Listed) -> list[str]:
        return list(dict.fromkeys([*self._own, *archive.column_names()]))

    def _read_part(self, archive: Listed, names: Sequence[str], rows: slice) -> pd.DataFrame:
        file_col = self._own[1]
        table = archive.columns([name for name in dict.fromkeys(names) if name != file_col], rows)
        if file_col in names:
            table[file_col] = archive.locations(rows)
        return table


# The galaxies of one archive of files: its images, and in a WebDataset shard the labels beside them.

_LABELS = (".cls", ".json")


class ListedMembers:
    """The images in an archive, in its order; ids are their names without the image ending.

    In a tar, as in a WebDataset, what lies beside an image as `KEY.cls` (a class) and `KEY.json` (an object
    of numbers and texts) becomes columns: `cls`, and the names in the objects. The key is the image's id; or,
    where no label is called so, its name up to the first dot, if no other image shares that.

    Args:
        path: The archive.
        archive: The archive, open.
        id_col: What the column of ids is called.
        passed_over: Counts the members that are neither images nor their labels.

    Raises:
        CatalogError: If it holds no images, or two images of one id.
    """

    def __init__(self, path: str, archive: Archive, *, id_col: str, passed_over: PassedOver) -> None:
        self._path, self._archive, self._id_col = path, archive, id_col
        if archive.damage:
            logger.warning("%s: %s", path, archive.damage)
        names = archive.names()
        self._members = [name for name in names if is_image_name(name)]
        if not self._members:
            msg = f"{path} holds no images ({', '.join(IMAGE_ENDINGS)})"
            raise CatalogError(f"{msg}: {archive.damage}" if archive.damage else msg)
        refuse_shared_ids(self._members, path)
        self._ids = [id_of_image(name) for name in self._members]
        labels = [n for n in names if n.endswith(_LABELS)] if getattr(archive, "has_labels", False) else []
        self._keys = _pair(self._ids, labels)
        self._paired = {f"{key}{ending}" for key in self._keys.values() for ending in _LABELS} & set(labels)
        lone = set(labels) - self._paired
        known = {*self._members, *labels}
        for name in names:
            if name not in known:
                passed_over.add(name)
        bare = [galaxy for galaxy in self._ids if galaxy not in self._keys]
        passed_over.add_pairs(len(self._ids), bare, [name for name in labels if name in lone])

    def __len__(self) -> int:
        return len(self._members)

    def locations(self, rows: slice) -> list[str]:
        """Where some of the images lie."""
        return [f"{self._path}{SEPARATOR}{name}" for name in self._members[rows]]

    def column_names(self) -> list[str]:
        """What is known of the galaxies besides their images."""
        labels = self._labels(self._ids) if self._paired else []
        return list(dict.fromkeys(name for row in labels for name in row if name != self._id_col))

    def columns(self, names: Sequence[str], rows: slice) -> pd.DataFrame:
        """Ids and labels of some of the galaxies; empty where the archive has no such label."""
        ids = self._ids[rows]
        needs_labels = self._paired and any(name != self._id_col for name in names)
        table = pd.DataFrame(self._labels(ids) if needs_labels else [], index=range(len(ids)))
        table[self._id_col] = ids
        return table.reindex(columns=list(names))

    def _labels(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        keys = [self._keys.get(galaxy) for galaxy in ids]
        return [
            {} if key is None else {**self._read_json(f"{key}.json"), **self._read_class(f"{key}.cls")}
            for key in keys
        ]

    def _read_class(self, name: str) -> dict[str, Any]:
        if name not in self._paired:
            return {}
        text = self._read_text(name).strip()
        return {"cls": int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text or None}

    def _read_json(self, name: str) -> dict[str, Any]:
        if name not in self._paired:
            return {}
        try:
            found = json.loads(self._read_text(name))
        except (ValueError, RecursionError) as error:
            raise CatalogError(f"{self._path}{SEPARATOR}{name} is no JSON: {error}") from error
        if not isinstance(found, dict):
            msg = f"{self._path}{SEPARATOR}{name} must be an object of labels, got {type(found).__name__}"
            raise CatalogError(msg)
        return {key: value for key, value in found.items() if not isinstance(value, (dict, list))}

    def _read_text(self, name: str) -> str:
        try:
            return self._archive.read(name).decode("utf-8")
        except (ImageError, UnicodeDecodeError) as error:
            raise CatalogError(f"can't read the labels {self._path}{SEPARATOR}{name}: {error}") from error


def _pair(ids: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """The key of each galaxy that has labels: what their names begin with.

    Example:
        >>> _pair(["J1+02.5", "b.image", "c.g", "c.r"], ["J1+02.5.cls", "b.json", "c.cls"])
        {'J1+02.5': 'J1+02.5', 'b.image': 'b'}
    """
    keys = {name[: -len(ending)] for name in labels for ending in _LABELS if name.endswith(ending)}
    pairs = {galaxy: galaxy for galaxy in ids if galaxy in keys}
    by_short: dict[str, list[str]] = defaultdict(list)
    for galaxy in ids:
        by_short[_up_to_first_dot(galaxy)].append(galaxy)
    for key in keys - set(pairs):
        alone = by_short.get(key, [])
        if len(alone) == 1 and alone[0] not in pairs:
            pairs[alone[0]] = key
    return pairs


def _up_to_first_dot(name: str) -> str:
    """The key that a WebDataset's own rule makes of a name: up to the first dot after the last slash."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


# The galaxies of one table with images in its rows.


class _ListedCells:
    """The rows of a table of which one column holds images; the other columns are the galaxies'.

    Ids are those of the column for them, if there is one; otherwise the rows' numbers.

    Args:
        path: The file or folder.
        rows: Its rows.
        id_col: The column of ids.
        image_col: The column of images; None is the only one.
        prefix: What stands before a row's number where ids are made of it.
        split: The part of a larger dataset that this is, as a column `split`.

    Raises:
        CatalogError: If the column of images can't be told.
    """

    def __init__(
        self,
        path: str,
        rows: ImageRows,
        *,
        id_col: str,
        image_col: str | None,
        prefix: str,
        split: str | None = None,
    ) -> None:
        try:
            column = choose_column(rows.columns, image_col)
        except ImageError as error:
            raise CatalogError(f"{path}: {error}; choose it with image_col") from error
        self._start = f"{path}{SEPARATOR}{f'{column}:' if len(rows.columns) > 1 else ''}"
        self._path, self._rows, self._id_col, self._prefix = path, rows, id_col, prefix
        self._extra = {} if split is None or "split" in rows.others else {"split": split}

    def __len__(self) -> int:
        return len(self._rows)

    def locations(self, rows: slice) -> list[str]:
        """Where some of the images lie."""
        return [f"{self._start}{row}" for row in range(*rows.indices(len(self)))]

    def column_names(self) -> list[str]:
        """What is known of the galaxies besides their images."""
        return [*self._rows.others, *self._extra]

    def columns(self, names: Sequence[str], rows: slice) -> pd.DataFrame:
        """Some columns for some of the galaxies; ids are made of the rows' numbers where there are none."""
        numbers = range(*rows.indices(len(self)))
        table = pd.DataFrame(index=pd.RangeIndex(len(numbers)))
        stored = [name for name in names if name in self._rows.others]
        if stored:
            try:
                table = self._rows.read_columns(stored, numbers).set_axis(table.index)
            except ImageError as error:
                raise CatalogError(f"can't read {self._path}: {error}") from error
        for name in names:
            if name == self._id_col and name not in stored:
                table[name] = [f"{self._prefix}{row}" for row in numbers]
            elif name in self._extra:
                table[name] = self._extra[name]
        return table.reindex(columns=list(names))


# What kind of source of galaxies a name means: archives of images, or something else.

_SPLITS = {"validation": "val", "valid": "val", "dev": "val"}


def open_listing(
    source: str | Path, *, id_col: str, file_col: str, image_col: str | None = None
) -> ListedRows | None:
    """The galaxies of archives of images; None if the source is something else, such as a table.

    Args:
        source: An archive of images, or a Parquet file with images in its rows; a folder of files of one such
            kind (`containers.catalog_kinds`), or of a Hugging Face dataset saved there; or a pattern of file
            names, such as "shards/*.tar".
        id_col: What the column of ids is called.
        file_col: What the column of locations is called. A Parquet file that has it is a table.
        image_col: The column of images of Parquet files and datasets; None is the only one.

    Raises:
        CatalogError: If a pattern fits nothing, files are of several kinds, or a folder holds archives and
            images.

    Example:
        >>> open_listing("galaxies.csv", id_col="id_str", file_col="file_loc") is None
        True
    """
    path = Path(source).expanduser()
    archives: list[OpenListed] | None
    if path.is_dir():
        archives = _of_folder(path, id_col, file_col, image_col)
    elif path.is_file():
        archives = _of_files([path], id_col, file_col, image_col) if _is_archive(path, file_col) else None
    elif glob.has_magic(str(path)):
        archives = _of_pattern(path, id_col, file_col, image_col)
    else:
        archives = None
    if archives is None:
        return None
    return ListedRows(archives, id_col=id_col, file_col=file_col, name=str(source))


def _of_folder(folder: Path, id_col: str, file_col: str, image_col: str | None) -> list[OpenListed] | None:
    folder = folder.absolute()
    if is_saved_dataset(folder):
        return [_dataset(folder, id_col, image_col, prefix="")]
    if (folder / "dataset_dict.json").is_file():
        splits = _read_splits(folder)
        return [
            _dataset(folder / name, id_col, image_col, prefix=f"{name}/", split=_SPLITS.get(name, name))
            for name in splits
        ]
    there = sorted(path for path in folder.iterdir() if path.is_file())
    files = [path for path in there if _is_archive(path, file_col)]
    if files and any(is_image_name(path.name) for path in there):
        msg = f"the folder {str(folder)!r} holds images and archives of images; which are the catalog?"
        raise CatalogError(msg)
    if not files:
        return None
    passed_over = PassedOver(f"the folder {str(folder)!r}")
    archives = set(files)
    for path in there:
        if path not in archives:
            passed_over.add(path.name)
    passed_over.tell(logger)
    return _of_files(files, id_col, file_col, image_col)


def _read_splits(folder: Path) -> list[str]:
    """The folders of a larger dataset, which lie in its own."""
    try:
        splits = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        refuse_other_folders(list(map(str, splits)))
    except (ImageError, ValueError, KeyError, TypeError) as error:
        raise CatalogError(f"can't read the dataset {folder}: {error}") from error
    return list(map(str, splits))


def _dataset(
    folder: Path, id_col: str, image_col: str | None, *, prefix: str, split: str | None = None
) -> OpenListed:
    def open_dataset(passed_over: PassedOver) -> Listed:
        del passed_over  # every row is a galaxy
        try:
            rows = SavedDataset(str(folder))
        except ImageError as error:
            raise CatalogError(f"{folder}: {error}") from error
        return _ListedCells(str(folder), rows, id_col=id_col, image_col=image_col, prefix=prefix, split=split)

    return open_dataset


def _of_pattern(pattern: Path, id_col: str, file_col: str, image_col: str | None) -> list[OpenListed]:
    files = [Path(found) for found in sorted(glob.glob(str(pattern), recursive=True))]
    if not files:
        raise CatalogError(f"no file fits the pattern {str(pattern)!r}")
    others = [path.name for path in files if not (path.is_file() and _is_archive(path, file_col))]
    if others:
        *first, last = (f"{kind.word}s" for kind in catalog_kinds())
        raise CatalogError(
            f"a pattern is for {', '.join(first)} and {last} with images, but {str(pattern)!r} also fits "
            f"{others[:5]}"
        )
    return _of_files(files, id_col, file_col, image_col)


def _is_archive(path: Path, file_col: str) -> bool:
    """Whether galaxies are listed of a file; a table that says where its images are is none."""
    kind = kind_of_name(path.name)
    if kind is None or kind.holds == "names":
        return kind is not None
    try:
        rows = kind.load()(str(path))
    except (ImageError, OSError):
        return False  # whatever reads it as a table says what is wrong
    rows = cast("ImageRows", rows)
    return bool(rows.columns) and file_col not in (*rows.columns, *rows.others)


def _of_files(files: Sequence[Path], id_col: str, file_col: str, image_col: str | None) -> list[OpenListed]:
    kinds = {path.suffix.lower() for path in files}
    if len(kinds) > 1:
        msg = f"archives of one catalog must be of one kind, got {sorted(kinds)} in {str(files[0].parent)!r}"
        raise CatalogError(msg)
    return [
        partial(
            _open_file,
            str(path.absolute()),
            id_col=id_col,
            image_col=image_col,
            prefix="" if len(files) == 1 else f"{path.stem}/",
        )
        for path in files
    ]


def _open_file(
    path: str, passed_over: PassedOver, *, id_col: str, image_col: str | None, prefix: str
) -> Listed:
    """The galaxies of one archive."""
    kind = cast("Kind", kind_of_name(path))
    try:
        archive = kind.load()(path)
        if isinstance(archive, ImageRows):
            return _ListedCells(path, archive, id_col=id_col, image_col=image_col, prefix=prefix)
        return ListedMembers(path, cast("Archive", archive), id_col=id_col, passed_over=passed_over)
    except (ImageError, OSError) as error:
        raise CatalogError(f"can't read {path}: {error}") from error
