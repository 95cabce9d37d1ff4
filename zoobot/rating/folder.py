"""The folder of a rating session: what it holds, and how it gets there whole.

- session.json: which features it is of, and its settings; written last, so without it there is no session
- galaxies.parquet: `id_str`, `file_loc` (empty where unknown), `anomaly` (how strange; see `anomalies`)
- features.npy: the galaxies' reduced features, (galaxies, components), float32
- ratings.csv: every rating ever given; see `RatingLog`
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, LabelError, WriteError
from zoobot.shared.features.anomalies import pieces
from zoobot.shared.files.spreadsheets import guarded, unguarded
from zoobot.shared.files.whole import clear_abandoned, replacing, write_safely

logger = logging.getLogger("zoobot")

RATINGS_FILE = "ratings.csv"
_SESSION, _GALAXIES, _FEATURES = "session.json", "galaxies.parquet", "features.npy"
_SHOWN = 5


class Start(NamedTuple):
    """What a session starts from.

    Attributes:
        settings: `galaxies` and `width` (numbers), `fingerprint`, `seed` and more, JSON-ready.
        table: `id_str`, `file_loc`, `anomaly`: a row for each galaxy.
        reduced: Their reduced features, (galaxies, components).
    """

    settings: dict[str, Any]
    table: pd.DataFrame
    reduced: NDArray[np.float32]


def is_session(folder: Path) -> bool:
    """Whether a session was started in the folder."""
    return (folder / _SESSION).is_file()


def read_start(folder: Path) -> Start:
    """What the session in a folder started from.

    Raises:
        ConfigError: If there is no session, or it is damaged.
    """
    if not is_session(folder):
        raise ConfigError(f"there is no session in {folder}: start one, from features")
    try:
        settings = json.loads((folder / _SESSION).read_text(encoding="utf-8"))
        table = pd.read_parquet(folder / _GALAXIES, columns=["id_str", "file_loc", "anomaly"])
        reduced = np.load(folder / _FEATURES, mmap_mode="r")
        sizes = (int(settings["galaxies"]), len(table), len(reduced))
        _ = settings["width"], settings["fingerprint"], settings["seed"]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:  # of JSON, Parquet and NumPy
        raise ConfigError(f"the session in {folder} is damaged ({type(error).__name__}: {error})") from error
    if len(set(sizes)) > 1:
        raise ConfigError(f"the session in {folder} is damaged: its files are of {sizes} galaxies")
    return Start(settings, table, reduced)


def write_start(folder: Path, start: Start) -> None:
    """Write what a session starts from; killed on the way, there is none.

    Raises:
        WriteError: If it can't be written.
    """
    with replacing(folder / _GALAXIES) as draft:
        start.table.to_parquet(draft, index=False)
    with replacing(folder / _FEATURES) as draft, draft.open("wb") as file:
        np.save(file, start.reduced)
    write_safely(folder / _SESSION, json.dumps(start.settings, indent=1, ensure_ascii=False) + "\n")


def refuse_occupied(folder: Path) -> None:
    """Raise a ConfigError unless a session may start in a folder: it is new, or a start was killed."""
    if is_session(folder):
        raise ConfigError(f"there is a session in {folder} already")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"a session is a folder, but {folder} is a file")
    if not folder.is_dir():
        return
    clear_abandoned(folder)
    others = sorted({path.name for path in folder.iterdir()} - {_GALAXIES, _FEATURES})
    if others:
        named = ", ".join(others[:_SHOWN])
        raise ConfigError(f"{folder} holds other files ({named}); give the session a folder of its own")


def fingerprint(ids: Sequence[str], features: NDArray) -> str:
    """What tells these galaxies and features from all others."""
    digest = hashlib.blake2b(repr(features.shape).encode(), digest_size=16)
    for rows in pieces(len(ids)):
        digest.update("\0".join(ids[rows]).encode())
        digest.update(np.ascontiguousarray(features[rows], np.float32).tobytes())
    return digest.hexdigest()


# Ratings on disk, in the order they were given: lines are added, and none is ever changed.
#
# A later rating of the same galaxy counts instead of the earlier one, which stays in the file. A kill while a
# line is written leaves a piece of one, which is known by its missing end and does not count.

_COLUMNS = ("time", "id_str", "rating")
_HALF = "%s ended in half a line, which does not count: %r"


class RatingLog:
    """The ratings in one CSV file: time, id_str, rating.

    Args:
        path: The file; it need not exist.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> log = RatingLog(Path(tempfile.mkdtemp()) / "ratings.csv")
        >>> log.add({"J1": 5.0, "J2": 0.0})
        >>> log.add({"J1": 3.0})
        >>> log.read()
        {'J1': 3.0, 'J2': 0.0}
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, float]:
        """The rating of each galaxy that has one: its latest.

        Raises:
            LabelError: If a line can't be what was written.
        """
        if not self.path.is_file():
            return {}
        found: dict[str, float] = {}
        try:
            content = self.path.read_bytes()
            end = content.rfind(b"\n") + 1
            lines = csv.DictReader(io.StringIO(content[:end].decode("utf-8-sig"), newline=""), strict=True)
        except (OSError, UnicodeDecodeError) as error:
            raise LabelError(f"{self.path} can't be read: {error}") from error
        if end < len(content):
            logger.warning(_HALF, self.path, content[end:])
        try:
            if end:
                _check_header(lines.fieldnames)
            for line in lines:
                found[unguarded(_cell(line, "id_str"))] = as_rating(_cell(line, "rating"))
        except (ValueError, csv.Error) as error:
            place = f"{self.path} is damaged at line {lines.reader.line_num:,}"
            raise LabelError(f"{place}: {error}. Mend that line or delete it") from error
        return found

    def add(self, ratings: Mapping[str, float]) -> None:
        """Add ratings, and return once they are on the disk itself.

        Raises:
            WriteError: If they can't be written.
        """
        if not ratings:
            return
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        try:
            self._drop_torn_line()
            if not self.path.is_file() or not self.path.stat().st_size:
                writer.writerow(_COLUMNS)
            writer.writerows((now, guarded(galaxy), f"{rating:g}") for galaxy, rating in ratings.items())
            with self.path.open("ab") as file:
                file.write(text.getvalue().encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            msg = f"can't add to {self.path}: {error.strerror or error}; the ratings in it are kept"
            raise WriteError(msg) from error

    def _drop_torn_line(self) -> None:
        """Cut off what a kill left of a line, so that the next one starts anew."""
        if not self.path.is_file():
            return
        content = self.path.read_bytes()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            logger.warning(_HALF, self.path, content[end:])
            os.truncate(self.path, end)


def _check_header(columns: Sequence[str] | None) -> None:
    if not {"id_str", "rating"} <= set(columns or ()):
        raise ValueError(f"expected the columns {', '.join(_COLUMNS)}, got {columns!r}")


def _cell(line: Mapping[Any, Any], name: str) -> str:
    """The text of a line's cell.

    Raises:
        ValueError: If the line has not as many cells as the file has columns, time, id_str and rating.
    """
    if None in line or not isinstance(line.get(name), str):
        msg = f"expected the columns {', '.join(_COLUMNS)}, and a cell for each, got {list(line.values())!r}"
        raise ValueError(msg)
    return str(line[name])


def as_rating(value: Any) -> float:
    """A rating as a number.

    Raises:
        LabelError: If it is none from 0 to `defaults.TOP_RATING`.
    """
    try:
        rating = float(value)
    except (TypeError, ValueError):
        rating = np.nan
    if not 0 <= rating <= defaults.TOP_RATING:
        msg = f"a rating is a number from 0 (dull) to {defaults.TOP_RATING} (most interesting), got {value!r}"
        raise LabelError(msg)
    return rating
