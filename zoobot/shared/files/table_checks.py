"""What every reader of tables shares: rows, errors that name the file, limits, and bytes that become text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
import pandas as pd

from zoobot.shared import defaults
from zoobot.shared.errors import CatalogError, ZoobotError

#: Under which name a DataFrame's `attrs` keep which columns were left out, and why.
TOLD = "zoobot_told"
"""Where the `attrs` of a DataFrame hold what its file says of columns: unit, ucd and description by name."""

LEFT_OUT = "left out"

_PACKED = (".gz", ".bz2", ".zst")
_MIB = 2**20


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say which table is damaged, where reading it fails."""
    try:
        yield
    except ZoobotError:
        raise
    except UnicodeDecodeError as error:
        odd = error.object[error.start : error.start + 1]
        raise CatalogError(
            f"can't read the table {str(path)!r}: it is not {error.encoding.upper()}, for it holds the byte "
            f"{odd!r}. Convert it to UTF-8; if it came from Windows or is in Latin-1: iconv -f WINDOWS-1252 "
            f"-t UTF-8 {path.name} > utf8_{path.name}"
        ) from error
    except Exception as error:  # csv, zlib, pandas, Arrow and astropy each have their own for damaged files
        words = str(error)
        words = words if len(words) < 1000 else f"{words[:1000]} …"
        raise CatalogError(f"can't read the table {str(path)!r}: {type(error).__name__}: {words}") from error


def refuse_repeated_columns(columns: Sequence[Any], name: str) -> None:
    """Raise a CatalogError that names the columns which occur twice in the table called `name`."""
    repeated = [column for column, count in Counter(columns).items() if count > 1]
    if repeated:
        msg = f"column names must be different, but {name} repeats {repeated}; rename or drop the copies"
        raise CatalogError(msg)


def find_column(wanted: str, names: Sequence[Any]) -> str:
    """The column of that name, or else the only one that differs in letter case alone; else what was wanted.

    Example:
        >>> find_column("ra", ["RA", "DEC"])
        'RA'
    """
    near = [name for name in names if str(name).casefold() == wanted.casefold()]
    return str(near[0]) if wanted not in names and len(near) == 1 else wanted


def has_compression(path: Path) -> bool:
    """Whether a file's name says that it is packed."""
    return path.name.lower().endswith(_PACKED)


def room_for_packed(path: Path) -> int:
    """The most bytes that a packed table may unpack to: 50 times its size, where it is large."""
    return 16 * _MIB + 50 * path.stat().st_size


def room_for_repeated(path: Path) -> int:
    """The most bytes that a table may take which can say once what many rows share: 200 times its size."""
    return 128 * _MIB + 200 * path.stat().st_size


def refuse_bombs(path: Path | str, wanted: float, room: int, advice: str, *, size: int | None = None) -> None:
    """Raise a CatalogError if a small file asks for far more memory than tables of its size need."""
    if wanted > room:
        size = Path(path).stat().st_size if size is None else size
        raise CatalogError(
            f"the table {str(path)!r} has {size:,} bytes, but asks for {wanted:,.0f} or more: "
            f"more than an honest table would ({room:,}). {advice}"
        )


def decode_text(values: Sequence[Any], column: str, name: str, *, padded: bool = True) -> list[str | None]:
    """Bytes of a column as text; None where nothing stands.

    Args:
        values: bytes, text, or None.
        column: The column, for messages.
        name: The table, for messages.
        padded: Whether blanks and zeros fill up their fields, as in FITS, and are none of the text.

    Raises:
        CatalogError: If they are not UTF-8.

    Example:
        >>> decode_text([b"edge-on  ", b"", None], "kind", "galaxies.fits")
        ['edge-on', None, None]
    """
    texts: list[str | None] = []
    for row, value in enumerate(values):
        try:
            text = value.decode("utf-8") if isinstance(value, bytes) else value
        except UnicodeDecodeError as error:
            raise CatalogError(
                f"column {column!r} of {name} holds {value[:40]!r} (row {row}, counted from 0), which is no "
                "UTF-8 text: write it as text where the table comes from"
            ) from error
        if padded and isinstance(text, str):
            text = text.partition("\0")[0].rstrip(" ")
        texts.append(text if isinstance(text, str) and text else None)
    return texts


def decoded_frame(table: pd.DataFrame) -> pd.DataFrame:
    """The table with bytes as text; the very same one where it has none."""
    new = {}
    for place, dtype in enumerate(table.dtypes):
        if not pd.api.types.is_object_dtype(dtype):
            continue
        column = table.iloc[:, place]
        values = column.to_numpy(dtype=object)
        if not any(isinstance(value, bytes) for value in values):
            continue
        try:
            new[column.name] = [v.decode("utf-8") if isinstance(v, bytes) else v for v in values]
        except UnicodeDecodeError:
            continue  # pictures, perhaps; where it is needed as text, it is refused there
    if not new:
        return table
    return table.assign(
        **{name: np.array([*values, None], dtype=object)[:-1] for name, values in new.items()}
    )


# How large the pages of a Parquet file say they are, each in its own header: the footer may say anything.
#
# A reader unpacks a page into as much memory as its header asks for, so the sum of these is known before any
# is unpacked. The headers are in Thrift's compact protocol, of which only numbers are looked at.

