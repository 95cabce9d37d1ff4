"""Lists of subjects as the Zooniverse's production hands them out to be predicted.

A JSON array with an element for each subject: the address of its image, and what is known of it, a JSON
object that is written as a text (or is one): see export_manifest.rb of https://github.com/zooniverse/kade.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from zoobot.shared.errors import CatalogError

_SHOWN = 60


def read_subjects(path: Path) -> pd.DataFrame:
    """The subjects of a list: `id_str`, `file_loc` (the address), and all that is known of them, as texts.

    Raises:
        CatalogError: If it is no such list, or a subject has no `subject_id`.
    """
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"{path} is no JSON ({error})") from error
    if not isinstance(found, list):
        raise CatalogError(f"{path} must hold {_expected()}, got {_brief(found)}")
    rows = [_row(path, number, one) for number, one in enumerate(found)]
    table = pd.DataFrame(rows)
    return table if rows else pd.DataFrame(columns=["id_str", "file_loc"])


def _row(path: Path, number: int, subject: Any) -> dict[str, str | None]:
    address, known = subject if isinstance(subject, list) and len(subject) == 2 else (None, None)
    try:
        known = json.loads(known) if isinstance(known, str) else known
    except (ValueError, RecursionError):
        known = None
    if not isinstance(address, str) or not isinstance(known, dict):
        msg = f"{path} must hold {_expected()}, got {_brief(subject)} (number {number}, from 0)"
        raise CatalogError(msg)
    texts = {str(name): _text(value) for name, value in known.items()}
    if not texts.get("subject_id"):
        raise CatalogError(f"{path}: number {number} (from 0) has no subject_id: {_brief(known)}")
    return {**texts, "id_str": texts["subject_id"], "file_loc": address}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def _expected() -> str:
    return 'an array of subjects, each ["https://…", "{\\"subject_id\\": …}"]'


def _brief(thing: Any) -> str:
    text = repr(thing)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
