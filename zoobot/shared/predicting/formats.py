"""The file formats of prediction tables: each creates a file, appends rows, and reads them back."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from zoobot.shared.errors import PredictionsError
from zoobot.shared.optional import import_optional
from zoobot.shared.predicting.fits_format import (
    FitsFile,
    check_fits_columns,
    check_fits_installed,
    read_fits_chunks,
    read_fits_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["FORMATS", "Format", "TableFile"]

_METADATA_KEY = "zoobot"


class TableFile(Protocol):
    """A table that is being written."""

    def append(self, ids: list[str], values: np.ndarray, samples: np.ndarray | None) -> None:
        """Add rows: ids, (rows, columns) in the file's type and, with samples, (rows,) int32."""

    def close(self) -> None:
        """End the file, so that it can be read."""


class Format(Protocol):
    """A file format of prediction tables."""

    def check_installed(self) -> None:
        """Raise a MissingPackageError unless the format can be read and written."""

    def create(
        self,
        path: Path,
        columns: Sequence[str],
        *,
        samples: bool,
        metadata: dict[str, Any],
        dtype: str = "float32",
    ) -> TableFile:
        """A new file with these columns and no rows."""

    def read_table(self, path: Path) -> pd.DataFrame:
        """The rows of a file."""

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        """The rows of a file, so many at a time, at constant memory."""

    def read_metadata(self, path: Path) -> dict[str, Any]:
        """The metadata of a file; empty where the format holds none."""


class _Parquet:
    def check_installed(self) -> None:
        import_optional("pyarrow.parquet", needed_for="a .parquet table")

    def create(
        self,
        path: Path,
        columns: Sequence[str],
        *,
        samples: bool,
        metadata: dict[str, Any],
        dtype: str = "float32",
    ) -> TableFile:
        return _ParquetFile(path, columns, samples=samples, metadata=metadata, dtype=dtype)

    def read_table(self, path: Path) -> pd.DataFrame:
        parquet = import_optional("pyarrow.parquet", needed_for=f"reading {path.name}")
        stored = parquet.read_table(path)
        stored.validate(full=True)  # damage would else be found where the table is used
        table: pd.DataFrame = stored.to_pandas()
        _refuse_other_tables(list(table.columns))
        return table

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        parquet = import_optional("pyarrow.parquet", needed_for=f"reading {path.name}")
        with parquet.ParquetFile(path) as file:
            _refuse_other_tables(file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=rows):
                batch.validate(full=True)
                yield batch.to_pandas()

    def read_metadata(self, path: Path) -> dict[str, Any]:
        parquet = import_optional("pyarrow.parquet", needed_for=f"reading {path.name}")
        stored = parquet.read_schema(path).metadata or {}
        return _from_json(stored.get(_METADATA_KEY.encode(), b"{}"))


