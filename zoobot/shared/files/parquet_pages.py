"""How large the pages of a Parquet file say they are, each in its own header: the footer may say anything.

A reader unpacks a page into as much memory as its header asks for, so the sum of these is known before any is
unpacked. The headers are in Thrift's compact protocol, of which only numbers are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

_HEADER_BYTES, _LARGEST_HEADER = 2**12, 2**20
_DEEPEST = 20
_UNPACKED, _PACKED = 2, 3
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
            msg = f"it has {chunk.num_values:,} values in more than {pages - 1:,} pages"
            raise ValueError(msg)
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
        return numbers.found.get(_UNPACKED, -1), numbers.found.get(_PACKED, -1), numbers.place
    msg = f"the page at byte {start:,} has no whole header"
    raise ValueError(msg)


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
            msg = f"a header of a page is nested more than {_DEEPEST} deep"
            raise ValueError(msg)
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
            msg = f"a header of a page has a field of the unknown kind {kind}"
            raise ValueError(msg)

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
        msg = "a header of a page has a number of more than 64 bits"
        raise ValueError(msg)


def _signed(number: int) -> int:
    return (number >> 1) ^ -(number & 1)
