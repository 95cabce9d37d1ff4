"""The rows of a catalog read a few at a time, whatever its format, with only the columns that are needed."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute, parquet

from zoobot.shared.catalogs.delimited import DELIMITED_SUFFIXES, Delimited, open_unpacked
from zoobot.shared.catalogs.image_folders import PassedOver, id_of_image, image_names, is_image_name
from zoobot.shared.catalogs.votables import read_votable
from zoobot.shared.errors import CatalogError
from zoobot.shared.files.parquet_pages import page_sizes
from zoobot.shared.files.spreadsheets import unguarded
from zoobot.shared.files.table_checks import (
    LEFT_OUT,
    decode_text,
    decoded_frame,
    has_compression,
    readable,
    refuse_bombs,
    refuse_repeated_columns,
    room_for_packed,
    room_for_repeated,
)
from zoobot.shared.imports import import_optional

__all__ = ["TABLE_SUFFIXES", "RowChunk", "Rows", "TableRows", "open_rows", "open_table"]

logger = logging.getLogger("zoobot")

_ROWS_AT_ONCE = 65_536
_CELLS_AT_ONCE = 2**22
_FITS_SUFFIXES = (".fits", ".fits.gz", ".fits.bz2", ".fit")
_VOTABLE_SUFFIXES = (".vot", ".votable", ".xml")
TABLE_SUFFIXES = (*DELIMITED_SUFFIXES, ".parquet", *_FITS_SUFFIXES, *_VOTABLE_SUFFIXES)
_BYTES_AT_ONCE = 2**20

#: Parquet's texts by what they differ from the last in, so that a short page may hold very long ones.
_DIFFERENCES = {"DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"}
_MOST_REPEATED = 2**24

#: Whether any of the rows from one number up to another are needed.
Wanted = Callable[[int, int], bool]


class RowChunk(NamedTuple):
    """Some rows of a table that follow each other.

    Args:
        first: The number of the first one, counted from 0.
        columns: The columns that were asked for, in that order.
    """

    first: int
    columns: list[pd.Series]


class Rows(Protocol):
    """A table that is read a few rows at a time."""

    @property
    def names(self) -> Sequence[str]:
        """Its columns."""

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The rows in order, those left out that are not wanted, where the format lets them be skipped."""


def open_rows(path: Path, *, folder_columns: Sequence[str]) -> Rows:
    """What reads a file or folder: a table of any format, a folder of Parquet files or of images.

    Args:
        path: The file or folder.
        folder_columns: What the columns of a folder of images are called: ids, and the images' names.

    Raises:
        CatalogError: If it is absent, empty, or of no format that we know.
    """
    if not path.is_dir():
        return open_table(path)
    parquet = _parquet_files(path)
    if parquet and any(is_image_name(entry.name) for entry in os.scandir(path)):
        msg = f"the folder {str(path)!r} holds images and Parquet files; which are the catalog? Part them"
        raise CatalogError(msg)
    return ParquetRows(parquet) if parquet else _FolderRows(path, folder_columns)


def open_table(path: Path) -> DelimitedRows | ParquetRows | FitsRows | TableRows:
    """What reads a table in a file, its format taken from the suffix.

    VOTable is XML, of which a part can't be read alone: it is read whole.

    Raises:
        CatalogError: If it is absent, damaged, repeats a column, or is of no format that we know.
        MissingPackageError: If the package that reads this format is not installed.
    """
    name = path.name.lower()
    if not name.endswith(TABLE_SUFFIXES):
        absent = "" if path.exists() else ", which does not exist; a folder of images would do, too"
        msg = f"the name of a table must end in one of {list(TABLE_SUFFIXES)}, got {str(path)!r}{absent}"
        raise CatalogError(msg)
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "does not exist"
        msg = f"the table {str(path)!r} {reason}; expected a file{_only_local(path)}"
        raise CatalogError(msg)
    if name.endswith(DELIMITED_SUFFIXES):
        return DelimitedRows(path)
    if name.endswith(".parquet"):
        return ParquetRows([path])
    if name.endswith(_FITS_SUFFIXES):
        return FitsRows(path)
    with readable(path):
        table = read_votable(path)
    refuse_repeated_columns(list(table.columns), str(path))
    return TableRows(table)


