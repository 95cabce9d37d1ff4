"""Parquet files as rows of a table; what would fill the memory is refused before it is unpacked."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute, parquet

from zoobot.shared import defaults
from zoobot.shared.errors import CatalogError
from zoobot.shared.files.table_checks import (
    RowChunk,
    Wanted,
    as_told,
    as_vectors,
    decode_text,
    page_sizes,
    readable,
    refuse_bombs,
    refuse_repeated_columns,
    room_for_repeated,
)

logger = logging.getLogger("zoobot")

_BYTES_AT_ONCE = 2**20

#: Parquet's texts by what they differ from the last in, so that a short page may hold very long ones.
_DIFFERENCES = {"DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"}
_MOST_REPEATED = 2**24


def parquet_files(folder: Path) -> list[Path]:
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
            self.told = {
                field.name: as_told(
                    **{key: text.decode("utf-8", "replace") for key, text in _said_of(field) if text}
                )
                for field in schema
            }
            nested = pa.types.is_nested
            self.left_out = as_vectors(field.name for field in schema if nested(field.type))
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
                texts = self._decode_or_leave(frame[field.name].tolist(), field.name, needed)
                frame = (
                    frame.drop(columns=field.name) if texts is None else frame.assign(**{field.name: texts})
                )
        return frame

    def _decode_or_leave(self, values: list[Any], name: str, needed: Sequence[str]) -> np.ndarray | None:
        try:
            texts = decode_text(values, name, str(self._files[0]))
        except CatalogError as error:
            if name in needed:
                raise
            logger.warning("%s. The column is left out", error)
            self.left_out[name] = str(error)
            return None
        return np.array([*texts, 0], dtype=object)[:-1]

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
                    raise CatalogError(f"{path} lacks {missing}, which other files of that folder have")
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
        metadata = _checked_metadata(path)
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
        unpacked, most = 0, defaults.ROWS_AT_ONCE
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


def _said_of(field: Any) -> Iterator[tuple[str, bytes | None]]:
    """What a field of Arrow's says of itself in the words of our own tables."""
    for key in ("unit", "ucd", "description"):
        yield key, (field.metadata or {}).get(key.encode())


def _checked_metadata(path: Path) -> Any:
    """What a file's footer says; Arrow's error where what it says of its columns is damaged.

    To look at that from Python, as `_chunks` does, would end the process: Arrow 26 throws there and does not
    catch. It does where its reader is asked for a batch of no rows, which reads none.
    """
    with parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            next(file.reader.iter_batches(0, row_groups=[group], use_threads=False), None)
        return file.metadata


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
