"""Prediction tables as Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoobot.shared.catalogs.rows import ParquetRows
from zoobot.shared.optional import import_optional
from zoobot.shared.predicting.table_layout import (
    METADATA_KEY,
    TableLayout,
    from_json,
    refuse_other_tables,
    to_json,
)

__all__ = ["Parquet"]

_ROWS_AT_ONCE = 65_536


class Parquet:
    """The `Format`."""

    def check_installed(self) -> None:
        """Raise a MissingPackageError unless pyarrow is there."""
        import_optional("pyarrow.parquet", needed_for="a .parquet table")

    def create(self, path: Path, layout: TableLayout) -> _ParquetFile:
        """A new file without rows."""
        return _ParquetFile(path, layout)

    def read_table(self, path: Path) -> pd.DataFrame:
        """The rows of a file."""
        arrow = import_optional("pyarrow", needed_for=f"reading {path.name}")
        table: pd.DataFrame = arrow.Table.from_batches([*_batches(path, _ROWS_AT_ONCE)]).to_pandas()
        return table

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        """The rows of a file, so many at a time."""
        for batch in _batches(path, rows):
            if len(batch):
                yield batch.to_pandas()

    def read_metadata(self, path: Path) -> dict[str, Any]:
        """The metadata of a file."""
        parquet = import_optional("pyarrow.parquet", needed_for=f"reading {path.name}")
        stored = parquet.read_schema(path).metadata or {}
        return from_json(stored.get(METADATA_KEY.encode(), b"{}"))


def _batches(path: Path, rows: int) -> Iterator[Any]:
    """Checked rows of Arrow's, ids first; at least one batch, which may be empty."""
    arrow = import_optional("pyarrow", needed_for=f"reading {path.name}")
    parquet = import_optional("pyarrow.parquet", needed_for=f"reading {path.name}")
    table = ParquetRows([path])
    names = sorted(table.names, key=lambda name: name != "id_str")
    refuse_other_tables(names)
    schema = parquet.read_schema(path).remove_metadata()
    yield arrow.RecordBatch.from_arrays(
        [arrow.array([], schema.field(name).type if name in schema.names else "int64") for name in names],
        names=names,
    )
    for _, _, batch in table.batches(names, lambda start, stop: True, rows):
        yield batch


class _ParquetFile:
    def __init__(self, path: Path, layout: TableLayout) -> None:
        self._arrow = import_optional("pyarrow", needed_for=f"writing {path.name}")
        parquet = import_optional("pyarrow.parquet", needed_for=f"writing {path.name}")
        number = self._arrow.from_numpy_dtype(np.dtype(layout.dtype))
        types = {"id_str": self._arrow.string(), "sample": self._arrow.int32()}
        fields = [(name, types.get(name, number)) for name in layout.header]
        self._schema = self._arrow.schema(fields, metadata={METADATA_KEY: to_json(layout.metadata)})
        # hardly a number or an id occurs twice: a dictionary of them would only be larger
        self._writer = parquet.ParquetWriter(path, self._schema, use_dictionary=["sample"])

    def append(self, ids: list[str], values: np.ndarray, samples: np.ndarray | None) -> None:
        arrays: list[Any] = [ids] if samples is None else [ids, samples]
        arrays += list(np.asfortranarray(values).T)
        self._writer.write_table(self._arrow.table(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()