def _only_local(path: Path) -> str:
    start = (path.parts or ("",))[0]
    if re.match(r"[A-Za-z]:(\\|$)", start):
        return "; its name is a path of Windows, which this machine does not know" if os.name != "nt" else ""
    is_address = ":" in start
    return " on this machine: nothing is fetched, so download it first" if is_address else ""


class TableRows:
    """A table that is in memory; bytes in it become text.

    Args:
        table: The table.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = decoded_frame(table)
        self.names: Sequence[str] = list(table.columns)
        self.left_out: dict[str, str] = dict(table.attrs.get(LEFT_OUT, {}))

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The rows that are wanted."""
        for start in range(0, len(self.table), _ROWS_AT_ONCE):
            if wanted(start, min(start + _ROWS_AT_ONCE, len(self.table))):
                part = self.table.iloc[start : start + _ROWS_AT_ONCE]
                yield RowChunk(start, [part[column] for column in columns])


class DelimitedRows:
    """A file of delimited text; every cell is text, and missing only where it is empty.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with readable(path):
            self._file = Delimited(path)
        refuse_repeated_columns(self._file.names, str(path))
        self.texts = self._file.texts
        self.left_out = _vectors(self._file.vectors)
        self.names: Sequence[str] = [name for name in self._file.names if name not in self.left_out]

    def cells(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Sequence[str]]]]:
        """The number of the first row, and the cells of each column, of some rows at a time."""
        most = max(1, min(_ROWS_AT_ONCE, _CELLS_AT_ONCE // max(1, len(columns))))
        with readable(self._path):
            yield from self._file.chunks(columns, most)

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The rows that are wanted."""
        for first, cells in self.cells(columns):
            if wanted(first, first + len(cells[0])):
                named = zip(columns, cells, strict=True)
                yield RowChunk(first, [pd.Series(_known(texts), name=name) for name, texts in named])


def _known(cells: Sequence[str]) -> np.ndarray:
    """Cells as an array of texts, None where nothing stands."""
    array = np.empty(len(cells), dtype=object)
    array[:] = [unguarded(cell) if cell else None for cell in cells]
    return array


def _parquet_files(folder: Path) -> list[Path]:
    """The files of a folder that is a Parquet dataset; what begins with _ or . is none of it, as in Arrow."""
    found = [*folder.glob("*.parquet"), *folder.glob("*=*/**/*.parquet")]
    return sorted(p for p in found if not any(s[0] in "._" for s in p.relative_to(folder).parts))


