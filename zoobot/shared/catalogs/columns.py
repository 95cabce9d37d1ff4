"""What stands in columns of catalogs: ids, exact to the last digit; labels as numbers; chosen rows."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from zoobot.shared.errors import CatalogError, ConfigError, LabelError

# Finds repeated ids among any number of galaxies, in eight bytes for each.

_LOOKED_AT = 1000
"""Hashes that are looked at together, so that memory stays small where every id is repeated."""


def hash_ids(ids: Sequence[str]) -> np.ndarray:
    """A 64-bit hash of each id, the same on every machine."""
    texts = np.empty(len(ids), dtype=object)
    texts[:] = ids
    return pd.util.hash_array(texts, categorize=False)


class IdHashes:
    """The hashes of ids that come a few at a time.

    Example:
        >>> hashes = IdHashes()
        >>> for ids in (["a", "b"], ["c", "a"]):
        ...     hashes.add(ids)
        >>> hashes.repeated(lambda: iter([["a", "b"], ["c", "a"]]))
        ['a']
    """

    def __init__(self) -> None:
        self._hashes = array("Q")

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, ids: Sequence[str]) -> None:
        """Take in some more ids."""
        self._hashes.frombytes(hash_ids(ids).astype(np.uint64).tobytes())

    def repeated(self, read_again: Callable[[], Iterable[Sequence[str]]]) -> list[str]:
        """Some of the ids that came more than once; none if all are different.

        Equal hashes are only a hint, so the ids that have them are looked at once more.

        Args:
            read_again: Gives all ids once more, a few at a time.
        """
        hashes = np.frombuffer(self._hashes, dtype=np.uint64)
        hashes.sort()
        suspects = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        for start in range(0, len(suspects), _LOOKED_AT):
            some = suspects[start : start + _LOOKED_AT]
            counts: Counter[str] = Counter()
            for ids in read_again():
                places = np.flatnonzero(np.isin(hash_ids(ids), some))
                counts.update(ids[place] for place in places.tolist())
            repeated = [text for text, count in counts.items() if count > 1]
            if repeated:
                return repeated
        return []


_SHOWN = 10
# What empty cells turn into on their way through spreadsheets and `astype(str)`.
_EMPTY = frozenset({"", "nan", "none", "null", "<na>"})
# What spreadsheets and float columns turn long integers into.
_ROUNDED = re.compile(r"\d[.,]\d*[eE]\+?\d+|\d[eE]\+\d+|\d{16,}\.0*")


def read_ids(column: pd.Series, name: str, *, places: pd.Series | None = None) -> list[str]:
    """The ids of a table's galaxies as exact text, checked.

    Args:
        column: Text or integers.
        name: The table, for messages.
        places: The galaxies' images, where ids were made of their names, to tell which ones share one.

    Raises:
        CatalogError: If an id is missing, repeated, a floating-point number, or was one on its way here.
    """
    ids = exact_ids(column, name)
    if len(set(ids)) < len(ids):
        repeated = [text for text, count in Counter(ids).items() if count > 1]
        msg = (
            f"every galaxy must stand in {name} once, but {len(repeated):,} ids of column {column.name!r} "
            f"occur more than once; the first: {repeated[:_SHOWN]}"
        )
        if places is not None:
            msg += f" ({both_places(p for p, text in zip(places, ids, strict=True) if text == repeated[0])})"
        raise CatalogError(msg)
    return ids


def both_places(places: Iterable[object]) -> str:
    """The first two places of one id, in words."""
    return " and ".join(map(str, islice(places, 2)))


def exact_ids(column: pd.Series, name: str, *, first_row: int = 0) -> list[str]:
    """The ids of a table's galaxies, or of a part of them, as exact text; none is missing.

    Args:
        column: Text or integers.
        name: The table, for messages.
        first_row: Which row of the table the column begins with, for messages.

    Raises:
        CatalogError: If an id is missing, a floating-point number, or was one on its way here.
    """
    ids = _as_text(column, name)
    missing = [first_row + row for row, text in enumerate(ids) if text.strip().lower() in _EMPTY]
    if missing:
        raise CatalogError(
            f"every galaxy needs an id, but {len(missing):,} of {len(ids):,} rows of {name} have none in "
            f"column {column.name!r}; the first rows (counted from 0): {missing[:_SHOWN]}"
        )
    return ids


def _as_text(column: pd.Series, name: str) -> list[str]:
    kind = getattr(column.dtype, "kind", "O")
    if kind in "iu":
        values = column.to_numpy(dtype=object, na_value=None)
        return ["" if value is None else str(value) for value in values]
    if kind in "fcbmM":
        _refuse_kind(column, name, column.dtype, column.tolist()[0])
    ids = [_value_as_text(value, column, name) for value in column.to_numpy(dtype=object)]
    rounded = [text for text in ids if _ROUNDED.fullmatch(text)]
    if rounded:
        raise CatalogError(
            f"column {column.name!r} of {name} holds {len(rounded):,} ids such as {rounded[0]!r}: a long "
            "integer that was turned into a floating-point number, by a spreadsheet perhaps, and has lost "
            "its last digits. Export the ids as text from where they came"
        )
    return ids


def _value_as_text(value: Any, column: pd.Series, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, np.bytes_)):
        return _decode(value, column, name)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(value)
    if is_missing(value):
        return ""
    _refuse_kind(column, name, type(value).__name__, value)
    return ""


def _decode(value: bytes, column: pd.Series, name: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"ids must be text, but column {column.name!r} of {name} holds {value!r}, which is not UTF-8"
        raise CatalogError(msg) from error


def is_missing(value: object) -> bool:
    """Whether a cell of a table is empty: None, NaN, NA or NaT. A list or an array is something."""
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _refuse_kind(column: pd.Series, name: str, kind: object, value: object) -> None:
    raise CatalogError(
        f"ids must be text or integers, but column {column.name!r} of {name} holds {kind}, such as "
        f"{value!r}. Floating-point numbers can't hold the last digits of an id of 17 digits or more, and an "
        "integer column with an empty cell becomes one: read the column as text (pandas: "
        f"dtype={{{column.name!r}: str}})"
    )


# Labels as numbers, and rows chosen by "COLUMN=VALUE".

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


# The types that columns of catalogs keep in other tables.

MOST_EXACT = 2**53  # whole numbers up to here keep every digit beside missing ones, as float64


def kind_of(values: pd.Series) -> str:
    """The type that holds a column: float32, float64, int16, int32, int64, bool, or str for all else.

    Whole numbers beside missing ones become float64, or text where that would lose digits.

    Example:
        >>> kind_of(pd.Series([1.5])), kind_of(pd.Series([1, None], dtype="Int64")), kind_of(pd.Series(["a"]))
        ('float64', 'float64', 'str')
    """
    kind, size = getattr(values.dtype, "kind", "O"), getattr(values.dtype, "itemsize", 8)
    if kind == "f":
        return "float32" if size <= 4 else "float64"
    known = values.dropna()
    types = {type(value) for value in known} if kind == "O" else {bool} if kind == "b" else {int}
    if kind not in "biuO" or not types or not types <= {int, float, bool}:
        return "str"
    if bool in types:
        return "bool" if types == {bool} and len(known) == len(values) else "str"
    if float in types:
        return "float64"
    least, most = (int(known.min()), int(known.max())) if len(known) else (0, 0)
    if len(known) < len(values):
        return "float64" if max(-least, most) <= MOST_EXACT else "str"
    size = 8 if kind == "O" else size * 2 if kind == "u" else size
    return "int16" if size <= 2 else "int32" if size <= 4 else "int64" if most < 2**63 else "str"


def common_kind(kinds: Collection[str], *, exact: bool = True) -> str:
    """The type that holds what pieces of a column hold.

    Args:
        kinds: Of the pieces.
        exact: Whether float64 holds every digit of those that are whole numbers.

    Example:
        >>> common_kind({"int64", "float64"}), common_kind({"float64", "str"}), common_kind(set())
        ('float64', 'str', 'str')
    """
    if len(kinds) == 1:
        return next(iter(kinds))
    if not kinds or {"str", "bool"} & set(kinds):
        return "str"
    if all(kind.startswith("int") for kind in kinds):
        return str(np.result_type(*kinds))
    return "float64" if exact else "str"


def as_kind(values: pd.Series, kind: str) -> np.ndarray:
    """A column in such a type; missing texts are empty."""
    if kind == "str":
        return np.array(["" if is_missing(one) else str(one) for one in values.astype(object)], object)
    if kind.startswith("float"):
        return pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan).astype(kind)
    return values.to_numpy(dtype=kind)
