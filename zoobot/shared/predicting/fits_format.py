"""Prediction tables as FITS: written at constant memory, though the header must know their size before.

Rows wait in a Parquet file beside it until all are there; then the width of the ids and the number of rows
are known, and the table is streamed.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoobot.shared.catalogs.rows import FitsRows
from zoobot.shared.catalogs.table_checks import decode_text
from zoobot.shared.errors import PredictionsError
from zoobot.shared.optional import import_optional
from zoobot.shared.predicting.parquet_format import Parquet
from zoobot.shared.predicting.table_layout import TableLayout, refuse_half, refuse_other_tables

__all__ = ["Fits"]

_METADATA_KEY = "ZOOBOT"
_MOST_COLUMNS = 999
_MOST_CHARACTERS = 68
_ROWS_AT_ONCE = 16_384
_ROWS_OF_A_TABLE = 1_048_576
_OTHERS = "write .parquet, .csv or .hdf5"


class Fits:
    """The `Format`."""

    def check_installed(self) -> None:
        """Raise a MissingPackageError unless astropy is there."""
        import_optional("astropy.io.fits", needed_for="a .fits table", package="zoobot[fits]")

    def create(self, path: Path, layout: TableLayout) -> _FitsFile:
        """A new file without rows."""
        refuse_half(layout)
        _check_columns(layout.header)
        return _FitsFile(path, layout)

    def read_table(self, path: Path) -> pd.DataFrame:
        """The rows of a file."""
        return pd.concat(self.read_chunks(path, _ROWS_OF_A_TABLE), ignore_index=True)

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        """The rows of a file, so many at a time."""
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
        """The metadata of a file."""
        fits = import_optional("astropy.io.fits", needed_for=f"reading {path.name}")
        metadata: dict[str, Any] = json.loads(fits.getheader(path, 1).get(_METADATA_KEY, "{}"))
        return metadata


class _FitsFile:
    def __init__(self, path: Path, layout: TableLayout) -> None:
        self._path, self._layout = path, layout
        self._waiting_path = path.with_name(f"{path.stem}.rows{path.suffix}")
        self._waiting = Parquet().create(self._waiting_path, replace(layout, metadata={}))
        self._rows, self._width, self._is_whole = 0, 1, True

    def append(self, ids: list[str], values: np.ndarray, samples: np.ndarray | None) -> None:
        for galaxy in ids:
            # FITS text is ASCII, and blanks at its end are padding
            if not (galaxy.isascii() and galaxy.isprintable() and galaxy == galaxy.rstrip()):
                msg = f"a FITS table can't hold the id {galaxy!r}: {_OTHERS}"
                raise PredictionsError(msg)
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
            for table in Parquet().read_chunks(self._waiting_path, _ROWS_AT_ONCE):
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
        msg = f"a FITS table can't have columns called {which}: {_OTHERS}"
        raise PredictionsError(msg)


def _fits_in_a_card(name: str) -> bool:
    return len(name.replace("'", "''")) <= _MOST_CHARACTERS


def _native(column: Any) -> Any:
    values = np.array(column)
    if values.dtype.kind in "SU":
        texts = decode_text(values.tolist(), "id_str", "the table")
        return pd.Series([text or "" for text in texts], dtype=str)
    return values.astype(values.dtype.newbyteorder("="))
