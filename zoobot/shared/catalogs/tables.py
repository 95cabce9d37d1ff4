"""Tables from disk in any format, as rows or as DataFrames, with ids kept to the last digit."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute

from zoobot.shared.catalogs.columns import MOST_EXACT
from zoobot.shared.catalogs.delimited import DELIMITED_SUFFIXES, DelimitedRows
from zoobot.shared.catalogs.fits_tables import FitsRows
from zoobot.shared.catalogs.image_folders import FolderRows, is_image_name
from zoobot.shared.catalogs.json_tables import read_json_table
from zoobot.shared.catalogs.parquet_tables import ParquetRows, parquet_files
from zoobot.shared.catalogs.votables import read_votable
from zoobot.shared.errors import CatalogError
from zoobot.shared.files.spreadsheets import unguarded
from zoobot.shared.files.table_checks import (
    LEFT_OUT,
    TOLD,
    Rows,
    TableRows,
    readable,
    refuse_repeated_columns,
)

_FITS_SUFFIXES = (".fits", ".fits.gz", ".fits.bz2", ".fit")
_VOTABLE_SUFFIXES = (".vot", ".votable", ".xml")
_JSON_SUFFIX = ".json"
TABLE_SUFFIXES = (*DELIMITED_SUFFIXES, ".parquet", *_FITS_SUFFIXES, *_VOTABLE_SUFFIXES, _JSON_SUFFIX)

_WHOLE = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_WORDS_OF_NUMBERS = ("nan", "NaN", "NAN", "inf", "-inf", "Inf", "-Inf", "+inf", "Infinity", "-Infinity")
#: What stands in columns of numbers where none is known.
_NOTHING = (
    *("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null", "Null", "None", "none", "-nan", "-NaN"),
    *("nan", "NaN", "NAN", "--"),
)
_TRUTHS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
_TRIED = 1000
#: As many as a spreadsheet has: to find out what a column holds takes a while, however few its rows are.
_MOST_COLUMNS = 2**14


def open_rows(path: Path, *, folder_columns: Sequence[str]) -> Rows:
    """What reads a file or folder: a table of any format, a folder of Parquet files or of images.

    Args:
        path: The file or folder.
        folder_columns: What the columns of a folder of images are called: ids, and the images' names.

    Raises:
        CatalogError: If it is absent, empty, or of no format that we know.
    """
    if not path.is_dir():
        return open_table(path)
    parquet = parquet_files(path)
    if parquet and any(is_image_name(entry.name) for entry in os.scandir(path)):
        msg = f"the folder {str(path)!r} holds images and Parquet files; which are the catalog? Part them"
        raise CatalogError(msg)
    return ParquetRows(parquet) if parquet else FolderRows(path, folder_columns)


def open_table(path: Path) -> DelimitedRows | ParquetRows | FitsRows | TableRows:
    """What reads a table in a file, its format taken from the suffix.

    Of VOTable (XML) and JSON a part can't be read alone: they are read whole.

    Raises:
        CatalogError: If it is absent, damaged, repeats a column, or is of no format that we know.
        MissingPackageError: If the package that reads this format is not installed.
    """
    name = path.name.lower()
    if not name.endswith(TABLE_SUFFIXES):
        absent = "" if path.exists() else ", which does not exist; a folder of images would do, too"
        msg = f"the name of a table must end in one of {list(TABLE_SUFFIXES)}, got {str(path)!r}{absent}"
        raise CatalogError(msg)
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "does not exist"
        raise CatalogError(f"the table {str(path)!r} {reason}; expected a file{_only_local(path)}")
    if name.endswith(DELIMITED_SUFFIXES):
        return DelimitedRows(path)
    if name.endswith(".parquet"):
        return ParquetRows([path])
    if name.endswith(_FITS_SUFFIXES):
        return FitsRows(path)
    with readable(path):
        table = read_json_table(path) if name.endswith(_JSON_SUFFIX) else read_votable(path)
    refuse_repeated_columns(list(table.columns), str(path))
    return TableRows(table)


def _only_local(path: Path) -> str:
    start = (path.parts or ("",))[0]
    if re.match(r"[A-Za-z]:(\\|$)", start):
        return "; its name is a path of Windows, which this machine does not know" if os.name != "nt" else ""
    is_address = ":" in start
    return " on this machine: nothing is fetched, so download it first" if is_address else ""


def read_table(path: str | Path, *, text_cols: Sequence[str] = ()) -> pd.DataFrame:
    r"""The table in a file, its format taken from the suffix.

    Delimited text may have commas, tabs, semicolons or bars between cells, comments (#) before the header, be
    packed (.gz, .bz2, .zst), and be UTF-8 or, with a byte order mark, UTF-16. There, a column is one of
    numbers if all its cells are that are not empty (or "NA", "null" and the like); in any other only an empty
    cell is missing, so that a class may be called "None". Of a FITS or VOTable file the first table is read.
    Bytes become text. Columns that hold a vector in each row are left out.

    Args:
        path: A file that ends in one of `TABLE_SUFFIXES`, in any letter case.
        text_cols: Columns of delimited text to read as text. Name the identifiers here: as numbers they would
            lose leading zeros, and beside an empty cell their last digits. The other formats know their
            types.

    Returns:
        One row for each row of the file.

    Raises:
        CatalogError: If the file is absent, is not of the format its name says, repeats a column, or asks for
            far more memory than a table of its size needs.
        MissingPackageError: If the package that reads this format is not installed.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "rings.csv"
        >>> _ = file.write_text("id_str,ring\n007,1\n")
        >>> read_table(file, text_cols=["id_str"])["id_str"].tolist()
        ['007']
    """
    rows = open_table(Path(path).expanduser())
    if isinstance(rows, TableRows):
        return rows.table
    if isinstance(rows, DelimitedRows):
        table = _read_delimited(rows, text_cols, path)
    else:
        table = _with_nullable_integers(rows.read_whole(text_cols))
    if rows.left_out:
        table.attrs[LEFT_OUT] = dict(rows.left_out)
    if not isinstance(rows, DelimitedRows):
        table.attrs[TOLD] = {name: told for name, told in rows.told.items() if told}
    return table


def _read_delimited(rows: DelimitedRows, text_cols: Sequence[str], path: str | Path) -> pd.DataFrame:
    if len(rows.names) > _MOST_COLUMNS:
        raise CatalogError(
            f"{path} has {len(rows.names):,} columns, and at most {_MOST_COLUMNS:,} are read: keep those "
            "that you need"
        )
    pieces: list[list[Any]] = [[] for _ in rows.names]
    for _, cells in rows.cells(rows.names):
        for piece, column in zip(pieces, cells, strict=True):
            piece.append(pa.array(column, pa.large_string()))
    texts = {*text_cols, *rows.texts}
    columns = {}
    for place, name in enumerate(rows.names):
        column = pa.chunked_array(pieces[place], pa.large_string())
        pieces[place] = []
        numbers = None if name in texts else _as_numbers(column)
        columns[name] = _as_texts(column) if numbers is None else numbers
    return pd.DataFrame(columns, columns=list(rows.names))


def _as_texts(column: Any) -> pd.Series:
    """Text, missing where nothing stands."""
    if compute.any(compute.starts_with(column, "'")).as_py():
        new = [unguarded(text) or None for text in column.to_pylist()]
        return pd.Series(new, dtype=object if new.count(None) == len(new) else str)
    kept = compute.if_else(compute.equal(column, ""), None, column)
    texts: pd.Series = kept.to_pandas()
    return texts


def _as_numbers(column: Any) -> Any:
    """The numbers or truths in a column of text; None if it has anything else."""
    if not _are_numbers(compute.ascii_trim_whitespace(column[:_TRIED])):
        return None
    cells = compute.ascii_trim_whitespace(column)
    if not _are_numbers(cells):
        return None
    missing = compute.is_in(cells, value_set=pa.array(_NOTHING, cells.type))
    empty = missing.to_numpy()
    known = compute.replace_substring_regex(cells.filter(compute.invert(missing)), r"^\+", "")
    if not len(known):
        is_text = any(cell not in ("", "nan", "NaN", "NAN") for cell in compute.unique(cells).to_pylist())
        return None if is_text else np.full(len(column), np.nan)
    if compute.all(compute.is_in(known, value_set=pa.array(list(_TRUTHS), cells.type))).as_py():
        values = np.array([_TRUTHS.get(cell) for cell in cells.to_pylist()], dtype=object)
        return values if empty.any() else values.astype(bool)
    if compute.all(compute.match_substring_regex(known, _WHOLE)).as_py():
        whole = _as_whole(known, empty)
        if whole is not None or not empty.any():
            return whole
    numbers = np.full(len(column), np.nan)
    try:
        numbers[~empty] = known.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:  # beyond what float64 holds: infinite or zero
        numbers[~empty] = [float(cell) for cell in known.to_pylist()]
    return numbers


def _as_whole(known: Any, empty: np.ndarray) -> Any:
    """Whole numbers as such; None if they are too large, or float64 holds them all beside missing ones."""
    for kind in (pa.int64(),) if empty.any() else (pa.int64(), pa.uint64()):
        try:
            numbers = known.cast(kind).to_numpy()
        except pa.ArrowInvalid:
            continue  # larger ones
        if not empty.any():
            return numbers
        if numbers.min() >= -MOST_EXACT and numbers.max() <= MOST_EXACT:
            return None
        values = pd.array([pd.NA] * len(empty), dtype="Int64")
        values[~empty] = numbers
        return values
    return None


def typed_cells(column: pd.Series, *, as_text: bool = False) -> pd.Series:
    """Cells of delimited text as the numbers or truths that they are all, or else, or if asked, as text."""
    cells = pa.chunked_array([pa.array(column.fillna("").to_numpy(), pa.large_string())])
    numbers = None if as_text else _as_numbers(cells)
    typed = _as_texts(cells) if numbers is None else pd.Series(numbers)
    return typed.set_axis(column.index)


def _are_numbers(cells: Any) -> bool:
    """Whether all cells are numbers, truths, or what stands for a missing number."""
    others = cells.filter(compute.invert(compute.match_substring_regex(cells, _NUMBER)))
    words = pa.array([*_NOTHING, *_WORDS_OF_NUMBERS, *_TRUTHS], cells.type)
    if not compute.all(compute.is_in(others, value_set=words)).as_py() and len(others):
        return False
    truths = compute.is_in(others, value_set=pa.array(list(_TRUTHS), cells.type))
    has_truths = bool(len(others)) and bool(compute.any(truths).as_py())
    return not has_truths or len(others) == len(cells)


def _with_nullable_integers(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of integers and None as the type that pandas has for these, so that none loses a digit."""
    new = {}
    for name, dtype in table.dtypes.items():
        if pd.api.types.is_object_dtype(dtype):
            kinds = {type(value) for value in table[name].dropna()}
            if kinds == {int} and max(map(abs, table[name].dropna())) < 2**63:
                new[name] = table[name].astype("Int64")
    return table.assign(**new) if new else table