class _ParquetFile:
    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        *,
        samples: bool,
        metadata: dict[str, Any],
        dtype: str = "float32",
    ) -> None:
        self._arrow = import_optional("pyarrow", needed_for=f"writing {path.name}")
        parquet = import_optional("pyarrow.parquet", needed_for=f"writing {path.name}")
        fields = [("id_str", self._arrow.string())]
        fields += [("sample", self._arrow.int32())] if samples else []
        number = self._arrow.from_numpy_dtype(np.dtype(dtype))
        fields += [(column, number) for column in columns]
        self._schema = self._arrow.schema(fields, metadata={_METADATA_KEY: _to_json(metadata)})
        # hardly a number or an id occurs twice: a dictionary of them would only be larger
        self._writer = parquet.ParquetWriter(path, self._schema, use_dictionary=["sample"])

    def append(self, ids: list[str], values: np.ndarray, samples: np.ndarray | None) -> None:
        arrays: list[Any] = [ids] if samples is None else [ids, samples]
        arrays += list(np.asfortranarray(values).T)
        self._writer.write_table(self._arrow.table(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _Csv:
    def check_installed(self) -> None:
        """CSV needs nothing."""

    def create(
        self,
        path: Path,
        columns: Sequence[str],
        *,
        samples: bool,
        metadata: dict[str, Any],
        dtype: str = "float32",
    ) -> TableFile:
        _refuse_half(dtype)
        del metadata  # a comment line would be no CSV any more
        return _CsvFile(path, columns, samples=samples)

    def read_table(self, path: Path) -> pd.DataFrame:
        return pd.read_csv(path, **self._how_to_read(path))

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        with pd.read_csv(path, chunksize=rows, **self._how_to_read(path)) as chunks:
            yield from chunks

    @staticmethod
    def _how_to_read(path: Path) -> dict[str, Any]:
        with path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
        _refuse_other_tables(header)
        types: dict[str, Any] = dict.fromkeys(header, np.float32) | {"id_str": str, "sample": np.int32}
        return {
            "dtype": {column: types[column] for column in header},
            # ids such as "NA" or "null" are text here; a number is missing where nothing stands
            "keep_default_na": False,
            "na_values": {column: [""] for column in header if column not in ("id_str", "sample")},
            "encoding": "utf-8",
        }

    def read_metadata(self, path: Path) -> dict[str, Any]:
        del path
        return {}


class _CsvFile:
    def __init__(self, path: Path, columns: Sequence[str], *, samples: bool) -> None:
        _refuse_texts_with(
            "\r", columns, "CSV"
        )  # Python writes it without quotes, as no end of a line of ours
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(["id_str", *(["sample"] if samples else []), *columns])

    def append(self, ids: list[str], values: np.ndarray, samples: np.ndarray | None) -> None:
        _refuse_texts_with("\r", ids, "CSV")
        # As text, a float32 has the fewest digits that lead back to the same float32.
        text = (_as_text(row) for row in values)
        if samples is None:
            self._writer.writerows([galaxy, *row] for galaxy, row in zip(ids, text, strict=True))
            return
        rows = zip(ids, samples.tolist(), text, strict=True)
        self._writer.writerows([galaxy, sample, *row] for galaxy, sample, row in rows)

    def close(self) -> None:
        self._file.close()


def _as_text(row: np.ndarray) -> list[str]:
    """Numbers as text, a missing one as nothing."""
    return ["" if number == "nan" else number for number in row.astype(str).tolist()]


class _Hdf5:
    def check_installed(self) -> None:
        import_optional("h5py", needed_for="an .hdf5 table")

    def create(
        self,
        path: Path,
        columns: Sequence[str],
        *,
        samples: bool,
        metadata: dict[str, Any],
        dtype: str = "float32",
    ) -> TableFile:
        _refuse_half(dtype)
        return _Hdf5File(path, columns, samples=samples, metadata=metadata)

    def read_table(self, path: Path) -> pd.DataFrame:
        h5py = import_optional("h5py", needed_for=f"reading {path.name}")
        with h5py.File(path, "r") as file:
            return _rows_of_hdf5(file, slice(None))

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        h5py = import_optional("h5py", needed_for=f"reading {path.name}")
        with h5py.File(path, "r") as file:
            for start in range(0, len(file["id_str"]), rows):
                yield _rows_of_hdf5(file, slice(start, start + rows))

    def read_metadata(self, path: Path) -> dict[str, Any]:
        h5py = import_optional("h5py", needed_for=f"reading {path.name}")
        with h5py.File(path, "r") as file:
            return _from_json(file.attrs.get(_METADATA_KEY, "{}"))


def _rows_of_hdf5(file: Any, part: slice) -> pd.DataFrame:
    table = pd.DataFrame(file["predictions"][part], columns=list(file["columns"].asstr()[:]), copy=False)
    if "sample" in file:
        table.insert(0, "sample", file["sample"][part])
    table.insert(0, "id_str", pd.Series(list(file["id_str"].asstr()[part]), dtype=str))
    return table


class _Hdf5File:
    _ROWS_IN_CHUNK = 1024

    def __init__(
        self, path: Path, columns: Sequence[str], *, samples: bool, metadata: dict[str, Any]
    ) -> None:
        h5py = import_optional("h5py", needed_for=f"writing {path.name}")
        _refuse_texts_with("\0", columns, "HDF5")
        text = h5py.string_dtype("utf-8")
        rows = self._ROWS_IN_CHUNK
        self._file = h5py.File(path, "w")
        self._file.attrs[_METADATA_KEY] = _to_json(metadata)
        self._file.create_dataset("columns", data=list(columns), dtype=text)
        self._ids = self._file.create_dataset("id_str", (0,), text, maxshape=(None,), chunks=(rows,))
        self._values = self._file.create_dataset(
            "predictions", (0, len(columns)), "f4", maxshape=(None, len(columns)), chunks=(rows, len(columns))
        )
        self._samples = None
        if samples:
            self._samples = self._file.create_dataset("sample", (0,), "i4", maxshape=(None,), chunks=(rows,))

    def append(self, ids: list[str], values: np.ndarray, samples: np.ndarray | None) -> None:
        _refuse_texts_with("\0", ids, "HDF5")
        start, end = len(self._ids), len(self._ids) + len(ids)
        for dataset, rows in ((self._ids, ids), (self._values, values), (self._samples, samples)):
            if dataset is not None:
                dataset.resize(end, axis=0)
                dataset[start:end] = rows

    def close(self) -> None:
        self._file.close()


class _Fits:
    def check_installed(self) -> None:
        check_fits_installed()

    def create(
        self,
        path: Path,
        columns: Sequence[str],
        *,
        samples: bool,
        metadata: dict[str, Any],
        dtype: str = "float32",
    ) -> TableFile:
        _refuse_half(dtype)
        check_fits_columns(["id_str", *(["sample"] if samples else []), *columns])
        beside = path.with_name(f"{path.stem}.rows{path.suffix}")
        waiting = _ParquetFile(beside, columns, samples=samples, metadata={})
        return FitsFile(
            path,
            columns,
            samples=samples,
            metadata=metadata,
            waiting=(waiting, _Parquet().read_chunks, beside),
        )

    def read_table(self, path: Path) -> pd.DataFrame:
        return pd.concat(self.read_chunks(path, 1_048_576), ignore_index=True)

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        for table in read_fits_chunks(path, rows):
            _refuse_other_tables(list(table.columns))
            yield table

    def read_metadata(self, path: Path) -> dict[str, Any]:
        return read_fits_metadata(path)


FORMATS: dict[str, Format] = {
    ".parquet": _Parquet(),
    ".csv": _Csv(),
    ".hdf5": _Hdf5(),
    ".h5": _Hdf5(),
    ".fits": _Fits(),
}


def _refuse_texts_with(character: str, texts: Sequence[str], format_name: str) -> None:
    odd = next((text for text in texts if character in text), None)
    if odd is not None:
        msg = (
            f"a table in {format_name} can't hold the text {odd!r}, with {character!r} in it: write .parquet"
        )
        raise PredictionsError(msg)


def _refuse_half(dtype: str) -> None:
    if dtype != "float32":
        msg = f"numbers as {dtype} are for .parquet and folders of parts; take float32 for another table"
        raise PredictionsError(msg)


def _refuse_other_tables(columns: Sequence[str]) -> None:
    if list(columns[:1]) != ["id_str"]:
        msg = f"the first column must be 'id_str', got {list(columns[:1])}"
        raise ValueError(msg)


def _to_json(metadata: dict[str, Any]) -> str:
    return json.dumps(metadata, ensure_ascii=False)


def _from_json(text: str | bytes) -> dict[str, Any]:
    metadata: dict[str, Any] = json.loads(text)
    return metadata
