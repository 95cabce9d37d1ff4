"""The folder of a rating session: what it holds, and how it gets there whole.

- session.json: which features it is of, and its settings; written last, so without it there is no session
- galaxies.parquet: `id_str`, `file_loc` (empty where unknown), `anomaly` (how strange; see `anomalies`)
- features.npy: the galaxies' reduced features, (galaxies, components), float32
- ratings.csv: every rating ever given; see `log`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoobot.shared.errors import ConfigError
from zoobot.shared.features.anomalies import pieces
from zoobot.shared.files.whole import clear_abandoned, replacing, write_safely

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
        msg = f"there is no session in {folder}: start one, from features"
        raise ConfigError(msg)
    try:
        settings = json.loads((folder / _SESSION).read_text(encoding="utf-8"))
        table = pd.read_parquet(folder / _GALAXIES, columns=["id_str", "file_loc", "anomaly"])
        reduced = np.load(folder / _FEATURES, mmap_mode="r")
        sizes = (int(settings["galaxies"]), len(table), len(reduced))
        _ = settings["width"], settings["fingerprint"], settings["seed"]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:  # of JSON, Parquet and NumPy
        msg = f"the session in {folder} is damaged ({type(error).__name__}: {error})"
        raise ConfigError(msg) from error
    if len(set(sizes)) > 1:
        msg = f"the session in {folder} is damaged: its files are of {sizes} galaxies"
        raise ConfigError(msg)
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
        msg = f"there is a session in {folder} already"
        raise ConfigError(msg)
    if folder.exists() and not folder.is_dir():
        msg = f"a session is a folder, but {folder} is a file"
        raise ConfigError(msg)
    if not folder.is_dir():
        return
    clear_abandoned(folder)
    others = sorted({path.name for path in folder.iterdir()} - {_GALAXIES, _FEATURES})
    if others:
        named = ", ".join(others[:_SHOWN])
        msg = f"{folder} holds other files ({named}); give the session a folder of its own"
        raise ConfigError(msg)


def fingerprint(ids: Sequence[str], features: NDArray) -> str:
    """What tells these galaxies and features from all others."""
    digest = hashlib.blake2b(repr(features.shape).encode(), digest_size=16)
    for rows in pieces(len(ids)):
        digest.update("\0".join(ids[rows]).encode())
        digest.update(np.ascontiguousarray(features[rows], np.float32).tobytes())
    return digest.hexdigest()
