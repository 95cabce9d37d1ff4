"""The formats of a prediction table: CSV, Parquet, HDF5 and FITS."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoobot.shared.catalogs.delimited import Delimited, open_text
from zoobot.shared.catalogs.fits_tables import FitsRows
from zoobot.shared.errors import PredictionsError
from zoobot.shared.files.spreadsheets import guarded, unguarded_column
from zoobot.shared.files.table_checks import decode_text, refuse_bombs, room_for_repeated
from zoobot.shared.imports import import_optional
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
    def create(self, path: Path, layout: TableLayout) -> _CsvFile:
        refuse_half(layout)
        return _CsvFile(path, layout)

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        told = Delimited(path)
        if not told.is_plain:
            msg = "its first line must have the names of the columns: comment lines are for catalogs"
            raise ValueError(msg)
        refuse_other_tables(told.names)
        types: dict[str, Any] = dict.fromkeys(told.names, np.float32) | {"id_str": str, "sample": np.int32}
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
                dtype={column: types[column] for column in told.names},
                # ids such as "NA" or "null" are text here; a number is missing where nothing stands
                keep_default_na=False,
                na_values={column: [""] for column in told.names if column not in ("id_str", "sample")},
            ) as chunks,
        ):
            for chunk in chunks:
                yield chunk.assign(id_str=unguarded_column(chunk["id_str"]))


class _CsvFile:
    def __init__(self, path: Path, layout: TableLayout) -> None:
        # Python writes it without quotes, as no end of a line of ours
        refuse_texts_with("\r", layout.columns, "CSV")
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(map(guarded, layout.header))

    def append(self, ids: list[str], values: np.ndarray, samples: np.ndarray | None) -> None:
        refuse_texts_with("\r", ids, "CSV")
        texts = map(guarded, ids)
        # As text, a float32 has the fewest digits that lead back to the same float32.
        text = (_as_text(row) for row in values)
        if samples is None:
            self._writer.writerows([galaxy, *row] for galaxy, row in zip(texts, text, strict=True))
            return
        rows = zip(texts, samples.tolist(), text, strict=True)
        self._writer.writerows([galaxy, sample, *row] for galaxy, sample, row in rows)

    def close(self) -> None:
        self._file.close()


def _as_text(row: np.ndarray) -> list[str]:
    """Numbers as text, a missing one as nothing."""
    return ["" if number == "nan" else number for number in row.astype(str).tolist()]


# Prediction tables as HDF5: one array of all numbers, beside the ids and the names of the columns.

_ROWS_IN_CHUNK = 1024


class _Hdf5(Format):
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
    table = pd.DataFrame(file["predictions"][part], columns=list(file["columns"].asstr()[:]), copy=False)
    if "sample" in file:
        table.insert(0, "sample", file["sample"][part])
    stored = file["id_str"][part]
    ids = decode_text(stored.tolist(), "id_str", "the table", padded=stored.dtype.kind == "S")
    table.insert(0, "id_str", pd.Series([text or "" for text in ids], dtype=str))
    return table


class _Hdf5File:
    def __init__(self, path: Path, layout: TableLayout) -> None:
        import h5py

        refuse_texts_with("\0", layout.columns, "HDF5")
        text = h5py.string_dtype("utf-8")
        self._place = _Place(path, "w+b")
        self._file = h5py.File(self._place, "w")
        self._file.attrs[METADATA_KEY] = to_json(layout.metadata)
        self._file.create_dataset("columns", data=list(layout.columns), dtype=text)
        self._ids = self._growing("id_str", text)
        self._values = self._growing("predictions", "f4", len(layout.columns))
        self._samples = self._growing("sample", "i4") if layout.samples else None

    def _growing(self, name: str, dtype: Any, *width: int) -> Any:
        """An array without rows, to which rows can be added."""
        return self._file.create_dataset(
            name, (0, *width), dtype, maxshape=(None, *width), chunks=(_ROWS_IN_CHUNK, *width)
        )

    def append(self, ids: list[str], values: np.ndarray, samples: np.ndarray | None) -> None:
        refuse_texts_with("\0", ids, "HDF5")
        start, end = len(self._ids), len(self._ids) + len(ids)
        for dataset, rows in ((self._ids, ids), (self._values, values), (self._samples, samples)):
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


# Prediction tables as FITS: written at constant memory, though the header must know their size before.
#
# Rows wait in a Parquet file beside it until all are there; then the width of the ids and the number of rows
# are known, and the table is streamed.

_METADATA_KEY = "ZOOBOT"
_MOST_COLUMNS = 999
_MOST_CHARACTERS = 68
_ROWS_AT_ONCE = 16_384
_OTHERS = "write .parquet, .csv or .hdf5"


class _Fits(Format):
    def check_installed(self) -> None:
        import_optional("astropy.io.fits", needed_for="a .fits table", package="zoobot[fits]")

    def create(self, path: Path, layout: TableLayout) -> _FitsFile:
        refuse_half(layout)
        _check_columns(layout.header)
        return _FitsFile(path, layout)

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        fits = import_optional("astropy.io.fits", needed_for=f"reading {path.name}")
        _ = FitsRows(path)  # which refuses what promises more than the file holds
        start, stop = 0, 1
        while start < stop:
            # anew, since mapped pages count as memory
            with warnings.catch_warnings(), fits.open(path, memmap=True, character_as_bytes=True) as hdus:
                warnings.simplefilter("ignore", fits.verify.VerifyWarning)
                stop = int(hdus[1].header["NAXIS2"])
                data = hdus[1].data[start : start + rows]
                table = pd.DataFrame({name: _native(data[name]) for name in data.names})
                refuse_other_tables(list(table.columns))
                start += rows
                if len(table) or not stop:
                    yield table

    def read_metadata(self, path: Path) -> dict[str, Any]:
        fits = import_optional("astropy.io.fits", needed_for=f"reading {path.name}")
        metadata: dict[str, Any] = json.loads(fits.getheader(path, 1).get(_METADATA_KEY, "{}"))
        return metadata


class _FitsFile:
    def __init__(self, path: Path, layout: TableLayout) -> None:
        self._path, self._layout = path, layout
        self._waiting_path = path.with_name(f"{path.stem}.rows{path.suffix}")
        self._waiting = PARQUET.create(self._waiting_path, replace(layout, metadata={}))
        self._rows, self._width, self._is_whole = 0, 1, True

    def append(self, ids: list[str], values: np.ndarray, samples: np.ndarray | None) -> None:
        for galaxy in ids:
            # FITS text is ASCII, and blanks at its end are padding
            if not (galaxy.isascii() and galaxy.isprintable() and galaxy == galaxy.rstrip()):
                raise PredictionsError(f"a FITS table can't hold the id {galaxy!r}: {_OTHERS}")
        self._width = max(self._width, *map(len, ids))
        self._rows += len(ids)
        self._is_whole = False
        self._waiting.append(ids, values, samples)
        self._is_whole = True

    def close(self) -> None:
        try:
            self._waiting.close()
            if self._is_whole:
                self._stream()
        finally:
            self._waiting_path.unlink(missing_ok=True)

    def _stream(self) -> None:
        fits = import_optional("astropy.io.fits", needed_for=f"writing {self._path.name}")
        types = {"id_str": f"S{self._width}", "sample": ">i4"}
        kinds = [(name, types.get(name, ">f4")) for name in self._layout.header]
        empty = np.zeros(0, dtype=kinds)
        with warnings.catch_warnings():
            # on column names that other software may not like, and on text that goes over several cards
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            header = fits.BinTableHDU(empty, name="PREDICTIONS").header
            header["NAXIS2"] = self._rows
            header[_METADATA_KEY] = json.dumps(dict(self._layout.metadata))
        stream = fits.StreamingHDU(str(self._path), header)
        try:
            for table in PARQUET.read_chunks(self._waiting_path, _ROWS_AT_ONCE):
                rows = np.zeros(len(table), dtype=kinds)
                for name, _ in kinds:
                    values = table[name].to_numpy()
                    rows[name] = values.astype(f"S{self._width}") if name == "id_str" else values
                stream.write(rows.view(np.uint8).reshape(len(rows), -1))
        finally:
            stream.close()


def _check_columns(columns: Sequence[str]) -> None:
    """Raise a PredictionsError if FITS can't hold columns of these names."""
    if len(columns) > _MOST_COLUMNS:
        msg = f"a FITS table has at most {_MOST_COLUMNS} columns, but here are {len(columns):,}: {_OTHERS}"
        raise PredictionsError(msg)
    odd = [name for name in columns if not (name.isascii() and name.isprintable() and _fits_in_a_card(name))]
    folded = {name.lower() for name in columns}
    if odd or len(folded) < len(columns):
        which = repr(odd[0]) if odd else "that differ in letter case alone"
        raise PredictionsError(f"a FITS table can't have columns called {which}: {_OTHERS}")


def _fits_in_a_card(name: str) -> bool:
    return len(name.replace("'", "''")) <= _MOST_CHARACTERS


def _native(column: Any) -> Any:
    values = np.array(column)
    if values.dtype.kind in "SU":
        texts = decode_text(values.tolist(), "id_str", "the table")
        return pd.Series([text or "" for text in texts], dtype=str)
    return values.astype(values.dtype.newbyteorder("="))


FORMATS: dict[str, Format] = {
    ".parquet": PARQUET,
    ".csv": _Csv(),
    ".hdf5": _Hdf5(),
    ".h5": _Hdf5(),
    ".fits": _Fits(),
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
