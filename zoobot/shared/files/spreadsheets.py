"""Texts in CSV files that a spreadsheet would take for formulas: guarded on writing, plain on reading."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?", re.IGNORECASE)


def guarded(text: str) -> str:
    """The text, with an apostrophe before it if a spreadsheet would run it.

    A text that only looks guarded gets one more, so that reading gives every text back.

    Example:
        >>> [guarded(text) for text in ("=1+1", "'=1+1", "-1.5", "J0001", "'a")]
        ["'=1+1", "''=1+1", '-1.5', 'J0001', "'a"]
    """
    return f"'{text}" if _looks_run(text) else text


def unguarded(text: str) -> str:
    """The text as it was before `guarded`.

    Example:
        >>> [unguarded(text) for text in ("'=1+1", "''=1+1", "-1.5", "'a")]
        ['=1+1', "'=1+1", '-1.5', "'a"]
    """
    return text[1:] if text.startswith("'") and _looks_run(text) else text


def _looks_run(text: str) -> bool:
    return _FORMULA.match(text) is not None and _NUMBER.fullmatch(text.lstrip("'")) is None


def unguarded_column(column: pd.Series) -> pd.Series:
    """A column of texts as it was before `guarded`; what is no text stays."""
    values = column.to_numpy(dtype=object)
    if not any(isinstance(value, str) and value.startswith("'") for value in values):
        return column
    new = [unguarded(value) if isinstance(value, str) else value for value in values]
    return pd.Series(new, index=column.index, name=column.name, dtype=column.dtype)


def write_csv(table: pd.DataFrame, path: str | Path, **options: Any) -> None:
    """Write a table as UTF-8 CSV, its texts guarded, numbers as they are.

    Args:
        table: The table; its index is not written.
        path: Where to.
        **options: What else `DataFrame.to_csv` takes.
    """
    new = _guarded_table(table)
    new.to_csv(path, index=False, encoding="utf-8", **{**_quoting(new), **options})


def csv_text(table: pd.DataFrame, *, float_format: str | None = None) -> str:
    """What `write_csv` writes; numbers with as many digits as a format such as "%.6g" has."""
    new = _guarded_table(table)
    text: str = new.to_csv(index=False, float_format=float_format, **_quoting(new))
    return text


def _quoting(table: pd.DataFrame) -> dict[str, Any]:
    """Quotes around all texts where Python leaves a carriage return bare, or a header would be a comment."""
    texts = [table[name] for name, dtype in table.dtypes.items() if not pd.api.types.is_numeric_dtype(dtype)]
    cells = (cell for column in [table.columns, *texts] for cell in column)
    has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
    is_comment = any(str(name).startswith("#") for name in table.columns[:1])
    return {"quoting": csv.QUOTE_NONNUMERIC} if has_return or is_comment else {}


def _guarded_table(table: pd.DataFrame) -> pd.DataFrame:
    new = {
        name: [guarded(cell) if isinstance(cell, str) else cell for cell in table[name]]
        for name, dtype in table.dtypes.items()
        if not pd.api.types.is_numeric_dtype(dtype)
    }
    return table.assign(**new).rename(columns=lambda name: guarded(str(name)))
