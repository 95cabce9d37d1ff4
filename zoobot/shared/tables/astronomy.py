"""The formats of a prediction table that astronomers' programs read: FITS and VOTable."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import pandas as pd

from zoobot.shared.catalogs.fits_tables import FitsRows
from zoobot.shared.catalogs.votables import read_votable
from zoobot.shared.errors import PredictionsError
from zoobot.shared.files.table_checks import decode_text
from zoobot.shared.imports import import_optional
from zoobot.shared.tables.layout import (
    METADATA_KEY,
    PARQUET,
    Column,
    Format,
    TableLayout,
    from_json,
    refuse_half,
    refuse_other_tables,
    to_json,
)

# Prediction tables as FITS: written at constant memory, though the header must know their size before.
#
# Rows wait in a Parquet file beside it until all are there; then the width of the ids and the number of rows
# are known, and the table is streamed.

_METADATA_KEY = "ZOOBOT"
_MOST_COLUMNS = 999
_MOST_CHARACTERS = 68
_ROWS_AT_ONCE = 16_384
_OTHERS = "write .parquet, .csv or .hdf5"
_NO_FITS = "write .vot, .parquet, .csv or .hdf5"


class _Fits(Format):
    def check_installed(self) -> None:
        import_optional("astropy.io.fits", needed_for="a .fits table", package="zoobot[fits]")

    def check_texts(self, texts: Sequence[str], column: str) -> None:
        for text in texts:
            _check_text(text, column)

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


#: How FITS stores what columns hold; truths as letters.
_FITS_TYPES = {"float32": ">f4", "float64": ">f8", "int16": ">i2", "int32": ">i4", "int64": ">i8"}


class _FitsFile:
    def __init__(self, path: Path, layout: TableLayout) -> None:
        self._path, self._layout = path, layout
        self._waiting_path = path.with_name(f"{path.stem}.rows{path.suffix}")
        self._waiting = PARQUET.create(self._waiting_path, replace(layout, metadata={}))
        self._rows, self._is_whole = 0, True
        self._widths = {column.name: 1 for column in layout.whole if column.dtype == "str"}

    def append(
        self, ids: list[str], values: np.ndarray, samples: np.ndarray | None, further: Sequence[np.ndarray]
    ) -> None:
        columns = zip(self._layout.further, further, strict=True)
        texts = {"id_str": ids, **{c.name: some.tolist() for c, some in columns if c.dtype == "str"}}
        for name, some in texts.items():
            for text in some:
                _check_text(text, name)
            self._widths[name] = max(self._widths[name], *map(len, some))
        self._rows += len(ids)
        self._is_whole = False
        self._waiting.append(ids, values, samples, further)
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
        whole = self._layout.whole
        widths = {name: f"S{width}" for name, width in self._widths.items()}
        kinds = [
            (c.name, "?" if c.dtype == "bool" else widths.get(c.name) or _FITS_TYPES[c.dtype]) for c in whole
        ]
        with warnings.catch_warnings():
            # on column names that other software may not like, and on text that goes over several cards
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            header = fits.BinTableHDU(np.zeros(0, dtype=kinds), name="PREDICTIONS").header
            header["NAXIS2"] = self._rows
            for place, column in enumerate(whole, start=1):
                told = {"TUNIT": column.unit, "TUCD": column.ucd, "TCOMM": column.description}
                for key, text in told.items():
                    if text:
                        header.set(f"{key}{place}", _ascii(text), after=f"TFORM{place}")
            header[_METADATA_KEY] = json.dumps(dict(self._layout.metadata))
        stored = [(name, "i1" if kind == "?" else kind) for name, kind in kinds]
        stream = fits.StreamingHDU(str(self._path), header)
        try:
            for table in PARQUET.read_chunks(self._waiting_path, _ROWS_AT_ONCE):
                rows = np.zeros(len(table), dtype=stored)
                for name, kind in kinds:
                    values = table[name].to_numpy()
                    if kind == "?":
                        values = np.where(values, ord("T"), ord("F"))
                    rows[name] = values.astype(kind) if kind.startswith("S") else values
                stream.write(rows.view(np.uint8).reshape(len(rows), -1))
        finally:
            stream.close()


def _check_text(text: str, column: str) -> None:
    """Raise a PredictionsError if FITS can't hold a text: it is ASCII, and blanks at its end are padding."""
    if not (text.isascii() and (text.isprintable() or not text) and text == text.rstrip()):
        what = "id" if column == "id_str" else f"text in column {column!r}"
        raise PredictionsError(f"a FITS table can't hold the {what} {text!r}: {_NO_FITS}")


def _ascii(text: str) -> str:
    """What is said of a column in the letters that a FITS header has."""
    plain = text.replace("⁻", "-").replace("²", "2").replace("°", "deg")
    return plain.encode("ascii", "replace").decode()


