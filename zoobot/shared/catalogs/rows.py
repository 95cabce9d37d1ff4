"""The rows of a catalog read a few at a time, whatever its format, with only the columns that are needed."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from zoobot.shared.catalogs.image_folders import PassedOver, id_of_image, image_names, is_image_name
from zoobot.shared.catalogs.tables import (
    open_csv,
    read_csv_header,
    read_table,
    readable,
    refuse_repeated_columns,
)
from zoobot.shared.errors import CatalogError
from zoobot.shared.optional import import_optional

__all__ = ["RowChunk", "Rows", "open_rows"]

logger = logging.getLogger(__name__)

_ROWS_AT_ONCE = 65_536
_BYTES_AT_ONCE = 2**20

#: What stands in the cells of a CSV file where nothing does, as pandas reads them in the other commands.
_NOTHING = frozenset({"", "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null", "NaN", "nan", "None"})

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
    """What reads a file or folder: CSV, Parquet, FITS, VOTable, a folder of Parquet files or of images.

    VOTable is XML, of which a part can't be read alone: it is read whole.

    Args:
        path: The file or folder.
        folder_columns: What the columns of a folder of images are called: ids, and the images' names.

    Raises:
        CatalogError: If it is absent, empty, or of no format that we know.
    """
    if path.is_dir():
        parquet = _parquet_files(path)
        if parquet and any(is_image_name(entry.name) for entry in os.scandir(path)):
            msg = f"the folder {str(path)!r} holds images and Parquet files; which are the catalog? Part them"
            raise CatalogError(msg)
        return _ParquetRows(parquet) if parquet else _FolderRows(path, folder_columns)
    name = path.name.lower()
    if not path.is_file() or not name.endswith((".csv", ".csv.gz", ".parquet", ".fits", ".fit", ".fits.gz")):
        return TableRows(read_table(path))  # which says what is wrong with it
    if name.endswith(".parquet"):
        return _ParquetRows([path])
    return _CsvRows(path) if name.endswith((".csv", ".csv.gz")) else _FitsRows(path)


class TableRows:
    """A table that is in memory.

    Args:
        table: The table.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table
        self.names: Sequence[str] = list(table.columns)

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The rows that are wanted."""
        for start in range(0, len(self._table), _ROWS_AT_ONCE):
            if wanted(start, min(start + _ROWS_AT_ONCE, len(self._table))):
                part = self._table.iloc[start : start + _ROWS_AT_ONCE]
                yield RowChunk(start, [part[column] for column in columns])


class _CsvRows:
    def __init__(self, path: Path) -> None:
        self._path = path
        with readable(path):
            self.names: Sequence[str] = read_csv_header(path)
        refuse_repeated_columns(self.names, str(path))

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        places = [self.names.index(column) for column in columns]
        first = 0
        with readable(self._path), open_csv(self._path) as file:
            rows = self._cells(csv.reader(file, strict=True), places)
            while chunk := list(islice(rows, _ROWS_AT_ONCE)):
                if wanted(first, first + len(chunk)):
                    cells = zip(columns, zip(*chunk, strict=True), strict=True)
                    yield RowChunk(first, [pd.Series(_known(text), name=name) for name, text in cells])
                first += len(chunk)

    def _cells(self, reader: Any, places: Sequence[int]) -> Iterator[tuple[str, ...]]:
        """The needed cells of each row; a row with a cell too many has lost a quote, and is refused."""
        width, last, pick = len(self.names), max(places), itemgetter(*places, places[0])
        rows = (row for row in reader if row)
        next(rows)  # the header
        for row in rows:
            if len(row) > width:
                msg = f"line {reader.line_num} has {len(row):,} cells, but there are {width:,} columns"
                raise ValueError(msg)
            yield pick(row if len(row) > last else [*row, *[""] * width])[:-1]


def _known(cells: Sequence[str]) -> np.ndarray:
    """Cells as an array of texts, None where nothing stands."""
    array = np.empty(len(cells), dtype=object)
    array[:] = [None if cell in _NOTHING else cell for cell in cells]
    return array


def _parquet_files(folder: Path) -> list[Path]:
    """The files of a folder that is a Parquet dataset; what begins with _ or . is none of it, as in Arrow."""
    found = [*folder.glob("*.parquet"), *folder.glob("*=*/**/*.parquet")]
    return sorted(p for p in found if not any(s[0] in "._" for s in p.relative_to(folder).parts))


class _ParquetRows:
    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._parquet = import_optional("pyarrow.parquet", needed_for=f"reading {files[0].name}")
        with readable(files[0]):
            self.names: Sequence[str] = self._parquet.read_schema(files[0]).names
        refuse_repeated_columns(self.names, str(files[0]))

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        start = 0
        for path in self._files:
            with readable(path), self._parquet.ParquetFile(path, buffer_size=_BYTES_AT_ONCE) as file:
                missing = [column for column in columns if column not in file.schema_arrow.names]
                if missing:
                    msg = f"{path} lacks {missing}, which other files of that folder have"
                    raise CatalogError(msg)
                for group in range(file.num_row_groups):
                    stop = start + file.metadata.row_group(group).num_rows
                    if wanted(start, stop):
                        yield from self._read_group(file, group, start, columns)
                    start = stop

    @staticmethod
    def _read_group(file: Any, group: int, start: int, columns: Sequence[str]) -> Iterator[RowChunk]:
        needed = list(dict.fromkeys(columns))
        batches = file.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=needed, use_threads=False)
        for batch in batches:
            batch.validate(full=True)  # damaged text would else be found where it is first looked at
            # beside an empty cell, integers stay integers
            table = batch.to_pandas(integer_object_nulls=True, ignore_metadata=True)
            yield RowChunk(start, [table[column] for column in columns])
            start += batch.num_rows


class _FitsRows:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._fits = import_optional("astropy.io.fits", needed_for=f"reading {path.name}")
        with readable(path), self._open() as hdus:
            tables = (i for i, hdu in enumerate(hdus) if isinstance(hdu, self._fits.BinTableHDU))
            place = next(tables, None)
            if place is None:
                msg = "it holds no binary table"
                raise ValueError(msg)
            self._hdu = place
            self._length = int(hdus[place].header["NAXIS2"])
            self._nulls = {column.name: column.null for column in hdus[place].columns}
        self.names: Sequence[str] = list(self._nulls)

    def _open(self) -> Any:
        # as bytes: astropy would take text for ASCII
        return self._fits.open(self._path, memmap=True, character_as_bytes=True)

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        starts = [s for s in range(0, self._length, _ROWS_AT_ONCE) if wanted(s, s + _ROWS_AT_ONCE)]
        packed = self._path.name.lower().endswith(".gz")
        # opened anew for each chunk, since mapped pages count as memory; unless it is unpacked each time
        for together in [starts] if packed else [[start] for start in starts]:
            with readable(self._path), self._open() as hdus:
                for start in together:
                    data = hdus[self._hdu].data[start : start + _ROWS_AT_ONCE]
                    yield RowChunk(start, [self._column(data, name) for name in columns])

    def _column(self, data: Any, name: str) -> pd.Series:
        values = np.array(data.field(name))
        if values.ndim != 1:
            msg = f"column {name!r} holds a vector in each row"
            raise ValueError(msg)
        if values.dtype.kind == "S":
            return pd.Series(
                [text.decode("utf-8").rstrip() for text in values.tolist()], name=name, dtype=object
            )
        values = values.astype(values.dtype.newbyteorder("="))
        null = self._nulls[name]
        if null is None or values.dtype.kind not in "iu":
            return pd.Series(values, name=name)
        return pd.Series([None if v == null else v for v in values.tolist()], name=name, dtype=object)


class _FolderRows:
    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._folder, self._id_col = folder, columns[0]
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
