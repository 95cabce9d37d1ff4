"""Tables of delimited text, as people have them: the one place that decides how such a file is read.

CSV with commas, tabs, semicolons or bars; blanks in .txt and .dat; ECSV; UTF-8 with or without byte order
marks, or UTF-16 with one; packed or not; comment lines before the header, as of VizieR and TOPCAT. What was
decided is logged where it is not plain CSV.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from zoobot.shared import defaults
from zoobot.shared.errors import CatalogError
from zoobot.shared.files.spreadsheets import unguarded
from zoobot.shared.files.table_checks import (
    RowChunk,
    Wanted,
    as_vectors,
    has_compression,
    readable,
    refuse_bombs,
    refuse_repeated_columns,
    room_for_packed,
)

logger = logging.getLogger("zoobot")

_ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".ecsv")
_PACKINGS = ("", ".gz", ".bz2", ".zst")
DELIMITED_SUFFIXES = tuple(f"{ending}{packing}" for ending in _ENDINGS for packing in _PACKINGS)

_CELLS_AT_ONCE = 2**22
_MOST_IN_CELL = 2**20
_MOST_IN_ROW = 2**24
_MOST_IN_CHUNK = 2**23
_MOST_LINES_BEFORE = 100_000
_BLOCK = 2**18
#: Before 131,072 characters the csv module gives up by default, in this whole process.
csv.field_size_limit(max(csv.field_size_limit(), _MOST_IN_CELL))

_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars", " ": "blanks"}
_UNPACK = "If it is sound, unpack it and give the unpacked file"
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DASHES = re.compile(r"\s*-+\s*")


class _Unpacked(io.RawIOBase):
    """The bytes of a packed file, as long as they are not absurdly many."""

    def __init__(self, path: Path) -> None:
        self._path, self._room, self._count = path, room_for_packed(path), 0
        name = path.name.lower()
        if name.endswith(".gz"):
            self._source: Any = gzip.open(path, "rb")  # noqa: SIM115  closed with this
        elif name.endswith(".bz2"):
            self._source = bz2.open(path, "rb")  # noqa: SIM115
        else:
            self._source = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._source.read(len(buffer))
        self._count += len(content)
        refuse_bombs(self._path, self._count, self._room, _UNPACK)
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._source.close()
        super().close()


def open_unpacked(path: Path) -> BinaryIO:
    """A file open for reading its bytes, unpacked where its name ends in .gz, .bz2 or .zst."""
    if not has_compression(path):
        return path.open("rb")
    return cast("BinaryIO", io.BufferedReader(_Unpacked(path), _MOST_IN_CELL))


def _refuse_packed_bombs(path: Path) -> None:
    """Unpack a file once, ahead of its rows: parsing the millions that a bomb may hold takes far longer."""
    if has_compression(path):
        with open_unpacked(path) as file:
            while file.read(_MOST_IN_CELL):
                pass


def open_text(path: Path) -> tuple[io.TextIOWrapper, str]:
    """A file open for reading its text, unpacked and decoded, and the name of its encoding.

    Raises:
        CatalogError: If it is in UTF-32, or in UTF-16 without a byte order mark.
    """
    file = open_unpacked(path)
    start = cast("Any", file).peek(4)[:4]
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    if start in (b"\xff\xfe\0\0", b"\0\0\xfe\xff") or (encoding == "utf-8" and b"\0" in start[:2]):
        file.close()
        form = "UTF-32" if start[2:4] in (b"\0\0", b"\xfe\xff") else "UTF-16 without a byte order mark"
        raise CatalogError(f"can't read the table {str(path)!r}: it seems to be {form}; convert it to UTF-8")
    return io.TextIOWrapper(file, encoding=encoding, newline=""), encoding


class _Text:
    """A text as lines that C code iterates, a block at a time; no row of it may be endless.

    Attributes:
        in_row: The characters read since this was last set to 0, in whole blocks.
        in_chunk: The same, for another to count.
    """

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file
        self.in_row, self.in_chunk = 0, 0
        self.lines = chain.from_iterable(self._blocks())

    def _blocks(self) -> Iterator[io.StringIO]:
        block = self._file.read(_BLOCK).lstrip("\ufeff")
        while block:
            block += self._file.readline(_MOST_IN_ROW + 1)
            self.in_row += len(block)
            self.in_chunk += len(block)
            if self.in_row > _MOST_IN_ROW + _BLOCK:
                raise ValueError(f"a row has more than {_MOST_IN_ROW:,} characters")
            yield io.StringIO(block, newline="")
            block = self._file.read(_BLOCK)


class _Dialect(NamedTuple):
    """How rows are told from lines.

    Attributes:
        delimiter: What stands between cells.
        header: Whether the first line that is no comment has the names; otherwise the last comment had.
        skipped: How many rows after the header are units and rules of dashes.
        comments: Whether there are comment lines.
    """

    delimiter: str
    header: bool = True
    skipped: int = 0
    comments: bool = False


class Delimited:
    """The columns of a table of delimited text, and its rows, read a few at a time.

    Args:
        path: The file; its name ends in one of `DELIMITED_SUFFIXES`.

    Attributes:
        names: Its columns.
        texts: The columns that the file itself declares to be text, as ECSV can.
        vectors: The columns that the file itself declares to hold a vector in each row.

    Raises:
        CatalogError: If there is not even a line, or it is in an unknown encoding.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.texts: frozenset[str] = frozenset()
        self.vectors: frozenset[str] = frozenset()
        _refuse_packed_bombs(path)
        file, encoding = open_text(path)
        with file:
            self._look(_Text(file).lines)
        self._log(encoding)

    @property
    def delimiter(self) -> str:
        """What stands between cells."""
        return self._dialect.delimiter

    @property
    def is_plain(self) -> bool:
        """Whether the first line has the names, and the rows follow."""
        return self._dialect.header and not self._dialect.skipped and not self._dialect.comments

    def _look(self, lines: Iterator[str]) -> None:
        comments, start = _skip_comments(lines)
        if not start:
            comment = " but comments" if comments else ""
            msg = f"the table {str(self._path)!r} is empty{comment}: not even a line with column names"
            raise CatalogError(msg)
        is_ecsv = bool(comments) and comments[0].startswith("%ECSV")
        start.append(next(lines, ""))
        delimiter = self._read_ecsv(comments) if is_ecsv else _find_delimiter(self._path, *start[-2:])
        self._dialect = _Dialect(delimiter, comments=len(start) > 2)
        rows = (row for row in self._reader(chain(start[-2:], lines)) if row)
        names, after = next(rows), list(islice(rows, 2)) if comments else []
        commented: list[str] = next(self._reader([comments[-1]]), []) if comments else []
        if _is_header(commented, names):
            self._dialect, names = self._dialect._replace(header=False), commented
        elif any(rule := [_is_rule(row) for row in after]):
            self._dialect = self._dialect._replace(skipped=rule.index(True) + 1)
        strip = self._dialect.skipped or not self._dialect.header
        self.names = [unguarded(name.strip() if strip else name) for name in names]

    def _log(self, encoding: str) -> None:
        told = [] if encoding == "utf-8" else [f"in {encoding.upper()}"]
        if self.delimiter != ",":
            told.append(f"separated by {_DELIMITERS.get(self.delimiter, repr(self.delimiter))}")
        if self._dialect.comments:
            told.append("with comment lines (#)")
        if not self._dialect.header:
            told.append("with the columns' names in the last of these")
        if self._dialect.skipped:
            told.append("with units and rules below the header, and blanks around cells")
        if told:
            logger.info("%s is read as text %s", self._path, ", ".join(told))

    def chunks(self, columns: Sequence[str], most: int) -> Iterator[tuple[int, list[Sequence[str]]]]:
        """The number of the first row, and the cells of each column, of some rows at a time.

        Args:
            columns: Which columns.
            most: How many rows at most; fewer where they are long.
        """
        places = [self.names.index(column) for column in columns]
        pick, width, padded = itemgetter(*places, places[0]), len(self.names), bool(self._dialect.skipped)
        first, chunk = 0, []
        file, _ = open_text(self._path)
        with file:
            text = _Text(file)
            for row in self._rows(text):
                text.in_row = 0
                cells = pick(row if len(row) == width else [*row, *[""] * width])[:-1]
                chunk.append(tuple(map(str.strip, cells)) if padded else cells)
                if len(chunk) == most or text.in_chunk > _MOST_IN_CHUNK:
                    yield first, list(zip(*chunk, strict=True))
                    first, chunk, text.in_chunk = first + len(chunk), [], 0
            if chunk:
                yield first, list(zip(*chunk, strict=True))

    def _rows(self, text: _Text) -> Iterator[list[str]]:
        """The rows below the header, without comments; a row with a cell too many has lost a quote."""
        _, start = _skip_comments(text.lines)
        reader = self._reader(chain(start[-1:], text.lines))
        for _ in range(self._dialect.header + self._dialect.skipped):
            next(row for row in reader if row)
        width, comments = len(self.names), self._dialect.comments
        for row in reader:
            if len(row) != width:
                if not row or (comments and self._is_comment(row)):
                    text.in_row = 0
                    continue
                if len(row) > width:
                    line = len(start) - 1 + reader.line_num
                    raise ValueError(f"line {line:,} has {len(row):,} cells, but there are {width:,} columns")
            yield row

    @staticmethod
    def _is_comment(row: list[str]) -> bool:
        if row[0].startswith(("#RESOURCE", "#Table")):
            raise ValueError(f"another table begins below its rows ({row[0][:40]}); keep one in a file")
        return row[0].startswith("#")

    def _reader(self, lines: Iterable[str]) -> Any:
        blanks = self._dialect.delimiter == " "
        lines = (f"{line.rstrip()}\n" for line in lines) if blanks else lines
        return csv.reader(lines, delimiter=self._dialect.delimiter, strict=True, skipinitialspace=blanks)

    def _read_ecsv(self, comments: Sequence[str]) -> str:
        """The delimiter of an ECSV file, whose comments are YAML: of it only plain text is taken."""
        import yaml  # late: few tables need it

        # makes text, lists and dicts of it whatever its tags say
        told = yaml.load("\n".join(comments[1:]), Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
        if not isinstance(told, dict) or not isinstance(told.get("datatype", []), list):
            raise TypeError("its header is not that of an ECSV file")
        columns = [column for column in told.get("datatype", []) if isinstance(column, dict)]
        texts = (column.get("name") for column in columns if column.get("datatype") == "string")
        self.texts = frozenset(name for name in texts if isinstance(name, str))
        vectors = (column.get("name") for column in columns if "subtype" in column)
        self.vectors = frozenset(name for name in vectors if isinstance(name, str))
        delimiter = told.get("delimiter", " ")
        if delimiter not in (" ", ","):
            raise ValueError(f"the delimiter of an ECSV file is a blank or a comma, got {delimiter!r}")
        return str(delimiter)


def _skip_comments(lines: Iterator[str]) -> tuple[list[str], list[str]]:
    """The comments before the header without their #; and all lines up to it, empty if there is none."""
    comments: list[str] = []
    before: list[str] = []
    for line in lines:
        before.append(line)
        if line.startswith("#"):
            text = line[1:].rstrip("\r\n")
            comments.append(text[1:] if text.startswith(" ") else text)
        elif line.strip("\r\n"):
            return comments, before
        if len(before) > _MOST_LINES_BEFORE:
            raise ValueError(f"more than {_MOST_LINES_BEFORE:,} lines stand before the columns' names")
    return comments, []


def _find_delimiter(path: Path, header: str, below: str) -> str:
    """What stands between the cells: what the name says, if the header and the line below agree."""
    name = path.name.lower()
    is_csv, is_tsv = name.endswith(_ends_of(".csv")), name.endswith(_ends_of(".tsv"))
    order = ",;\t|" if is_csv else "\t,;|"
    there = [mark for mark in order if _count_cells(header, mark) > 1]
    agreed = [mark for mark in there if _count_cells(header, mark) == _count_cells(below, mark)]
    if agreed or there:
        return (agreed or there)[0]
    return order[0] if is_csv or is_tsv or " " not in header.strip() else " "


def _ends_of(ending: str) -> tuple[str, ...]:
    return tuple(f"{ending}{packing}" for packing in _PACKINGS)


def _count_cells(line: str, delimiter: str) -> int:
    return len(next(csv.reader([line], delimiter=delimiter), []))


def _is_header(commented: Sequence[str], first: Sequence[str]) -> bool:
    """Whether a comment holds the columns' names: as many as the first row, which has numbers, has cells."""
    names = {name.strip() for name in commented}
    has_numbers = any(_NUMBER.fullmatch(cell.strip()) for cell in first)
    return len(names) == len(commented) == len(first) > 1 and has_numbers and "" not in names


def _is_rule(row: Sequence[str]) -> bool:
    return all(_DASHES.fullmatch(cell) for cell in row)


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
        self.left_out = as_vectors(self._file.vectors)
        self.names: Sequence[str] = [name for name in self._file.names if name not in self.left_out]

    def cells(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Sequence[str]]]]:
        """The number of the first row, and the cells of each column, of some rows at a time."""
        most = max(1, min(defaults.ROWS_AT_ONCE, _CELLS_AT_ONCE // max(1, len(columns))))
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
