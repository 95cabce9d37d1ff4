"""Labels as numbers, and rows chosen by "COLUMN=VALUE"."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from zoobot.shared.errors import ConfigError, LabelError

_SHOWN = 10
# Python refuses to read integers of thousands of digits.
_WHOLE = re.compile(r"-?[0-9]{1,400}")


def read_labels(table: pd.DataFrame, columns: Sequence[str], ids: Sequence[str], name: str) -> np.ndarray:
    """The labels of a table's galaxies.

    Args:
        table: One row for each galaxy.
        columns: The columns that hold labels.
        ids: The galaxies, for messages.
        name: The table, for messages.

    Returns:
        (galaxies, label columns), float64; NaN where a cell is empty.

    Raises:
        LabelError: If a label is not a number.
    """
    labels = np.empty((len(table), len(columns)))
    for position, column in enumerate(columns):
        labels[:, position] = _as_numbers(table[column], ids, name)
    return labels


def _as_numbers(column: pd.Series, ids: Sequence[str], name: str) -> np.ndarray:
    if getattr(column.dtype, "kind", "O") in "biuf":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    values = column.astype(object)
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(np.isnan(numbers) & values.notna().to_numpy())
    if len(bad):
        row = int(bad[0])
        raise LabelError(
            f"labels must be numbers, but column {column.name!r} of {name} holds {values.iloc[row]!r} for "
            f"galaxy {ids[row]!r} (row {row}, counted from 0; {len(bad):,} rows have such a value). Class "
            "names become numbers from 0 with zoobot.shared.catalog.encode_labels"
        )
    return numbers


def encode_labels(
    table: pd.DataFrame, column: str, *, class_names: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The number of each galaxy's class, from 0, and the classes' names in that order.

    Args:
        table: One row for each galaxy.
        column: Class names, or whole numbers, which are then the names.
        class_names: The classes in a given order, such as that of a trained model. By default those that
            occur, in alphabetical or numerical order.

    Returns:
        (galaxies,), int64, and the class names.

    Raises:
        LabelError: If the column is absent, or a class is missing, no whole number, or not in `class_names`.

    Example:
        >>> codes, names = encode_labels(pd.DataFrame({"kind": ["spiral", "ring", "spiral"]}), "kind")
        >>> codes.tolist(), names
        ([1, 0, 1], ('ring', 'spiral'))
    """
    if column not in table.columns:
        msg = f"no column {column!r} to read classes from; the columns are {list(map(str, table.columns))}"
        raise LabelError(msg)
    values = table[column].astype(object)
    missing = np.flatnonzero(values.isna().to_numpy() | (values.astype(str).str.strip() == "").to_numpy())
    if len(missing):
        raise LabelError(
            f"every galaxy needs a class, but {len(missing):,} rows have none in column {column!r}; the "
            f"first rows (counted from 0): {missing[:_SHOWN].tolist()}. Leave these rows out of the table, "
            "or give them a class (pandas takes classes called None or NA for missing: read tables there "
            "with keep_default_na=False)"
        )
    names = [_class_name(value, column) for value in values]
    if class_names is None:
        class_names = _in_order(set(names))
    codes = {name: code for code, name in enumerate(class_names)}
    unknown = sorted(set(names) - set(codes))
    if unknown:
        msg = f"column {column!r} holds classes {unknown[:_SHOWN]} that are none of {list(class_names)}"
        raise LabelError(msg)
    return np.array([codes[name] for name in names], dtype=np.int64), tuple(class_names)


def _class_name(value: object, column: str) -> str:
    if isinstance(value, (float, np.floating)):
        if not float(value).is_integer():
            raise LabelError(
                f"classes must be names or whole numbers, but column {column!r} holds {value!r}; numbers are "
                "learned with task='regression'"
            )
        return str(int(value))
    return str(value)


def _in_order(names: set[str]) -> list[str]:
    if all(_WHOLE.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))  # 1 and 01 too have one order
    return sorted(names)


# Rows chosen by "COLUMN=VALUE".


def split_selection(select: str) -> tuple[str, str]:
    """The column and the value of a selection.

    Raises:
        ConfigError: If it is not of the form COLUMN=VALUE.

    Example:
        >>> split_selection("split=test")
        ('split', 'test')
    """
    column, equals, value = select.partition("=")
    if not equals:
        raise ConfigError(f"--select must be COLUMN=VALUE, got {select!r}")
    return column, value


def where_equal(column: pd.Series, value: str) -> np.ndarray:
    """Which entries of a column are a value: the same text, or the same number.

    Example:
        >>> import pandas as pd
        >>> where_equal(pd.Series(["1", "1.0", "one"]), "1").tolist()
        [True, True, False]
    """
    import pandas as pd

    texts = column.astype(str)
    equal = (texts == value).to_numpy(dtype=bool)
    try:
        number = float(value)
    except ValueError:
        return equal
    return equal | (pd.to_numeric(texts, errors="coerce") == number).to_numpy(dtype=bool)
