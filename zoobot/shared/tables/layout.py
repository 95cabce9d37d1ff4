"""What a prediction table holds, whatever its format: its columns, their type, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from zoobot.shared import defaults
from zoobot.shared.catalogs.parquet_tables import ParquetRows
from zoobot.shared.errors import PredictionsError

#: Under which name a file keeps the metadata.
METADATA_KEY = "zoobot"
_ROWS_OF_A_TABLE = 1_048_576


@dataclass(frozen=True, kw_only=True)
class TableLayout:
    """The table that is to be written.

    Args:
        columns: Names of the predicted numbers, in order.
        samples: Whether rows carry a `sample` number.
        metadata: JSON-ready facts on the origin of the table.
        dtype: What numbers are kept as: "float32" or "float16".
    """

    columns: Sequence[str]
    samples: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"

    @property
    def header(self) -> list[str]:
        """The names of all columns, in order."""
        return ["id_str", *(["sample"] if self.samples else []), *self.columns]


class TableFile(Protocol):
    """A table that is being written."""

    def append(self, ids: list[str], values: np.ndarray, samples: np.ndarray | None) -> None:
        """Add rows: ids, (rows, columns) in the file's type and, with samples, (rows,) int32."""

    def close(self) -> None:
        """End the file, so that it can be read."""


class Format:
    """A file format of prediction tables."""

    def check_installed(self) -> None:
        """Raise a MissingPackageError unless the format can be read and written."""

    def create(self, path: Path, layout: TableLayout) -> TableFile:
        """A new file without rows."""
        raise NotImplementedError

    def read_table(self, path: Path) -> pd.DataFrame:
        """The rows of a file."""
        return pd.concat(self.read_chunks(path, _ROWS_OF_A_TABLE), ignore_index=True)

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        """The rows of a file, so many at a time, at constant memory."""
        raise NotImplementedError

    def read_metadata(self, path: Path) -> dict[str, Any]:
        """The metadata of a file; empty where the format holds none."""
        del path
        return {}


def refuse_texts_with(character: str, texts: Sequence[str], format_name: str) -> None:
    """Raise a PredictionsError if a text has a character that the format can't hold."""
    odd = next((text for text in texts if character in text), None)
    if odd is not None:
        raise PredictionsError(
            f"a table in {format_name} can't hold the text {odd!r}, with {character!r} in it: write .parquet"
        )


def refuse_half(layout: TableLayout) -> None:
    """Raise a PredictionsError unless numbers are kept as float32."""
    if layout.dtype != "float32":
        raise PredictionsError(
            f"numbers as {layout.dtype} are for .parquet and folders of parts; take float32 for another table"
        )


def refuse_other_tables(columns: Sequence[str]) -> None:
    """Raise a ValueError unless the columns of a file are those of a prediction table."""
    if list(columns[:1]) != ["id_str"]:
        raise ValueError(f"the first column must be 'id_str', got {list(columns[:1])}")


def to_json(metadata: Mapping[str, Any]) -> str:
    """Metadata as text."""
    return json.dumps(dict(metadata), ensure_ascii=False)


def from_json(text: str | bytes) -> dict[str, Any]:
    """Metadata from text."""
    metadata: dict[str, Any] = json.loads(text)
    return metadata


# Prediction tables as Parquet.


class _Parquet(Format):
    def create(self, path: Path, layout: TableLayout) -> _ParquetFile:
        return _ParquetFile(path, layout)

    def read_table(self, path: Path) -> pd.DataFrame:
        table: pd.DataFrame = pa.Table.from_batches([*_batches(path, defaults.ROWS_AT_ONCE)]).to_pandas()
        return table

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        for batch in _batches(path, rows):
            if len(batch):
                yield batch.to_pandas()

    def read_metadata(self, path: Path) -> dict[str, Any]:
        stored = parquet.read_schema(path).metadata or {}
        return from_json(stored.get(METADATA_KEY.encode(), b"{}"))


def _batches(path: Path, rows: int) -> Iterator[Any]:
    """Checked rows of Arrow's, ids first; at least one batch, which may be empty."""
    table = ParquetRows([path])
    names = sorted(table.names, key=lambda name: name != "id_str")
    refuse_other_tables(names)
    schema = parquet.read_schema(path).remove_metadata()
    yield pa.RecordBatch.from_arrays(
        [pa.array([], schema.field(name).type if name in schema.names else "int64") for name in names],
        names=names,
    )
    for _, _, batch in table.batches(names, lambda start, stop: True, rows):
        yield batch


class _ParquetFile:
    def __init__(self, path: Path, layout: TableLayout) -> None:
        number = pa.from_numpy_dtype(np.dtype(layout.dtype))
        types = {"id_str": pa.string(), "sample": pa.int32()}
        fields = [(name, types.get(name, number)) for name in layout.header]
        self._schema = pa.schema(fields, metadata={METADATA_KEY: to_json(layout.metadata)})
        # hardly a number or an id occurs twice: a dictionary of them would only be larger
        self._writer = parquet.ParquetWriter(path, self._schema, use_dictionary=["sample"])

    def append(self, ids: list[str], values: np.ndarray, samples: np.ndarray | None) -> None:
        arrays: list[Any] = [ids] if samples is None else [ids, samples]
        arrays += list(np.asfortranarray(values).T)
        self._writer.write_table(pa.table(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


#: The format of the parts of a prediction run.
PARQUET = _Parquet()
