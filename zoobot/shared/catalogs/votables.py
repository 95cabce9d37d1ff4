"""VOTable files: looked through before they are read, for they can name other files and places to fetch."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import pandas as pd

from zoobot.shared.errors import CatalogError
from zoobot.shared.files.table_checks import TOLD, as_told, decode_text, refuse_bombs, room_for_repeated
from zoobot.shared.imports import import_optional

_DEEPEST = 200
#: Bytes of a value in memory; text counts four for each character.
_SIZES = {"char": 4, "unicodechar": 4, "double": 8, "long": 8, "floatcomplex": 8, "doublecomplex": 16}


def read_votable(path: Path) -> pd.DataFrame:
    """The first table in a VOTable file; columns that hold a vector in each row are left out.

    Raises:
        CatalogError: If it names another place for its data, declares entities, or asks for absurd memory.
        MissingPackageError: If astropy is not installed.
    """
    table = import_optional("astropy.table", needed_for=f"reading {path.name}")
    units = import_optional("astropy.units", needed_for="reading units")
    content = path.read_bytes()
    scan_votable(content, str(path), room=room_for_repeated(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", units.UnitsWarning)
        warnings.filterwarnings("ignore", module="astropy.io.votable")
        # from memory: what was looked through is what is read, and no name is taken for an address
        found = table.Table.read(io.BytesIO(content), format="votable", use_names_over_ids=True)
    columns = {name: _as_column(found[name], name, str(path)) for name in found.colnames}
    frame = pd.DataFrame({name: column for name, column in columns.items() if column is not None})
    frame.attrs[TOLD] = {
        name: as_told(
            unit=found[name].unit, ucd=found[name].meta.get("ucd"), description=found[name].description
        )
        for name in frame
    }
    return frame


def scan_votable(content: bytes, name: str, *, room: int) -> None:
    """Look through a VOTable before it is read.

    Args:
        content: All of it.
        name: What messages call it.
        room: The most bytes that it may take in memory.

    Raises:
        CatalogError: If it names another place for its data, declares entities, or asks for absurd memory.
        ExpatError: If it is no XML.
    """
    _Scan(name, content, room)


class _Scan:
    """Refuse what a VOTable may hold that would make its reader fetch, open or fill something."""

    def __init__(self, name: str, content: bytes, room: int) -> None:
        self._path, self._depth = name, 0
        self._size, self._room = len(content), room
        self._row_bytes, self._rows = 0.0, 0.0
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.EntityDeclHandler = self._refuse_entity
        parser.Parse(content, True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        element = name.rpartition(":")[2].upper()
        told = {key.rpartition(":")[2].lower(): value for key, value in attributes.items()}
        self._depth += 1
        if self._depth > _DEEPEST:
            raise CatalogError(f"the VOTable {self._path!r} is nested more than {_DEEPEST} deep")
        if element == "STREAM" and "href" in told:
            raise CatalogError(
                f"the VOTable {self._path!r} says that its data lie elsewhere, at "
                f"{told['href'][:200]!r}: no table makes us fetch or open anything else. Save it with its "
                "data "
                "inside (TOPCAT: "
                "votable-tabledata), or as FITS, Parquet or CSV"
            )
        if element == "TABLE":
            self._row_bytes, self._rows = 0.0, _whole(told.get("nrows", ""))
        elif element == "FIELD":
            sizes = map(_whole, re.findall(r"[0-9]+", told.get("arraysize", "").rpartition("x")[0]))
            last = told.get("arraysize", "1").rpartition("x")[2]
            many = float(np.prod([*sizes, 1.0 if last.endswith("*") else max(1.0, _whole(last))]))
            self._row_bytes += many * _SIZES.get(told.get("datatype", "").lower(), 4)
        elif element == "TR":
            self._rows += 1
        self._check()

    def _check(self) -> None:
        wanted = self._row_bytes * max(1.0, self._rows)
        refuse_bombs(self._path, wanted, self._room, "Save it anew, without `nrows`", size=self._size)

    def _end(self, name: str) -> None:
        self._depth -= 1

    def _refuse_entity(self, name: str, *_: Any) -> None:
        raise CatalogError(
            f"the VOTable {self._path!r} declares the entity {name[:80]!r}, which no VOTable needs: "
            "save it anew"
        )


def _whole(text: str) -> float:
    return float(text) if re.fullmatch(r"[0-9]{1,300}", text.strip()) else 0.0


def _as_column(column: Any, name: str, table: str) -> Any:
    """A column for pandas; None where it holds vectors."""
    if column.ndim != 1:
        return None
    values, mask = np.ma.getdata(column), np.broadcast_to(np.ma.getmask(column), column.shape)
    kind = values.dtype.kind
    if kind in "SUO":
        cells = [None if hidden else value for value, hidden in zip(values.tolist(), mask, strict=True)]
        if any(isinstance(cell, np.ndarray) for cell in cells):
            return None
        return pd.Series(decode_text(cells, name, table), dtype=object)
    values = values.astype(values.dtype.newbyteorder("="))
    if kind in "iu" and mask.any():
        return pd.arrays.IntegerArray(values.copy(), mask.copy())
    if kind == "b" and mask.any():
        return pd.arrays.BooleanArray(values.copy(), mask.copy())
    return np.where(mask, np.nan, values) if mask.any() and kind == "f" else values
