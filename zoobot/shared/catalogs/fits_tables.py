"""The first table in a FITS file as rows, mapped from disk."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoobot.shared import defaults
from zoobot.shared.catalogs.delimited import open_unpacked
from zoobot.shared.errors import CatalogError
from zoobot.shared.files.table_checks import (
    RowChunk,
    Wanted,
    as_told,
    as_vectors,
    decode_text,
    has_compression,
    readable,
    refuse_repeated_columns,
    room_for_packed,
)
from zoobot.shared.imports import import_optional

logger = logging.getLogger("zoobot")


class FitsRows:
    """The first table in a FITS file; columns that hold a vector in each row are left out.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fits = import_optional(
            "astropy.io.fits", needed_for=f"reading {path.name}", package="zoobot[fits]"
        )
        self._exceptions = import_optional("astropy.utils.exceptions", needed_for=f"reading {path.name}")
        with readable(path), self._open() as hdus:
            self._hdu = self._find_table(hdus)
            header, columns = hdus[self._hdu].header, hdus[self._hdu].columns
            self._length = int(header["NAXIS2"])
            self._nulls = [column.null for column in columns]
            self._places = {column.name: place for place, column in enumerate(columns)}
            refuse_repeated_columns([column.name for column in columns], str(path))
            self.told = {
                column.name: as_told(
                    unit=header.get(f"TUNIT{place}"),
                    ucd=header.get(f"TUCD{place}"),
                    description=header.get(f"TCOMM{place}"),
                )
                for place, column in enumerate(columns, start=1)
            }
            flat = hdus[self._hdu].data[:0]
            vectors = [
                name
                for name, place in self._places.items()
                if any(code in str(columns[place].format) for code in "PQ") or flat.dtype[place].shape
            ]
        self.left_out = as_vectors(vectors)
        self.names: Sequence[str] = [name for name in self._places if name not in self.left_out]

    @contextmanager
    def _open(self) -> Iterator[Any]:
        with warnings.catch_warnings():
            # on odd headers, and on files cut short, which we refuse ourselves
            warnings.simplefilter("ignore", self._exceptions.AstropyUserWarning)
            packed = has_compression(self._path)
            source = io.BytesIO(open_unpacked(self._path).read()) if packed else self._path
            # as bytes: astropy would take text for ASCII
            with self._fits.open(source, memmap=not packed, character_as_bytes=True) as hdus:
                yield hdus

    def _find_table(self, hdus: Any) -> int:
        """The place of the first table; what stands before it, and itself, must lie within the file."""
        for place in count():
            try:
                hdu = hdus[place]
            except IndexError:
                break
            is_table = isinstance(hdu, (self._fits.BinTableHDU, self._fits.TableHDU))
            info, header = hdu.fileinfo(), hdu.header
            end = info["datLoc"] + hdu.size
            held = room_for_packed(self._path) if has_compression(self._path) else self._path.stat().st_size
            width, rows = (int(header.get(key, 0)) for key in ("NAXIS1", "NAXIS2"))
            if hdu.size < 0 or end > held or (is_table and (rows < 0 or width * rows > held)):
                msg = f"extension {place} says that it ends at byte {end:,}, but the file has {held:,}"
                raise ValueError(msg)
            if is_table:
                if not width and rows:
                    raise ValueError(f"its {rows:,} rows have no bytes")
                return place
        raise ValueError("it holds no table")

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The rows that are wanted."""
        for start, data in self._chunks(wanted):
            yield RowChunk(start, [self._column(data, name, start) for name in columns])

    def read_whole(self, needed: Sequence[str]) -> pd.DataFrame:
        """All rows; a column of bytes that are no text is left out, unless it is needed."""
        pieces: dict[str, list[Any]] = {name: [] for name in self.names}
        for start, data in self._chunks(lambda start, stop: True):
            for name in [name for name in pieces if name not in self.left_out]:
                try:
                    pieces[name].append(self._column(data, name, start))
                except CatalogError as error:
                    if name in needed:
                        raise
                    logger.warning("%s. The column is left out", error)
                    self.left_out[name] = str(error)
        kept = {name: some for name, some in pieces.items() if name not in self.left_out}
        empty = pd.Series(dtype=object)
        return pd.DataFrame(
            {n: pd.concat(some, ignore_index=True) if some else empty for n, some in kept.items()}
        )

    def _chunks(self, wanted: Wanted) -> Iterator[tuple[int, Any]]:
        rows = defaults.ROWS_AT_ONCE
        starts = [start for start in range(0, self._length, rows) if wanted(start, start + rows)]
        # opened anew for each chunk, since mapped pages count as memory; unless it is unpacked each time
        for together in [starts] if has_compression(self._path) else [[start] for start in starts]:
            with readable(self._path), self._open() as hdus:
                for start in together:
                    yield start, hdus[self._hdu].data[start : start + rows]

    def _column(self, data: Any, name: str, first: int) -> pd.Series:
        place = self._places[name]
        values = np.array(data.field(place))
        if values.dtype.kind in "SU":
            texts = decode_text(values.tolist(), name, str(self._path))
            return pd.Series(texts, name=name, dtype=object)
        values = values.astype(values.dtype.newbyteorder("="))
        null = self._nulls[place]
        if null is None or values.dtype.kind not in "iu":
            return pd.Series(values, name=name)
        return pd.Series([None if v == null else v for v in values.tolist()], name=name, dtype=object)
