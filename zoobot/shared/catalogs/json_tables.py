"""Tables in JSON: a list with an object for each row, or a list of subjects of the Zooniverse.

A row is an object of names and cells; the list may be the `data` of an object, as pages of `zoobot explore
--annotate` and pandas (orient="table") write it. A subject, as the Zooniverse's production hands them out to
be predicted, is an array of two: the address of its image, and what is known of it, a JSON object that is
written as a text (or is one): see export_manifest.rb of https://github.com/zooniverse/kade.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoobot.shared.errors import CatalogError
from zoobot.shared.files.table_checks import refuse_bombs, refuse_repeated_columns, room_for_repeated

_CELL_BYTES = 8
_INT64 = 2**63
_SHOWN = 60


def read_json_table(path: Path) -> pd.DataFrame:
    """The rows of a JSON file.

    Of rows, a cell is a text, a number, true, false or null; whole numbers keep every digit. Of subjects
    there are `id_str`, `file_loc` (the address), and all that is known of them, as texts.

    Args:
        path: The file, in UTF-8.

    Raises:
        CatalogError: If it is no such list, a row or subject is none or repeats a name, or a subject has no
            `subject_id`.
    """
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"{path} is no JSON ({error})") from error
    rows = content.as_dict(path).get("data") if isinstance(content, _Pairs) else content
    if not isinstance(rows, list) or isinstance(rows, _Pairs):
        raise CatalogError(f"{path} must hold {_expected()}, got {_brief(content)}")
    has_rows = any(isinstance(row, _Pairs) for row in rows[:1])
    read = _row if has_rows else _subject
    cells = [read(path, number, row) for number, row in enumerate(rows)]
    names = list(dict.fromkeys(name for row in cells for name in row)) if cells else ["id_str", "file_loc"]
    advice = "Give all rows the same names"
    refuse_bombs(path, _CELL_BYTES * len(names) * len(cells), room_for_repeated(path), advice)
    return pd.DataFrame({name: _as_column([row.get(name) for row in cells]) for name in names})


class _Pairs(list[tuple[str, Any]]):
    """The names and values of an object, before one of two equal names is lost."""

    def as_dict(self, path: Path) -> dict[str, Any]:
        refuse_repeated_columns([name for name, _ in self], str(path))
        return dict(self)


def _row(path: Path, number: int, row: Any) -> dict[str, Any]:
    if not isinstance(row, _Pairs):
        raise CatalogError(f"{path} must hold {_expected()}, got {_brief(row)} (number {number}, from 0)")
    cells = row.as_dict(path)
    odd = [name for name, value in cells.items() if isinstance(value, list)]  # an object is a list of pairs
    if odd:
        raise CatalogError(
            f"cells must be texts or numbers, but column {odd[0]!r} of {path} holds a list or an object in "
            f"row {number} (counted from 0)"
        )
    return cells


def _subject(path: Path, number: int, subject: Any) -> dict[str, Any]:
    is_pair = isinstance(subject, list) and not isinstance(subject, _Pairs) and len(subject) == 2
    address, told = subject if is_pair else (None, None)
    try:
        known = json.loads(told, object_pairs_hook=_Pairs) if isinstance(told, str) else told
    except (ValueError, RecursionError):
        known = None
    if not isinstance(address, str) or not isinstance(known, _Pairs):
        raise CatalogError(f"{path} must hold {_expected()}, got {_brief(subject)} (number {number}, from 0)")
    texts = {name: _text(value) for name, value in known.as_dict(path).items()}
    if not texts.get("subject_id"):
        raise CatalogError(f"{path}: number {number} (from 0) has no subject_id: {_brief(known)}")
    return {**texts, "id_str": texts["subject_id"], "file_loc": address}


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(_plain(value))


def _plain(value: Any) -> Any:
    """The value with its objects as dictionaries."""
    if isinstance(value, _Pairs):
        return {name: _plain(one) for name, one in value}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _as_column(values: list[Any]) -> pd.Series:
    """Numbers where all cells are, in a type that keeps their digits; else what there is."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int} and all(-_INT64 <= value < _INT64 for value in values if value is not None):
        return pd.Series(values, dtype="Int64" if None in values else np.int64)
    if float in kinds and kinds <= {int, float}:
        return pd.Series([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    if kinds == {bool} and None not in values:
        return pd.Series(values, dtype=bool)
    return pd.Series(values, dtype=str if kinds == {str} and None not in values else object)


def _expected() -> str:
    return (
        'an array of subjects, each ["https://…", "{\\"subject_id\\": …}"], or a list with an object for '
        "each row, alone or as `data` of an object"
    )


def _brief(thing: Any) -> str:
    text = repr(_plain(thing))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
