"""Pairs of files that hold decoded pixels and their index, each written by one process and read by all."""

from __future__ import annotations

import os
import struct
import uuid
import weakref
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PixelRow", "SegmentWriter", "list_indexes", "read_rows"]

_ALIGNMENT = 64
_DTYPES = (np.dtype(np.uint8), np.dtype(np.float32))

# key, offset, height, width, channels, frame height, frame width, dtype, checksum of the pixels
_RECORD = struct.Struct("<16sQ7I")
_SEAL = struct.Struct("<I")  # checksum of the record itself
_RECORD_BYTES = _RECORD.size + _SEAL.size


class PixelRow(NamedTuple):
    """Where the pixels of one file are kept.

    Attributes:
        segment: The file of pixels.
        offset: Where in it they start, in bytes.
        shape: (height, width, channels).
        frame: (height, width) of the frame that they are the central part of.
        dtype: uint8 or float32.
        checksum: CRC-32 of their bytes.
    """

    segment: Path
    offset: int
    shape: tuple[int, int, int]
    frame: tuple[int, int]
    dtype: np.dtype
    checksum: int

    @property
    def size(self) -> int:
        """How many bytes they are."""
        height, width, channels = self.shape
        return height * width * channels * self.dtype.itemsize

    def cut_from(self, segment: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Their bytes in the mapped segment; fewer than `size` if it ends before."""
        return segment[self.offset : self.offset + self.size]

    def is_intact(self, data: NDArray[np.uint8]) -> bool:
        """Whether these bytes are those that were written."""
        return len(data) == self.size and zlib.crc32(data.data) == self.checksum


class SegmentWriter:
    """Appends to a pair of files, `*.pixels` and `*.index`, that no other process writes to.

    Pixels go first and their record after, unbuffered: a process that is killed leaves no record without
    pixels.

    Args:
        folder: Where the files lie.

    Raises:
        OSError: If they can't be made.
    """

    def __init__(self, folder: Path) -> None:
        self.process = os.getpid()
        self.segment = folder / f"{uuid.uuid4().hex}.pixels"
        self._pixels: IO[bytes] = open(self.segment, "xb", buffering=0)  # noqa: SIM115  open while the cache is
        self._index: IO[bytes] = open(self.segment.with_suffix(".index"), "xb", buffering=0)  # noqa: SIM115
        weakref.finalize(self, _close, self._pixels, self._index)

    def append(self, key: bytes, pixels: NDArray, frame: tuple[int, int]) -> PixelRow:
        """Keep an image.

        Args:
            key: Its name, 16 bytes.
            pixels: (height, width, channels), contiguous, uint8 or float32.
            frame: (height, width) of the frame that they are the central part of.

        Raises:
            OSError: If they can't be written, as on a full disk; then there is no record of them.
        """
        end = self._pixels.seek(0, os.SEEK_END)
        padding = -end % _ALIGNMENT
        try:
            _write_all(self._pixels, bytes(padding))
            _write_all(self._pixels, pixels.data.cast("B"))
        except OSError:
            self._pixels.truncate(end)
            raise
        checksum = zlib.crc32(pixels.data)
        row = PixelRow(self.segment, end + padding, pixels.shape, frame, pixels.dtype, checksum)
        _write_all(self._index, _pack(key, row))
        return row


def list_indexes(folder: Path) -> list[Path]:
    """The index files of a folder, the one that grew last at the end."""
    return sorted(folder.glob("*.index"), key=lambda path: (path.stat().st_mtime_ns, path.name))


def read_rows(index: Path, start: int) -> tuple[dict[bytes, PixelRow], int]:
    """The rows of an index by their keys, and where to start the next time.

    Damaged records are passed over, and so are those beyond the end of the pixels.

    Args:
        index: The index file.
        start: Byte to start from.
    """
    with index.open("rb") as file:
        file.seek(start)
        data = file.read()
    count = len(data) // _RECORD_BYTES  # the last record may be half-written
    segment = index.with_suffix(".pixels")
    length = segment.stat().st_size if segment.is_file() else 0
    found = (_unpack(data[i * _RECORD_BYTES : (i + 1) * _RECORD_BYTES], segment) for i in range(count))
    rows = [item for item in found if item is not None and item[1].offset + item[1].size <= length]
    return dict(rows), start + count * _RECORD_BYTES


def _close(*files: IO[bytes]) -> None:
    for file in files:
        file.close()


def _write_all(file: IO[bytes], data: bytes | memoryview) -> None:
    view = memoryview(data)
    while len(view):
        view = view[file.write(view) :]


def _pack(key: bytes, row: PixelRow) -> bytes:
    numbers = (*row.shape, *row.frame, _DTYPES.index(row.dtype), row.checksum)
    record = _RECORD.pack(key, row.offset, *numbers)
    return record + _SEAL.pack(zlib.crc32(record))


def _unpack(data: bytes, segment: Path) -> tuple[bytes, PixelRow] | None:
    """Key and row of a record; None if it is damaged."""
    record, seal = data[: _RECORD.size], data[_RECORD.size :]
    if _SEAL.unpack(seal)[0] != zlib.crc32(record):
        return None
    key, offset, height, width, channels, frame_height, frame_width, dtype, checksum = _RECORD.unpack(record)
    frame = (frame_height, frame_width)
    return key, PixelRow(segment, offset, (height, width, channels), frame, _DTYPES[dtype], checksum)
