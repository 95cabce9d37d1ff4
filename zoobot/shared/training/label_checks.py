"""Labels that no task can use, refused in the same words for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoobot.shared.errors import LabelError

__all__ = ["refuse_bad", "refuse_missing", "refuse_unlabelled", "refuse_voteless"]


def refuse_missing(labels: np.ndarray, ids: Sequence[str], columns: Sequence[str]) -> None:
    """Raise a LabelError if a galaxy has no label."""
    refuse_bad(labels, np.isnan(labels), ids, columns, "every galaxy needs a label")


def refuse_unlabelled(labels: np.ndarray, ids: Sequence[str]) -> None:
    """Raise a LabelError if a galaxy has not a single label: more likely a wrong column than a wish."""
    empty = np.isnan(labels).all(axis=1)
    if empty.any():
        first = [ids[i] for i in np.flatnonzero(empty)[:10]]
        msg = f"every galaxy needs at least one label, but {int(empty.sum())} have none; the first: {first}"
        raise LabelError(msg)


def refuse_voteless(votes: np.ndarray, part: str) -> None:
    """Raise a LabelError if nobody voted on any of the galaxies: nothing can be learned so."""
    if not (np.nan_to_num(votes) > 0).any():
        msg = f"not one of the {len(votes):,} {part} galaxies has a vote; look at the catalog's vote columns"
        raise LabelError(msg)


def refuse_bad(
    labels: np.ndarray, bad: np.ndarray, ids: Sequence[str], columns: Sequence[str], expected: str
) -> None:
    """Raise a LabelError if any label is bad, naming the first.

    Args:
        labels: (galaxies, label columns).
        bad: Which of them are, the same shape.
        ids: The galaxies.
        columns: The label columns; may be empty.
        expected: What labels must be.
    """
    if not bad.any():
        return
    row, column = np.argwhere(bad)[0]
    name = columns[column] if columns else f"label {column}"
    msg = (
        f"{expected}: got {float(labels[row, column])!r} in column {name!r} of galaxy {ids[row]!r} "
        f"({int(bad.any(axis=1).sum())} galaxies have such a value)"
    )
    raise LabelError(msg)