class ParquetRows:
    """Parquet files one after the other: without columns of lists and records, with indices that have names.

    Args:
        files: The files; all have the columns of the first.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        with readable(files[0]):
            schema = parquet.read_schema(files[0])
            stored = [field.name for field in schema if not _is_unnamed_index(field.name)]
            refuse_repeated_columns(stored, str(files[0]))
            nested = pa.types.is_nested
            self.left_out = _vectors(field.name for field in schema if nested(field.type))
            self._index = _named_range(schema, 0)[0]
        flat = [name for name in stored if name not in self.left_out]
        self.names: Sequence[str] = [*([self._index] if self._index else []), *flat]

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The rows that are wanted; whole row groups are skipped where none is."""
        for path, start, batch in self.batches(columns, wanted):
            # beside an empty cell, integers stay integers
            table = batch.to_pandas(integer_object_nulls=True, ignore_metadata=True)
            for name in table.columns[[self._is_binary(field.type) for field in batch.schema]]:
                table[name] = pd.Series(
                    decode_text(table[name].tolist(), name, str(path), padded=False), dtype=object
                )
            yield RowChunk(start, [table[column] for column in columns])

    def read_whole(self, needed: Sequence[str]) -> pd.DataFrame:
        """All rows; a column of bytes that are no text is left out, unless it is needed."""
        batches = [batch for _, _, batch in self.batches(self.names, lambda start, stop: True)]
        if not batches:
            return pd.DataFrame(columns=list(self.names))
        table = pa.Table.from_batches(batches)
        frame: pd.DataFrame = table.to_pandas(integer_object_nulls=True, ignore_metadata=True)
        for field in table.schema:
            if self._is_binary(field.type):
                texts = _decode_or_leave(self, frame[field.name].tolist(), field.name, needed, self._files[0])
                frame = (
                    frame.drop(columns=field.name) if texts is None else frame.assign(**{field.name: texts})
                )
        return frame

    def _is_binary(self, kind: Any) -> bool:
        types = pa.types
        return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))

    def batches(
        self, columns: Sequence[str], wanted: Wanted, rows: int | None = None
    ) -> Iterator[tuple[Path, int, Any]]:
        """The file, the number of the first row, and some rows of Arrow's, checked."""
        start = 0
        for path in self._files:
            with readable(path), self._open(path) as file:
                index, numbers = _named_range(file.schema_arrow, file.metadata.num_rows)
                there = set(file.schema_arrow.names)
                missing = [column for column in columns if column not in there and column != index]
                if missing:
                    msg = f"{path} lacks {missing}, which other files of that folder have"
                    raise CatalogError(msg)
                stored = [name for name in dict.fromkeys(columns) if name in there]
                most = self._refuse_many_rows(path, file, stored)
                opened, room = start, room_for_repeated(path)
                for group in range(file.num_row_groups):
                    stop = start + file.metadata.row_group(group).num_rows
                    if wanted(start, stop):
                        for batch in file.iter_batches(
                            min(rows or most, most),
                            row_groups=[group],
                            columns=stored,
                            use_threads=False,
                        ):
                            plain, room = self._as_plain(path, batch, room)
                            if index in columns and index not in stored:
                                place = start - opened
                                some = pa.array(numbers[place : place + len(batch)], "int64")
                                plain = pa.RecordBatch.from_arrays(
                                    [some, *plain.columns], names=[index, *stored]
                                )
                            yield path, start, plain
                            start += len(batch)
                    start = stop

    def _open(self, path: Path) -> Any:
        metadata = parquet.read_metadata(path)
        types = pa.types
        # which Arrow can't read as dictionaries
        by_difference = {
            chunk.path_in_schema for chunk in _chunks(metadata) if _DIFFERENCES & {*chunk.encodings}
        }
        texts = [
            field.name
            for field in metadata.schema.to_arrow_schema()
            if types.is_string(field.type) or types.is_large_string(field.type) or self._is_binary(field.type)
        ]
        # what is said once stays said once until its size is known
        once = [name for name in texts if name not in by_difference]
        return parquet.ParquetFile(path, buffer_size=_BYTES_AT_ONCE, read_dictionary=once)

    def _refuse_many_rows(self, path: Path, file: Any, columns: Sequence[str]) -> int:
        """Refuse what would fill the memory; otherwise how many rows may be read at once."""
        needed, room = set(columns), room_for_repeated(path)
        widths = [_width(field.type) for field in file.schema_arrow if field.name in needed]
        refuse_bombs(path, file.metadata.num_rows * sum(widths), room, "Is it damaged?")
        unpacked, most = 0, _ROWS_AT_ONCE
        with path.open("rb") as content:
            for chunk in _chunks(file.metadata):
                if chunk.path_in_schema not in needed:
                    continue
                for size in page_sizes(content, chunk):
                    unpacked += size
                    refuse_bombs(path, unpacked, room, "Is it damaged?")
                    if _DIFFERENCES & {*chunk.encodings}:  # each value may be as long as its page
                        most = max(1, min(most, _MOST_REPEATED // max(1, size)))
        return most

    def _as_plain(self, path: Path, batch: Any, room: int) -> tuple[Any, int]:
        """A batch whose texts are all written out, and the room that is left; damaged text is found here."""
        batch.validate(full=True)
        arrays = []
        for stored in batch.columns:
            array = stored
            if pa.types.is_dictionary(array.type):
                array.dictionary.validate(full=True)
                if not _width(array.type.value_type, text=0):
                    lengths = compute.take(compute.binary_length(array.dictionary), array.indices)
                    room -= compute.sum(lengths).as_py() or 0
                    refuse_bombs(
                        path, room_for_repeated(path) - room, room_for_repeated(path), "Is it damaged?"
                    )
                array = array.dictionary_decode()
            elif not _width(array.type, text=0):
                room -= compute.sum(compute.binary_length(array)).as_py() or 0
                refuse_bombs(path, room_for_repeated(path) - room, room_for_repeated(path), "Is it damaged?")
            arrays.append(array)
        return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names), room


def _chunks(metadata: Any) -> Iterator[Any]:
    """The metadata of each column of each row group."""
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for place in range(group.num_columns):
            yield group.column(place)


def _width(kind: Any, text: int = 4) -> int:
    """The bytes that a value of an Arrow type takes; `text` where that depends on the value."""
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return text


def _is_unnamed_index(name: str) -> bool:
    return name.startswith("__index_level_") and name.endswith("__")


def _named_range(schema: Any, rows: int) -> tuple[str | None, range]:
    """The name and the numbers of an index that pandas wrote as metadata alone."""
    try:
        indices = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
        found = indices[0] if len(indices) == 1 else None
        if isinstance(found, dict) and isinstance(found["name"], str) and found["name"] not in schema.names:
            numbers = range(found["start"], found["stop"], found["step"])
            if not rows or len(numbers) == rows:
                return found["name"], numbers
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        pass  # whatever that metadata is, it is none of pandas's, and there is no such index
    return None, range(0)


def _vectors(names: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(names, "it holds a vector or a record in each row")


def _decode_or_leave(
    rows: ParquetRows | FitsRows, values: list[Any], name: str, needed: Sequence[str], path: Path
) -> np.ndarray | None:
    try:
        texts = decode_text(values, name, str(path))
    except CatalogError as error:
        if name in needed:
            raise
        logger.warning("%s. The column is left out", error)
        rows.left_out[name] = str(error)
        return None
    return np.array([*texts, 0], dtype=object)[:-1]


class FitsRows:
    """The first table in a FITS file; columns that hold a vector in each row are left out.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fits = import_optional(
            "astropy.io.fits", needed_for=f"reading {path.name}", package="zoobot[fits]"
        )
        self._exceptions = import_optional("astropy.utils.exceptions", needed_for=f"reading {path.name}")
        with readable(path), self._open() as hdus:
            self._hdu = self._find_table(hdus)
            header, columns = hdus[self._hdu].header, hdus[self._hdu].columns
            self._length = int(header["NAXIS2"])
            self._nulls = [column.null for column in columns]
            self._places = {column.name: place for place, column in enumerate(columns)}
            refuse_repeated_columns([column.name for column in columns], str(path))
            flat = hdus[self._hdu].data[:0]
            vectors = [
                name
                for name, place in self._places.items()
                if any(code in str(columns[place].format) for code in "PQ") or flat.dtype[place].shape
            ]
        self.left_out = _vectors(vectors)
        self.names: Sequence[str] = [name for name in self._places if name not in self.left_out]

    @contextmanager
    def _open(self) -> Iterator[Any]:
        with warnings.catch_warnings():
            # on odd headers, and on files cut short, which we refuse ourselves
            warnings.simplefilter("ignore", self._exceptions.AstropyUserWarning)
            packed = has_compression(self._path)
            source = io.BytesIO(open_unpacked(self._path).read()) if packed else self._path
            # as bytes: astropy would take text for ASCII
            with self._fits.open(source, memmap=not packed, character_as_bytes=True) as hdus:
                yield hdus

    def _find_table(self, hdus: Any) -> int:
        """The place of the first table; what stands before it, and itself, must lie within the file."""
        for place in count():
            try:
                hdu = hdus[place]
            except IndexError:
                break
            is_table = isinstance(hdu, (self._fits.BinTableHDU, self._fits.TableHDU))
            info, header = hdu.fileinfo(), hdu.header
            end = info["datLoc"] + hdu.size
            held = room_for_packed(self._path) if has_compression(self._path) else self._path.stat().st_size
            width, rows = (int(header.get(key, 0)) for key in ("NAXIS1", "NAXIS2"))
            if hdu.size < 0 or end > held or (is_table and (rows < 0 or width * rows > held)):
                msg = f"extension {place} says that it ends at byte {end:,}, but the file has {held:,}"
                raise ValueError(msg)
            if is_table:
                if not width and rows:
                    msg = f"its {rows:,} rows have no bytes"
                    raise ValueError(msg)
                return place
        msg = "it holds no table"
        raise ValueError(msg)

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The rows that are wanted."""
        for start, data in self._chunks(wanted):
            yield RowChunk(start, [self._column(data, name, start) for name in columns])

    def read_whole(self, needed: Sequence[str]) -> pd.DataFrame:
        """All rows; a column of bytes that are no text is left out, unless it is needed."""
        pieces: dict[str, list[Any]] = {name: [] for name in self.names}
        for start, data in self._chunks(lambda start, stop: True):
            for name in [name for name in pieces if name not in self.left_out]:
                try:
                    pieces[name].append(self._column(data, name, start))
                except CatalogError as error:
                    if name in needed:
                        raise
                    logger.warning("%s. The column is left out", error)
                    self.left_out[name] = str(error)
        kept = {name: some for name, some in pieces.items() if name not in self.left_out}
        empty = pd.Series(dtype=object)
        return pd.DataFrame(
            {n: pd.concat(some, ignore_index=True) if some else empty for n, some in kept.items()}
        )

    def _chunks(self, wanted: Wanted) -> Iterator[tuple[int, Any]]:
        starts = [s for s in range(0, self._length, _ROWS_AT_ONCE) if wanted(s, s + _ROWS_AT_ONCE)]
        # opened anew for each chunk, since mapped pages count as memory; unless it is unpacked each time
        for together in [starts] if has_compression(self._path) else [[start] for start in starts]:
            with readable(self._path), self._open() as hdus:
                for start in together:
                    yield start, hdus[self._hdu].data[start : start + _ROWS_AT_ONCE]

    def _column(self, data: Any, name: str, first: int) -> pd.Series:
        place = self._places[name]
        values = np.array(data.field(place))
        if values.dtype.kind in "SU":
            texts = decode_text(values.tolist(), name, str(self._path))
            return pd.Series(texts, name=name, dtype=object)
        values = values.astype(values.dtype.newbyteorder("="))
        null = self._nulls[place]
        if null is None or values.dtype.kind not in "iu":
            return pd.Series(values, name=name)
        return pd.Series([None if v == null else v for v in values.tolist()], name=name, dtype=object)


class _FolderRows:
    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._folder, self._id_col = folder, columns[0]
        self.left_out: dict[str, str] = {}
        self.names: Sequence[str] = list(dict.fromkeys(columns))
        self._is_told = False

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        passed_over = PassedOver(f"the folder {str(self._folder)!r}")
        names = image_names(os.fspath(self._folder), passed_over)
        first = 0
        while chunk := list(islice(names, _ROWS_AT_ONCE)):
            if wanted(first, first + len(chunk)):
                ids = [id_of_image(name) for name in chunk]
                cells = [ids if column == self._id_col else chunk for column in columns]
                named = zip(columns, cells, strict=True)
                yield RowChunk(first, [pd.Series(values, name=name, dtype=object) for name, values in named])
            first += len(chunk)
        if not self._is_told:
            passed_over.tell(logger)
        self._is_told = True
