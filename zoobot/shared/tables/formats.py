"""The formats of a prediction table by the ending of its name; CSV and HDF5 are here."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoobot.shared.catalogs.delimited import Delimited, open_text
from zoobot.shared.catalogs.tables import typed_cells
from zoobot.shared.errors import PredictionsError
from zoobot.shared.files.spreadsheets import guarded, unguarded_column
from zoobot.shared.files.table_checks import decode_text, refuse_bombs, room_for_repeated
from zoobot.shared.tables.astronomy import ASTRONOMY
from zoobot.shared.tables.layout import (
    METADATA_KEY,
    PARQUET,
    Format,
    TableLayout,
    from_json,
    refuse_half,
    refuse_other_tables,
    refuse_texts_with,
    to_json,
)

# Prediction tables as CSV: without metadata, for a comment line would be no CSV any more.


class _Csv(Format):
    def check_texts(self, texts: Sequence[str], column: str) -> None:
        # Python writes it without quotes, as no end of a line of ours
        refuse_texts_with("\r", texts, "CSV")

    def create(self, path: Path, layout: TableLayout) -> _CsvFile:
        refuse_half(layout)
        return _CsvFile(path, layout)

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        told = Delimited(path)
        if not told.is_plain:
            msg = "its first line must have the names of the columns: comment lines are for catalogs"
            raise ValueError(msg)
        refuse_other_tables(told.names)
        first = [name for name in told.names if name not in ("id_str", "sample")][:1]
        named = [name for name in told.names if name in first or _NUMBERS.search(name)]
        texts: dict[str, Any] = {**dict.fromkeys(told.names, str), "sample": np.int32}
        with _chunks(path, told, _LOOKED_AT, texts) as chunks:
            look = next(iter(chunks), pd.DataFrame(columns=told.names))
        ours = [name for name in named if name in first or _may_be_ours(look[name])]
        types = {**texts, **dict.fromkeys(ours, np.float32)}
        further = [name for name in told.names if types[name] is str and name != "id_str"]
        with _chunks(path, told, rows, types) as chunks:
            for chunk in chunks:
                others = {name: _as_written(chunk[name]) for name in further}
                yield chunk.assign(id_str=unguarded_column(chunk["id_str"]), **others)


#: So many rows tell whether a column that is called like one of ours was carried from a catalog.
_LOOKED_AT = 1000


@contextmanager
def _chunks(path: Path, told: Delimited, rows: int, types: dict[str, Any]) -> Iterator[Any]:
    """The rows of a CSV file, so many at a time."""
    file, _ = open_text(path)
    with (
        file,
        pd.read_csv(
            file,
            chunksize=rows,
            sep=told.delimiter,
            header=0,
            names=told.names,
            index_col=False,
            dtype={column: types[column] for column in told.names if column in types},
            # ids such as "NA" or "null" are text here; a number is missing where nothing stands
            keep_default_na=False,
            na_values={column: [""] for column in told.names if column not in ("id_str", "sample")},
        ) as chunks,
    ):
        yield chunks


def _may_be_ours(column: pd.Series) -> bool:
    """Whether some cells may be predicted numbers: float32, or whole numbers where others wrote the file."""
    kind = _as_written(column).dtype
    return kind == np.float32 or bool(pd.api.types.is_integer_dtype(kind))


#: Columns of predicted numbers, which are float32; so is the first of a table, whatever it is called.
_NUMBERS = re.compile(
    r"_(probability|predicted|concentration(_\d+)?|asked|fraction|(lower|upper)(_[\d.]+)?)$|^feature_\d+$"
)


def _as_written(texts: pd.Series) -> pd.Series:
    """A column of CSV in the type that it was written from: CSV does not say."""
    if not len(texts):
        return texts.astype(np.float32)
    column = typed_cells(texts)
    if pd.api.types.is_float_dtype(column.dtype):
        values = column.to_numpy()
        with np.errstate(over="ignore"):
            shorter = values.astype(np.float32)
        known = ~np.isnan(values)
        # float32 is written with the fewest digits that lead back to it
        same = (shorter[known].astype(str).astype(np.float64) == values[known]).all()
        return pd.Series(shorter, texts.index) if same else column
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iub":
        return column
    return unguarded_column(texts.fillna(""))  # whole numbers beside nothing, too: float64 would lose digits


class _CsvFile:
    def __init__(self, path: Path, layout: TableLayout) -> None:
        refuse_texts_with("\r", layout.header, "CSV")
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(map(guarded, layout.header))

    def append(
        self, ids: list[str], values: np.ndarray, samples: np.ndarray | None, further: Sequence[np.ndarray]
    ) -> None:
        refuse_texts_with("\r", ids, "CSV")
        columns = [list(map(guarded, ids)), *([] if samples is None else [samples.tolist()])]
        # As text, a float32 has the fewest digits that lead back to the same float32.
        numbers = (_as_text(row) for row in values)
        others = zip(*map(_column_as_text, further), strict=True) if further else iter([()] * len(ids))
        rows = zip(zip(*columns, strict=True), numbers, others, strict=True)
        self._writer.writerows([*first, *row, *last] for first, row, last in rows)

    def close(self) -> None:
        self._file.close()


def _as_text(row: np.ndarray) -> list[str]:
    """Numbers as text, a missing one as nothing."""
    return ["" if number == "nan" else number for number in row.astype(str).tolist()]


def _column_as_text(values: np.ndarray) -> list[str]:
    """A further column as text: texts that a spreadsheet would not take for formulas, numbers as above."""
    if values.dtype.kind != "O":
        return _as_text(values)
    texts = values.tolist()
    refuse_texts_with("\r", texts, "CSV")
    return list(map(guarded, texts))


# Prediction tables as HDF5: one array of all numbers, beside the ids and the names of the columns.

_ROWS_IN_CHUNK = 1024


class _Hdf5(Format):
    def check_texts(self, texts: Sequence[str], column: str) -> None:
        refuse_texts_with("\0", texts, "HDF5")

    def create(self, path: Path, layout: TableLayout) -> _Hdf5File:
        refuse_half(layout)
        return _Hdf5File(path, layout)

    def read_table(self, path: Path) -> pd.DataFrame:
        with _open(path) as file:
            return _rows_of(file, slice(None))

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        with _open(path) as file:
            for start in range(0, len(file["id_str"]), rows):
                yield _rows_of(file, slice(start, start + rows))

    def read_metadata(self, path: Path) -> dict[str, Any]:
        with _open(path) as file:
            return from_json(file.attrs.get(METADATA_KEY, "{}"))


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """A file whose data lie in itself: HDF5 can name other files to read, which we don't."""
    import h5py  # late: few tables need it

    with h5py.File(path, "r") as file:
        for name in file:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                msg = f"{name!r} is a link to elsewhere: no table makes us open another file"
                raise ValueError(msg)  # noqa: TRY004  it is a fault of the file
            data = file[name]
            if isinstance(data, h5py.Dataset):
                if data.is_virtual or data.external:
                    raise ValueError(f"the data of {name!r} lie in another file: no table makes us open that")
                refuse_bombs(path, data.nbytes, room_for_repeated(path), "Is it damaged?")
        yield file