_HEADER_BYTES, _LARGEST_HEADER = 2**12, 2**20
_DEEPEST = 20
_UNPACKED_BYTES, _PACKED_BYTES = 2, 3
#: An honest page holds hundreds of rows, of large values one; large values are in no column of a catalog.
_PAGES, _ROWS_IN_PAGE = 200_000, 100


def page_sizes(file: BinaryIO, chunk: Any) -> Iterator[int]:
    """The bytes that each page of a column chunk unpacks to, as its header says.

    Args:
        file: The open file.
        chunk: The chunk's metadata, of pyarrow.

    Raises:
        ValueError: If a header is damaged, or there are absurdly many pages.
    """
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        start = min(start, chunk.dictionary_page_offset)
    end, pages = start + chunk.total_compressed_size, 0
    while start < end:
        unpacked, packed, length = _read_header(file, start)
        if unpacked < 0 or packed < 0:
            msg = f"the page at byte {start:,} says that it has {unpacked:,} bytes, {packed:,} when packed"
            raise ValueError(msg)
        pages += 1
        if pages > max(_PAGES, chunk.num_values // _ROWS_IN_PAGE):
            raise ValueError(f"it has {chunk.num_values:,} values in more than {pages - 1:,} pages")
        yield unpacked
        start += length + packed


def _read_header(file: BinaryIO, start: int) -> tuple[int, int, int]:
    """What a page unpacks to, its packed size, and its header's own."""
    for size in (_HEADER_BYTES, _LARGEST_HEADER):  # longer where it holds long statistics
        file.seek(start)
        numbers = _Numbers(file.read(size))
        try:
            numbers.skip(_STRUCT)
        except IndexError:
            continue
        return numbers.found.get(_UNPACKED_BYTES, -1), numbers.found.get(_PACKED_BYTES, -1), numbers.place
    raise ValueError(f"the page at byte {start:,} has no whole header")


_DOUBLE, _BYTES, _LIST, _SET, _MAP, _STRUCT = range(7, 13)


class _Numbers:
    """Walks over one value, and keeps the integers among the fields of the outermost record.

    Attributes:
        found: These integers by the numbers of their fields.
        place: How far the walk has come.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.place = 0
        self.found: dict[int, int] = {}

    def skip(self, kind: int, depth: int = 0) -> None:
        """Walk over a value of some kind; an IndexError where it is not whole."""
        if depth > _DEEPEST:
            raise ValueError(f"a header of a page is nested more than {_DEEPEST} deep")
        if kind == _STRUCT:
            self._skip_record(depth)
        elif kind in (4, 5, 6):
            self._varint()
        elif kind == 3:
            self._step(1)
        elif kind == _DOUBLE:
            self._step(8)
        elif kind == _BYTES:
            self._step(self._varint())
        elif kind in (_LIST, _SET):
            head = self._byte()
            self._skip_each(self._varint() if head >> 4 == 15 else head >> 4, depth, head & 15)
        elif kind == _MAP:
            many = self._varint()
            kinds = self._byte() if many else 0
            self._skip_each(many, depth, kinds >> 4, kinds & 15)
        else:
            raise ValueError(f"a header of a page has a field of the unknown kind {kind}")

    def _skip_each(self, many: int, depth: int, *kinds: int) -> None:
        for _ in range(many):
            for kind in kinds:
                # truths take a byte in lists, none as fields
                self.skip(3 if kind in (1, 2) else kind, depth + 1)

    def _skip_record(self, depth: int) -> None:
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else _signed(self._varint())
            kind = head & 15
            if depth == 0 and kind in (4, 5, 6):
                self.found[number] = _signed(self._varint())
            elif kind not in (1, 2):
                self.skip(kind, depth + 1)

    def _byte(self) -> int:
        self._step(1)
        return self._content[self.place - 1]

    def _step(self, size: int) -> None:
        self.place += size
        if self.place > len(self._content):
            raise IndexError

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a header of a page has a number of more than 64 bits")


def _signed(number: int) -> int:
    return (number >> 1) ^ -(number & 1)


# What rows of a table are: those of a few at a time, whatever holds them, with only the columns needed.

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


class TableRows:
    """A table that is in memory; bytes in it become text.

    Args:
        table: The table.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = decoded_frame(table)
        self.names: Sequence[str] = list(table.columns)
        self.left_out: dict[str, str] = dict(table.attrs.get(LEFT_OUT, {}))
        self.told: dict[str, dict[str, str]] = dict(table.attrs.get(TOLD, {}))

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The rows that are wanted."""
        for start in range(0, len(self.table), defaults.ROWS_AT_ONCE):
            if wanted(start, min(start + defaults.ROWS_AT_ONCE, len(self.table))):
                part = self.table.iloc[start : start + defaults.ROWS_AT_ONCE]
                yield RowChunk(start, [part[column] for column in columns])


def as_told(**told: Any) -> dict[str, str]:
    """What a catalog says of a column: `unit`, `ucd` and `description`, where it says something."""
    return {key: str(text).strip() for key, text in told.items() if text is not None and str(text).strip()}


def as_vectors(names: Iterable[str]) -> dict[str, str]:
    """Columns that are left out, and why: no number, text or truth stands in each of their rows."""
    return dict.fromkeys(names, "it holds a vector or a record in each row")
