"""The list of galaxies to label next, on disk: CSV to look at, JSON for a platform of volunteers.

CSV has a row for each galaxy, the first first. JSON has the same as `subjects`, each with `subject_id`,
`image`, `priority` (1 is the first), `score`, `reason`, `expected`, `distance`, `cost`, and the `questions`
that are worth asking, each with its `share` of the score and, in a tree, how likely it is `asked`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot import __version__
from zoobot.shared.errors import ConfigError
from zoobot.shared.files.safe import write_safely
from zoobot.shared.files.spreadsheets import csv_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

__all__ = ["COLUMNS", "check_list_place", "write_list"]

#: rank from 1; score as `acquisition` gives it; distance of features to the nearest galaxy labelled, or
#: chosen before; cost of the label.
COLUMNS = ("rank", "id_str", "file_loc", "score", "reason", "expected", "distance", "cost")


def check_list_place(save_loc: str | Path, *, overwrite: bool) -> Path:
    """Where a list goes, once found to be possible; call it before work.

    Raises:
        ConfigError: If the name ends in neither .csv nor .json, or is taken.
    """
    path = Path(save_loc).expanduser().absolute()
    if path.suffix.lower() not in (".csv", ".json"):
        msg = f"the list must end in .csv or .json, got {str(save_loc)!r}"
        raise ConfigError(msg)
    if path.is_dir() or (path.exists() and not overwrite):
        msg = f"{path} exists: choose another --save-loc, or replace it with --overwrite"
        raise ConfigError(msg)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"can't make the folder {path.parent}: {error.strerror or error}"
        raise ConfigError(msg) from error
    return path


def write_list(
    path: Path,
    table: pd.DataFrame,
    questions: Sequence[Sequence[Mapping[str, Any]]],
    facts: Mapping[str, Any],
) -> None:
    """Write the list, whole or not at all.

    Args:
        path: .csv or .json.
        table: `COLUMNS`, a row for each galaxy, in order.
        questions: For each galaxy, what is worth asking; only JSON has room for it.
        facts: Where the list comes from, JSON-ready; only JSON has room for it.
    """
    if path.suffix.lower() == ".csv":
        text = csv_text(table)
    else:
        subjects = [
            _subject(row, asked) for row, asked in zip(table.to_dict("records"), questions, strict=True)
        ]
        content = {"zoobot": __version__, **facts, "subjects": subjects}
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_safely(path, text)


def _subject(row: Mapping[Any, Any], questions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    distance = row["distance"]
    return {
        "subject_id": row["id_str"],
        "image": row["file_loc"],
        "priority": int(row["rank"]),
        "score": float(row["score"]),
        "reason": row["reason"],
        "expected": row["expected"],
        "distance": None if distance != distance else float(distance),
        "cost": float(row["cost"]),
        "questions": [dict(one) for one in questions],
    }
