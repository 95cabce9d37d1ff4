"""Prediction tables with several samples of each galaxy, as arrays, a part at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zoobot.shared.errors import PredictionsError
from zoobot.shared.predictions import read_prediction_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from zoobot.shared.votes import FloatArray

__all__ = ["read_samples"]

_ROWS_AT_ONCE = 16_384


def read_samples(
    predictions: str | Path, columns: Sequence[str], *, rows: int | None = None
) -> Iterator[tuple[list[str], FloatArray]]:
    """The predictions of a table, a part of the galaxies at a time.

    Args:
        predictions: The table that `predict` wrote, with a `sample` column or without.
        columns: The predicted columns.
        rows: Most rows read at once; None is a number that suits.

    Yields:
        Ids, and what is predicted of them, (samples, galaxies, columns).

    Raises:
        PredictionsError: If the file can't be read, lacks a column, or has not the same samples of every
            galaxy.
    """
    columns = list(columns)
    waiting: pd.DataFrame | None = None
    for chunk in read_prediction_chunks(predictions, rows=rows or _ROWS_AT_ONCE):
        missing = [name for name in columns if name not in chunk]
        if missing:
            msg = f"{predictions} is no table of these predictions: it lacks {missing[:5]}"
            raise PredictionsError(msg)
        if "sample" not in chunk:
            yield chunk["id_str"].tolist(), chunk[columns].to_numpy(dtype=np.float64)[None]
            continue
        table = chunk if waiting is None else pd.concat([waiting, chunk], ignore_index=True)
        complete = _last_start(table["sample"].to_numpy())
        waiting = table.iloc[complete:]
        if complete:
            yield _unstack(table.iloc[:complete], columns, predictions)
    if waiting is not None and len(waiting):
        yield _unstack(waiting, columns, predictions)


def _last_start(samples: np.ndarray) -> int:
    """Where the last group of galaxies begins: `predict` writes a group's sample 0, then its 1, and so on."""
    starts = np.flatnonzero((samples[1:] == 0) & (samples[:-1] != 0))
    return int(starts[-1]) + 1 if len(starts) else 0


def _unstack(
    table: pd.DataFrame, columns: list[str], predictions: str | Path
) -> tuple[list[str], FloatArray]:
    """Rows of whole groups as (samples, galaxies, columns)."""
    samples = table["sample"].to_numpy()
    count = int(samples.max()) + 1
    order = np.argsort(samples, kind="stable")
    ids = table["id_str"].to_numpy()[order]
    each = np.bincount(samples, minlength=count)
    if (each != each[0]).any() or (ids.reshape(count, -1) != ids[: each[0]]).any():
        msg = f"{predictions} must hold the same {count} samples of every galaxy, in the order of `predict`"
        raise PredictionsError(msg)
    values = table[columns].to_numpy(dtype=np.float64)[order]
    return ids[: each[0]].tolist(), values.reshape(count, -1, len(columns))
