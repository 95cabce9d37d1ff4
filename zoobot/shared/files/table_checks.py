"""What every reader of tables shares: errors that name the file, limits, and bytes that become text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoobot.shared.errors import CatalogError, ZoobotError

#: Under which name a DataFrame's `attrs` keep which columns were left out, and why.
LEFT_OUT = "left out"

_PACKED = (".gz", ".bz2", ".zst")
_MIB = 2**20


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say which table is damaged, where reading it fails."""
    try:
        yield
    except ZoobotError:
        raise
    except UnicodeDecodeError as error:
        odd = error.object[error.start : error.start + 1]
        msg = (
            f"can't read the table {str(path)!r}: it is not {error.encoding.upper()}, for it holds the byte "
            f"{odd!r}. Convert it to UTF-8; if it came from Windows or is in Latin-1: iconv -f WINDOWS-1252 "
            f"-t UTF-8 {path.name} > utf8_{path.name}"
        )
        raise CatalogError(msg) from error
    except Exception as error:  # csv, zlib, pandas, Arrow and astropy each have their own for damaged files
        words = str(error)
        words = words if len(words) < 1000 else f"{words[:1000]} …"
        msg = f"can't read the table {str(path)!r}: {type(error).__name__}: {words}"
        raise CatalogError(msg) from error


def refuse_repeated_columns(columns: Sequence[Any], name: str) -> None:
    """Raise a CatalogError that names the columns which occur twice in the table called `name`."""
    repeated = [column for column, count in Counter(columns).items() if count > 1]
    if repeated:
        msg = f"column names must be different, but {name} repeats {repeated}; rename or drop the copies"
        raise CatalogError(msg)


def find_column(wanted: str, names: Sequence[Any]) -> str:
    """The column of that name, or else the only one that differs in letter case alone; else what was wanted.

    Example:
        >>> find_column("ra", ["RA", "DEC"])
        'RA'
    """
    near = [name for name in names if str(name).casefold() == wanted.casefold()]
    return str(near[0]) if wanted not in names and len(near) == 1 else wanted


def has_compression(path: Path) -> bool:
    """Whether a file's name says that it is packed."""
    return path.name.lower().endswith(_PACKED)


def room_for_packed(path: Path) -> int:
    """The most bytes that a packed table may unpack to: 50 times its size, where it is large."""
    return 16 * _MIB + 50 * path.stat().st_size


def room_for_repeated(path: Path) -> int:
    """The most bytes that a table may take which can say once what many rows share: 200 times its size."""
    return 128 * _MIB + 200 * path.stat().st_size


def refuse_bombs(path: Path, wanted: float, room: int, advice: str) -> None:
    """Raise a CatalogError if a small file asks for far more memory than tables of its size need."""
    if wanted > room:
        msg = (
            f"the table {str(path)!r} has {path.stat().st_size:,} bytes, but asks for {wanted:,.0f} or more: "
            f"more than an honest table would ({room:,}). {advice}"
        )
        raise CatalogError(msg)


def decode_text(values: Sequence[Any], column: str, name: str, *, padded: bool = True) -> list[str | None]:
    """Bytes of a column as text; None where nothing stands.

    Args:
        values: bytes, text, or None.
        column: The column, for messages.
        name: The table, for messages.
        padded: Whether blanks and zeros fill up their fields, as in FITS, and are none of the text.

    Raises:
        CatalogError: If they are not UTF-8.

    Example:
        >>> decode_text([b"edge-on  ", b"", None], "kind", "galaxies.fits")
        ['edge-on', None, None]
    """
    texts: list[str | None] = []
    for row, value in enumerate(values):
        try:
            text = value.decode("utf-8") if isinstance(value, bytes) else value
        except UnicodeDecodeError as error:
            msg = (
                f"column {column!r} of {name} holds {value[:40]!r} (row {row}, counted from 0), which is no "
                "UTF-8 text: write it as text where the table comes from"
            )
            raise CatalogError(msg) from error
        if padded and isinstance(text, str):
            text = text.partition("\0")[0].rstrip(" ")
        texts.append(text if isinstance(text, str) and text else None)
    return texts


def decoded_frame(table: pd.DataFrame) -> pd.DataFrame:
    """The table with bytes as text; the very same one where it has none."""
    new = {}
    for place, dtype in enumerate(table.dtypes):
        if not pd.api.types.is_object_dtype(dtype):
            continue
        column = table.iloc[:, place]
        values = column.to_numpy(dtype=object)
        if not any(isinstance(value, bytes) for value in values):
            continue
        try:
            new[column.name] = [v.decode("utf-8") if isinstance(v, bytes) else v for v in values]
        except UnicodeDecodeError:
            continue  # pictures, perhaps; where it is needed as text, it is refused there
    if not new:
        return table
    return table.assign(
        **{name: np.array([*values, None], dtype=object)[:-1] for name, values in new.items()}
    )
