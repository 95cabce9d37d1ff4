"""Prediction tables as HDF5: one array of all numbers, beside the ids and the names of the columns."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoobot.shared.catalogs.table_checks import decode_text, refuse_bombs, room_for_repeated
from zoobot.shared.optional import import_optional
from zoobot.shared.predicting.table_layout import (
    METADATA_KEY,
    TableLayout,
    from_json,
    refuse_half,
    refuse_texts_with,
    to_json,
)

__all__ = ["Hdf5"]

_ROWS_IN_CHUNK = 1024


class Hdf5:
    """The `Format`."""

    def check_installed(self) -> None:
        """Raise a MissingPackageError unless h5py is there."""
        import_optional("h5py", needed_for="an .hdf5 table")

    def create(self, path: Path, layout: TableLayout) -> _Hdf5File:
        """A new file without rows."""
        refuse_half(layout)
        return _Hdf5File(path, layout)

    def read_table(self, path: Path) -> pd.DataFrame:
        """The rows of a file."""
        with _open(path) as file:
            return _rows_of(file, slice(None))

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        """The rows of a file, so many at a time."""
        with _open(path) as file:
            for start in range(0, len(file["id_str"]), rows):
                yield _rows_of(file, slice(start, start + rows))

    def read_metadata(self, path: Path) -> dict[str, Any]:
        """The metadata of a file."""
        with _open(path) as file:
            return from_json(file.attrs.get(METADATA_KEY, "{}"))


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """A file whose data lie in itself: HDF5 can name other files to read, which we don't."""
    h5py = import_optional("h5py", needed_for=f"reading {path.name}")
    with h5py.File(path, "r") as file:
        for name in file:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                msg = f"{name!r} is a link to elsewhere: no table makes us open another file"
                raise ValueError(msg)  # noqa: TRY004  it is a fault of the file
            data = file[name]
            if isinstance(data, h5py.Dataset):
                if data.is_virtual or data.external:
                    msg = f"the data of {name!r} lie in another file: no table makes us open that"
                    raise ValueError(msg)
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
        h5py = import_optional("h5py", needed_for=f"writing {path.name}")
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
