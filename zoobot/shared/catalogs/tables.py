"""Tables from disk as DataFrames: CSV, Parquet, FITS and VOTable, with identifiers kept to the last digit."""

from __future__ import annotations

import csv
import gzip
import warnings
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import pandas as pd

from zoobot.shared.errors import CatalogError, ZoobotError
from zoobot.shared.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "TABLE_SUFFIXES",
    "open_csv",
    "read_csv_header",
    "read_table",
    "readable",
    "refuse_repeated_columns",
]


def read_table(path: str | Path, *, text_cols: Sequence[str] = ()) -> pd.DataFrame:
    r"""The table in a file, its format taken from the suffix.

    CSV is UTF-8 (a byte order mark and Windows line ends are fine). Of a FITS file the first table is read.
    FITS and VOTable columns that hold a vector for each row are left out.

    Args:
        path: A file that ends in one of `TABLE_SUFFIXES`, in any letter case.
        text_cols: Columns of a CSV to read as text. Name the identifiers here: as numbers they would lose
            leading zeros, and beside an empty cell their last digits. The other formats know their types.

    Returns:
        One row for each row of the file.

    Raises:
        CatalogError: If the file is absent, is not of the format its name says, or repeats a column.
        MissingPackageError: If the package that reads this format is not installed.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "rings.csv"
        >>> _ = file.write_text("id_str,ring\n007,1\n")
        >>> read_table(file, text_cols=["id_str"])["id_str"].tolist()
        ['007']
    """
    path = Path(path).expanduser()
    reader = _find_reader(path)
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "does not exist"
        msg = f"the table {str(path)!r} {reason}; expected a file"
        raise CatalogError(msg)
    with readable(path):
        table = reader(path, text_cols)
    refuse_repeated_columns(table.columns, str(path))
    return table


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say which table is damaged, where reading it fails."""
    try:
        yield
    except ZoobotError:
        raise
    except Exception as error:  # csv, zlib, pandas, Arrow and astropy each have their own for damaged files
        msg = f"can't read the table {str(path)!r}: {type(error).__name__}: {error}"
        raise CatalogError(msg) from error


def refuse_repeated_columns(columns: Sequence[Any], name: str) -> None:
    """Raise a CatalogError that names the columns which occur twice in the table called `name`."""
    repeated = [column for column, count in Counter(columns).items() if count > 1]
    if repeated:
        msg = f"column names must be different, but {name} repeats {repeated}; rename or drop the copies"
        raise CatalogError(msg)


def _read_csv(path: Path, text_cols: Sequence[str]) -> pd.DataFrame:
    # pandas renames repeated columns in silence, so they are looked for before it reads.
    header = read_csv_header(path)
    refuse_repeated_columns(header, str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path,
            dtype={column: str for column in text_cols if column in header},
            encoding="utf-8-sig",
            index_col=False,  # otherwise a row with one cell too many would shift every column
            low_memory=False,  # otherwise types are guessed piece by piece
        )


def open_csv(path: Path) -> TextIO:
    """A CSV file open for reading as UTF-8 text, unpacked where it is .csv.gz."""
    packed = path.name.lower().endswith(".gz")
    return cast("TextIO", (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig", newline=""))


def read_csv_header(path: Path) -> list[str]:
    """The names of the columns of a CSV file.

    Raises:
        CatalogError: If there is not even a line.
    """
    with open_csv(path) as file:
        header = next((row for row in csv.reader(file) if row), None)
    if header is None:
        msg = f"the table {str(path)!r} is empty: not even a line with column names"
        raise CatalogError(msg)
    return header


def _read_parquet(path: Path, text_cols: Sequence[str]) -> pd.DataFrame:
    del text_cols  # Parquet knows its types
    parquet = import_optional("pyarrow.parquet", needed_for=f"reading {path.name}")
    # of a single file, read_table gives the same, but takes minutes where there are 100,000 columns
    table = parquet.read_table(path) if path.is_dir() else parquet.ParquetFile(path).read()
    table.validate(full=True)  # text that is no text would else be found wherever it is first looked at
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _read_fits(path: Path, text_cols: Sequence[str]) -> pd.DataFrame:
    del text_cols  # FITS knows its types
    table = import_optional("astropy.table", needed_for=f"reading {path.name}")
    with warnings.catch_warnings():
        _ignore_notes_on_units()
        warnings.filterwarnings("ignore", message="hdu= was not specified")
        return _flat_columns(table.Table.read(path, format="fits"))


def _read_votable(path: Path, text_cols: Sequence[str]) -> pd.DataFrame:
    del text_cols  # VOTable knows its types
    table = import_optional("astropy.table", needed_for=f"reading {path.name}")
    with warnings.catch_warnings():
        _ignore_notes_on_units()
        warnings.filterwarnings("ignore", module="astropy.io.votable")
        return _flat_columns(table.Table.read(path, format="votable", use_names_over_ids=True))


def _ignore_notes_on_units() -> None:
    units = import_optional("astropy.units", needed_for="reading units")
    warnings.simplefilter("ignore", units.UnitsWarning)


def _flat_columns(table: Any) -> pd.DataFrame:
    flat = [name for name in table.colnames if table[name].ndim == 1]
    frame: pd.DataFrame = table[flat].to_pandas(index=False)
    return frame


_READERS: dict[str, Callable[[Path, Sequence[str]], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".parquet": _read_parquet,
    ".fits": _read_fits,
    ".fits.gz": _read_fits,
    ".fit": _read_fits,
    ".vot": _read_votable,
    ".votable": _read_votable,
    ".xml": _read_votable,
}

TABLE_SUFFIXES = tuple(_READERS)


def _find_reader(path: Path) -> Callable[[Path, Sequence[str]], pd.DataFrame]:
    for suffix, reader in _READERS.items():
        if path.name.lower().endswith(suffix):
            return reader
    msg = f"the name of a table must end in one of {list(TABLE_SUFFIXES)}, got {str(path)!r}"
    raise CatalogError(msg)
