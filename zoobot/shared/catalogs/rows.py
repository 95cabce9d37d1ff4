"""What rows of a table are: those of a few at a time, whatever holds them, with only the columns needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import pandas as pd

from zoobot.shared import defaults
from zoobot.shared.files.table_checks import LEFT_OUT, decoded_frame

#: Whether any of the rows from one number up to another are needed.
Wanted = Callable[[int, int], bool]


class RowChunk(NamedTuple):
    """Some rows of a table that follow each other.

    Args:
        first: The number of the first one, counted from 0.
        columns: The columns that were asked for, in that order.
    """

    first: int
    columns: list[pd.Series]


class Rows(Protocol):
    """A table that is read a few rows at a time."""

    @property
    def names(self) -> Sequence[str]:
        """Its columns."""

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The rows in order, those left out that are not wanted, where the format lets them be skipped."""


class TableRows:
    """A table that is in memory; bytes in it become text.

    Args:
        table: The table.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = decoded_frame(table)
        self.names: Sequence[str] = list(table.columns)
        self.left_out: dict[str, str] = dict(table.attrs.get(LEFT_OUT, {}))

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The rows that are wanted."""
        for start in range(0, len(self.table), defaults.ROWS_AT_ONCE):
            if wanted(start, min(start + defaults.ROWS_AT_ONCE, len(self.table))):
                part = self.table.iloc[start : start + defaults.ROWS_AT_ONCE]
                yield RowChunk(start, [part[column] for column in columns])


def as_vectors(names: Iterable[str]) -> dict[str, str]:
    """Columns that are left out, and why: no number, text or truth stands in each of their rows."""
    return dict.fromkeys(names, "it holds a vector or a record in each row")
