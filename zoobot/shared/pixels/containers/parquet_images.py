"""Images in a Parquet file: the row's bytes, read a row group at a time."""

from __future__ import annotations

import bisect
import os
import threading
from collections import OrderedDict
from itertools import accumulate, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from zoobot.shared import defaults
from zoobot.shared.catalogs.parquet_pages import page_sizes
from zoobot.shared.catalogs.table_checks import room_for_repeated
from zoobot.shared.errors import ImageError
from zoobot.shared.optional import import_optional
from zoobot.shared.pixels.containers.files import SharedFile
from zoobot.shared.pixels.containers.rows import ImageRows

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ParquetImages", "list_image_columns"]

_ROWS_AT_ONCE, _BYTES_AT_ONCE = 1024, 2**26


class _RowGroups:
    """The row groups read last, of all files together, up to `ROW_GROUP_CACHE_BYTES` and one at least."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew: after a fork, another thread may have left the lock closed."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int, str], Any] = OrderedDict()
        self._bytes = 0

    def find(self, key: tuple[int, int, str]) -> Any:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: tuple[int, int, str], column: Any) -> None:
        with self._lock:
            self._kept[key] = column
            self._bytes += column.nbytes
            while self._bytes > defaults.ROW_GROUP_CACHE_BYTES and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes


_ROW_GROUPS = _RowGroups()
_numbers = count()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ROW_GROUPS.forget)


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
        arrow = import_optional("pyarrow", needed_for="reading Parquet")
        parquet = import_optional("pyarrow.parquet", needed_for="reading Parquet")
        self._arrow, self._errors = arrow, (arrow.ArrowException, OSError, ValueError)
        self._content, self._room = cast("BinaryIO", SharedFile(path)), room_for_repeated(Path(path))
        try:
            self._file = parquet.ParquetFile(SharedFile(path), page_checksum_verification=True)
        except (arrow.ArrowException, ValueError) as error:
            msg = f"not a readable Parquet file, perhaps truncated ({error})"
            raise ImageError(msg) from error
        self.columns = list_image_columns(self._file.schema_arrow)
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

    def _read_group(self, group: int, column: str) -> Any:
        key = (self._number, group, column)
        values = _ROW_GROUPS.find(key)
        if values is not None:
            return values
        with self._lock:  # the reader is for one thread, and the others may want the same group
            values = _ROW_GROUPS.find(key)
            if values is None:
                try:
                    values = self._read_values(group, column)
                except ImageError:
                    raise
                except self._errors as error:
                    msg = f"row group {group} of the Parquet file is damaged ({error})"
                    raise ImageError(msg) from error
                _ROW_GROUPS.keep(key, values)
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
        return self._arrow.chunked_array(pieces, self._file.schema_arrow.field(column).type)

    def _chunks(self, group: int, column: str) -> Iterator[Any]:
        metadata = self._file.metadata.row_group(group)
        for place in range(metadata.num_columns):
            chunk = metadata.column(place)
            if chunk.path_in_schema == column or chunk.path_in_schema.startswith(f"{column}."):
                yield chunk

    def _refuse_bomb(self, wanted: int, group: int) -> None:
        if wanted > self._room:
            msg = (
                f"row group {group} of the Parquet file asks for {wanted:,} bytes, {self._room:,} are allowed"
            )
            raise ImageError(msg)


def list_image_columns(schema: Any) -> list[str]:
    """The columns of an Arrow schema that can hold images: binary, or records with binary `bytes`."""
    arrow = import_optional("pyarrow", needed_for="reading Parquet")
    return [field.name for field in schema if _holds_bytes(arrow.types, field.type)]


def _holds_bytes(types: Any, kind: Any) -> bool:
    if types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_bytes(types, kind.field(place).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))
