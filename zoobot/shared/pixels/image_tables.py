"""Images in tables: Parquet files, and datasets saved by Hugging Face's library."""

from __future__ import annotations

import bisect
import json
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import accumulate, count, pairwise
from pathlib import Path
from typing import Any, BinaryIO, cast

import pandas as pd
import pyarrow as pa
from pyarrow import parquet, types

from zoobot.shared import defaults
from zoobot.shared.errors import ImageError
from zoobot.shared.files.table_checks import page_sizes, room_for_repeated
from zoobot.shared.imports import import_optional
from zoobot.shared.pixels.shared_files import ForkSafeCache, SharedFile

# Images in the rows of tables: which row and column a location names, and the bytes a row holds.


class ImageRows(ABC):
    """Rows that hold the bytes of images; a member is a row, counted from 0, or `COLUMN:ROW`.

    Attributes:
        kind: What it is called in messages.
        damage: Always empty: such a source can't be opened at all when it is truncated.
        columns: The columns that hold images.
        others: The columns with one number, text or truth in each row.
    """

    kind: str
    damage = ""
    columns: list[str]
    others: list[str]

    @abstractmethod
    def __len__(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def _read_cell(self, column: str, row: int) -> Any:
        """What stands in a cell: binary, or a record of `bytes` and `path`."""

    @abstractmethod
    def read_columns(self, names: list[str], rows: range) -> pd.DataFrame:
        """Some of the other columns, for rows that follow each other.

        Raises:
            ImageError: If the source is damaged there.
        """

    def __contains__(self, member: str) -> bool:
        try:
            column, row = _parse_row(member)
        except ImageError:
            return False
        return row < len(self) and (column is None or column in self.columns)

    def names(self) -> list[str]:
        """Every row, as the text of its number."""
        return list(map(str, range(len(self))))

    def read(self, member: str) -> bytes:
        """The bytes of the image in a row.

        Raises:
            ImageError: If there is no such row or column, the row holds no image, or the source is damaged.
        """
        wanted, row = _parse_row(member)
        column = choose_column(self.columns, wanted)
        if row >= len(self):
            msg = f"row {row:,} is asked for, but the {self.kind} has {len(self):,} (counted from 0)"
            raise ImageError(msg)
        return _image_bytes(self._read_cell(column, row))


def _parse_row(member: str) -> tuple[str | None, int]:
    """The column, or None, and the row that a member's name means.

    Raises:
        ImageError: If the name is neither ROW nor COLUMN:ROW.

    Example:
        >>> _parse_row("image:12"), _parse_row("12")
        (('image', 12), (None, 12))
    """
    column, _, row = member.rpartition(":")
    if row.isascii() and row.isdigit() and len(row) < 19:
        return column or None, int(row)
    raise ImageError(f"expected a row, counted from 0, or COLUMN:ROW, got {member!r}")


def choose_column(columns: list[str], wanted: str | None) -> str:
    """The column of images: the one asked for, or else the only one.

    Raises:
        ImageError: If it is not there, or there are several to choose from.
    """
    if wanted is None and len(columns) == 1:
        return columns[0]
    if wanted in columns:
        return str(wanted)
    expected = "one column of images" if wanted is None else f"the column of images {wanted!r}"
    raise ImageError(f"expected {expected}; the columns that can hold images are {columns}")


def _image_bytes(value: Any) -> bytes:
    """The bytes in a cell: binary, or a record of `bytes` and `path`.

    Raises:
        ImageError: If there are none, or too many.
    """
    data = value.get("bytes") if isinstance(value, dict) else value
    if data is None:
        path = value.get("path") if isinstance(value, dict) else None
        msg = f"the row holds no bytes, only the path {path!r}" if path else "the row holds no image"
        raise ImageError(msg)
    if len(data) > defaults.MAX_IMAGE_BYTES:
        raise ImageError(f"too large: {len(data):,} bytes, more than {defaults.MAX_IMAGE_BYTES:,}")
    return bytes(data)


# Images in a Parquet file: the row's bytes, read a row group at a time.

_ROWS_AT_ONCE, _BYTES_AT_ONCE = 1024, 2**26
_ERRORS = (pa.ArrowException, OSError, ValueError)


#: The columns of row groups read last, of all files together.
_ROW_GROUPS: ForkSafeCache[tuple[int, int, str], Any] = ForkSafeCache(lambda: defaults.ROW_GROUP_CACHE_BYTES)
_numbers = count()


class ParquetImages(ImageRows):
    """The rows of a Parquet file that has the bytes of an image file in each.

    A column of images holds binary values, or records of
    `bytes` and `path` as Hugging Face writes them. To read one row takes its whole row group, which is kept
    for the next: rows in order, or in small row groups, are fast; shuffled ones of large groups are slow.

    Args:
        path: The Parquet file.

    Raises:
        OSError: If the file can't be read.
        ImageError: If it is damaged.
    """

    kind = "file"

    def __init__(self, path: str) -> None:
        self._content, self._room = cast("BinaryIO", SharedFile(path)), room_for_repeated(Path(path))
        try:
            self._file = parquet.ParquetFile(SharedFile(path), page_checksum_verification=True)
        except (pa.ArrowException, ValueError) as error:
            raise ImageError(f"not a readable Parquet file, perhaps truncated ({error})") from error
        schema = self._file.schema_arrow
        self.columns = [field.name for field in schema if _holds_bytes(field.type)]
        self.others = _flat(schema)
        metadata = self._file.metadata
        sizes = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        self._starts = list(accumulate(sizes, initial=0))
        self._lock = threading.Lock()
        self._number = next(_numbers)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _read_cell(self, column: str, row: int) -> Any:
        group = bisect.bisect_right(self._starts, row) - 1
        return self._read_group(group, column)[row - self._starts[group]].as_py()

    def read_columns(self, names: list[str], rows: range) -> pd.DataFrame:
        """Some of the other columns; only the row groups that have the rows are read."""
        spans = enumerate(pairwise(self._starts))
        groups = [group for group, (start, stop) in spans if start < rows.stop and stop > rows.start]
        try:
            with self._lock:
                table = self._file.read_row_groups(groups, columns=names, use_threads=False)
        except _ERRORS as error:
            raise ImageError(f"the Parquet file is damaged ({error})") from error
        table = table.slice(rows.start - (self._starts[groups[0]] if groups else 0), len(rows))
        frame: pd.DataFrame = table.to_pandas(integer_object_nulls=True, ignore_metadata=True)
        return frame

    def _read_group(self, group: int, column: str) -> Any:
        key = (self._number, group, column)
        values = _ROW_GROUPS.get(key)
        if values is not None:
            return values
        with self._lock:  # the reader is for one thread, and the others may want the same group
            values = _ROW_GROUPS.get(key)
            if values is None:
                try:
                    values = self._read_values(group, column)
                except ImageError:
                    raise
                except _ERRORS as error:
                    raise ImageError(f"row group {group} of the Parquet file is damaged ({error})") from error
                _ROW_GROUPS.keep(key, values, values.nbytes)
        return values

    def _read_values(self, group: int, column: str) -> Any:
        """A column of a row group, a few rows at a time, since what stands once may be said of each."""
        sizes = [size for chunk in self._chunks(group, column) for size in page_sizes(self._content, chunk)]
        most = max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // max([1, *sizes])))
        self._refuse_bomb(sum(sizes), group)
        pieces, taken = [], 0
        for batch in self._file.iter_batches(most, row_groups=[group], columns=[column], use_threads=False):
            taken += batch.nbytes
            self._refuse_bomb(taken, group)
            pieces.append(batch.column(0))
        return pa.chunked_array(pieces, self._file.schema_arrow.field(column).type)

    def _chunks(self, group: int, column: str) -> Iterator[Any]:
        metadata = self._file.metadata.row_group(group)
        for place in range(metadata.num_columns):
            chunk = metadata.column(place)
            if chunk.path_in_schema == column or chunk.path_in_schema.startswith(f"{column}."):
                yield chunk

    def _refuse_bomb(self, wanted: int, group: int) -> None:
        if wanted > self._room:
            raise ImageError(
                f"row group {group} of the Parquet file asks for {wanted:,} bytes, {self._room:,} are allowed"
            )


def _flat(schema: Any) -> list[str]:
    """The columns of an Arrow schema with one number, text or truth in each row."""
    nested = (types.is_nested, types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    return [field.name for field in schema if not any(kind(field.type) for kind in nested)]


def _holds_bytes(kind: Any) -> bool:
    if types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_bytes(kind.field(place).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


class SavedDataset(ImageRows):
    """The rows of a folder made by `datasets.Dataset.save_to_disk`; classes with names are their names.

    Args:
        folder: The folder.

    Raises:
        ImageError: If the folder can't be read.
        MissingPackageError: If the package `datasets` is not installed.
    """

    kind = "dataset"

    def __init__(self, folder: str) -> None:
        self._rows = rows = _load_saved_dataset(folder)
        self.columns = [name for name, feature in rows.features.items() if _holds_images(feature)]
        self.others = [name for name in _flat(rows.features.arrow_schema) if name not in self.columns]
        self._by_column = {name: rows.select_columns([name]) for name in self.columns}

    def __len__(self) -> int:
        return len(self._rows)

    def read_columns(self, names: list[str], rows: range) -> pd.DataFrame:
        """Some of the other columns, for rows that follow each other."""
        part = self._rows.select_columns(names)[rows.start : rows.stop]
        table = pd.DataFrame({name: pd.Series(part[name], dtype=object) for name in names}).infer_objects()
        for name in names:
            classes = getattr(self._rows.features[name], "names", None)
            if isinstance(classes, list):
                table[name] = [classes[i] if i is not None and i >= 0 else None for i in part[name]]
        return table

    def _read_cell(self, column: str, row: int) -> Any:
        try:
            return self._by_column[column][row][column]
        except (OSError, ValueError) as error:  # Arrow's own errors are of these kinds
            raise ImageError(f"row {row:,} of the dataset is damaged ({error})") from error


def _load_saved_dataset(folder: str) -> Any:
    """The dataset in a folder, mapped from disk, with its images as bytes and not decoded.

    Raises:
        ImageError: If the folder can't be read.
        MissingPackageError: If the package `datasets` is not installed.
    """
    datasets = import_optional("datasets", needed_for=f"the Hugging Face dataset {folder!r}")
    try:
        refuse_other_folders(
            [str(file["filename"]) for file in _read_json(Path(folder) / "state.json")["_data_files"]]
        )
        rows = datasets.load_from_disk(folder, keep_in_memory=False).with_format(None)
        for name, feature in rows.features.items():
            if isinstance(feature, datasets.Image):
                rows = rows.cast_column(name, datasets.Image(decode=False))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(f"not a readable Hugging Face dataset ({type(error).__name__}: {error})") from error
    return rows


def refuse_other_folders(names: Sequence[str]) -> None:
    """Raise an ImageError if a dataset names files or folders that do not lie directly in its own."""
    odd = [name for name in names if name in ("", ".", "..") or not re.fullmatch(r"[^/\\:]+", name)]
    if odd:
        msg = f"the dataset names {odd[0]!r}, outside of its own folder: nothing makes us open that"
        raise ImageError(msg)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _holds_images(feature: Any) -> bool:
    """Whether a column of a dataset holds images: as such, or as plain bytes."""
    return type(feature).__name__ == "Image" or getattr(feature, "dtype", None) in ("binary", "large_binary")