def _rows_of(file: Any, part: slice) -> pd.DataFrame:
    import h5py

    table = pd.DataFrame(file["predictions"][part], columns=list(file["columns"].asstr()[:]), copy=False)
    if "sample" in file:
        table.insert(0, "sample", file["sample"][part])
    stored = file["id_str"][part]
    ids = decode_text(stored.tolist(), "id_str", "the table", padded=stored.dtype.kind == "S")
    table.insert(0, "id_str", pd.Series([text or "" for text in ids], dtype=str))
    names = file["further_columns"].asstr()[:] if "further_columns" in file else ()
    for place, name in enumerate(names):
        column = file[f"further_{place}"]
        texts = h5py.check_string_dtype(column.dtype) is not None
        table[name] = pd.Series(column.asstr()[part], dtype=str) if texts else column[part]
    return table


class _Hdf5File:
    def __init__(self, path: Path, layout: TableLayout) -> None:
        import h5py

        refuse_texts_with("\0", layout.header, "HDF5")
        text = h5py.string_dtype("utf-8")
        self._place = _Place(path, "w+b")
        self._file = h5py.File(self._place, "w")
        self._file.attrs[METADATA_KEY] = to_json(layout.metadata)
        self._file.create_dataset("columns", data=list(layout.columns), dtype=text)
        self._ids = self._growing("id_str", text)
        self._values = self._growing("predictions", "f4", len(layout.columns))
        self._samples = self._growing("sample", "i4") if layout.samples else None
        if layout.further:
            self._file.create_dataset("further_columns", data=[c.name for c in layout.further], dtype=text)
        self._further = [
            self._growing(f"further_{place}", text if column.dtype == "str" else column.dtype)
            for place, column in enumerate(layout.further)
        ]

    def _growing(self, name: str, dtype: Any, *width: int) -> Any:
        """An array without rows, to which rows can be added."""
        return self._file.create_dataset(
            name, (0, *width), dtype, maxshape=(None, *width), chunks=(_ROWS_IN_CHUNK, *width)
        )

    def append(
        self, ids: list[str], values: np.ndarray, samples: np.ndarray | None, further: Sequence[np.ndarray]
    ) -> None:
        refuse_texts_with("\0", ids, "HDF5")
        for column in further:
            refuse_texts_with("\0", column.tolist() if column.dtype.kind == "O" else (), "HDF5")
        start, end = len(self._ids), len(self._ids) + len(ids)
        written: list[tuple[Any, Any]] = [(self._ids, ids), (self._values, values), (self._samples, samples)]
        for dataset, rows in [*written, *zip(self._further, further, strict=True)]:
            if dataset is not None:
                dataset.resize(end, axis=0)
                dataset[start:end] = rows
        self._place.check()

    def close(self) -> None:
        try:
            self._file.close()
        finally:
            self._place.close()
        self._place.check()


class _Place(io.FileIO):
    """A file whose failures wait until they are asked for.

    HDF5 keeps what it could not write, tries again as the process ends, and crashes it: it must not notice.
    """

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of it, unless the system refuses, or did before."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while len(left) and self.failure is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Make it so long, unless the system refuses."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return self.tell() if size is None else size

    def check(self) -> None:
        """Raise an OSError if something could not be written."""
        if self.failure is not None:
            raise self.failure


FORMATS: dict[str, Format] = {
    ".parquet": PARQUET,
    ".csv": _Csv(),
    ".hdf5": _Hdf5(),
    ".h5": _Hdf5(),
    **ASTRONOMY,
}


def find_format(path: Path) -> Format:
    """The format of a table of this name.

    Raises:
        PredictionsError: If its suffix is none of ours.
    """
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        msg = f"a prediction table must end in one of {', '.join(FORMATS)}, got {str(path)!r}"
        raise PredictionsError(msg)
    return form