def _check_columns(columns: Sequence[str]) -> None:
    """Raise a PredictionsError if FITS can't hold columns of these names."""
    if len(columns) > _MOST_COLUMNS:
        msg = f"a FITS table has at most {_MOST_COLUMNS} columns, but here are {len(columns):,}: {_NO_FITS}"
        raise PredictionsError(msg)
    odd = [name for name in columns if not (name.isascii() and name.isprintable() and _fits_in_a_card(name))]
    folded = {name.lower() for name in columns}
    if odd or len(folded) < len(columns):
        which = repr(odd[0]) if odd else "that differ in letter case alone"
        msg = f"a FITS table can't have columns called {which}: {_NO_FITS}"
        raise PredictionsError(f"{msg}, or predict with --names plain")


def _fits_in_a_card(name: str) -> bool:
    return len(name.replace("'", "''")) <= _MOST_CHARACTERS


def _native(column: Any) -> Any:
    values = np.array(column)
    if values.dtype.kind in "SU":
        texts = decode_text(values.tolist(), "id_str", "the table")
        return pd.Series([text or "" for text in texts], dtype=str)
    return values.astype(values.dtype.newbyteorder("="))


# Prediction tables as VOTable, for TOPCAT and Aladin: XML, a row at a time, so that its size needs no memory.

#: VOTable's types.
_VOTABLE_TYPES = {
    "float32": "float", "float64": "double", "int16": "short", "int32": "int", "int64": "long",
    "bool": "boolean", "str": "unicodeChar",
}  # fmt: skip


class _VOTable(Format):
    def check_installed(self) -> None:
        import_optional("astropy.io.votable", needed_for="a VOTable", package="zoobot[fits]")

    def check_texts(self, texts: Sequence[str], column: str) -> None:
        for text in texts:
            _refuse_no_xml(text)

    def create(self, path: Path, layout: TableLayout) -> _VOTableFile:
        refuse_half(layout)
        for column in layout.whole:
            _refuse_no_xml(column.name)
        return _VOTableFile(path, layout)

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        table = read_votable(path)
        refuse_other_tables(list(table.columns))
        texts = {name: table[name].fillna("").astype(str) for name in table if table[name].dtype == object}
        table = table.assign(**texts)
        for start in range(0, max(1, len(table)), rows):
            yield table.iloc[start : start + rows].reset_index(drop=True)

    def read_metadata(self, path: Path) -> dict[str, Any]:
        found: list[str] = []

        def start(name: str, attributes: dict[str, str]) -> None:
            if name == "INFO" and attributes.get("name") == METADATA_KEY:
                found.append(attributes.get("value", "{}"))

        _ = read_votable(path)  # which refuses what names other files
        parser = expat.ParserCreate()
        parser.StartElementHandler = start
        parser.Parse(path.read_bytes(), True)
        return from_json(found[0]) if found else {}


class _VOTableFile:
    def __init__(self, path: Path, layout: TableLayout) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._layout = layout
        fields = "".join(_votable_field(column) for column in layout.whole)
        info = f'<INFO name="{METADATA_KEY}" value={quoteattr(to_json(layout.metadata))}/>'
        self._file.write(
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">\n'
            f'<RESOURCE type="results">\n{info}\n<TABLE name="predictions">\n{fields}'
            "<DATA>\n<TABLEDATA>\n"
        )

    def append(
        self, ids: list[str], values: np.ndarray, samples: np.ndarray | None, further: Sequence[np.ndarray]
    ) -> None:
        columns = [_votable_cells(np.array(ids, dtype=object))]
        columns += [] if samples is None else [_votable_cells(samples)]
        columns += [_votable_cells(column) for column in (*values.T, *further)]
        for row in zip(*columns, strict=True):
            self._file.write(f"<TR>{''.join(f'<TD>{cell}</TD>' for cell in row)}</TR>\n")

    def close(self) -> None:
        try:
            self._file.write("</TABLEDATA>\n</DATA>\n</TABLE>\n</RESOURCE>\n</VOTABLE>\n")
        finally:
            self._file.close()


def _votable_field(column: Column) -> str:
    size = ' arraysize="*"' if column.dtype == "str" else ""
    told = "".join(f" {key}={quoteattr(v)}" for key, v in column.told().items() if key != "description")
    text = f"<DESCRIPTION>{escape(column.description)}</DESCRIPTION>" if column.description else ""
    kind = _VOTABLE_TYPES[column.dtype]
    return f'<FIELD name={quoteattr(column.name)} datatype="{kind}"{size}{told}>{text}</FIELD>\n'


def _votable_cells(values: np.ndarray) -> list[str]:
    if values.dtype.kind == "O":
        texts = values.tolist()
        for text in texts:
            _refuse_no_xml(text)
        return list(map(escape, texts))
    return [
        {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(one, one) for one in values.astype(str).tolist()
    ]


_NO_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _refuse_no_xml(text: str) -> None:
    if text != text.strip() or _NO_XML.search(text):
        raise PredictionsError(f"a VOTable can't hold the text {text!r}: {_OTHERS}")


#: The formats of this file by the endings of names.
ASTRONOMY = {".fits": _Fits(), **dict.fromkeys((".vot", ".votable", ".xml"), _VOTable())}
