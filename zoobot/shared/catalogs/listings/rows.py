"""The galaxies of many archives as rows of one table, read a few at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Protocol, TypeAlias

import pandas as pd

from zoobot.shared.catalogs.image_folders import PassedOver
from zoobot.shared.catalogs.rows import RowChunk, Wanted

__all__ = ["Listed", "ListedRows", "OpenListed"]

logger = logging.getLogger(__name__)

_ROWS_AT_ONCE = 65_536


class Listed(Protocol):
    """The galaxies of one archive."""

    def __len__(self) -> int: ...

    def locations(self, rows: slice) -> list[str]:
        """Where some of the images lie."""

    def column_names(self) -> list[str]:
        """What is known of the galaxies besides their images."""

    def columns(self, names: Sequence[str], rows: slice) -> pd.DataFrame:
        """Some columns for some of the galaxies."""


#: Opens an archive, and counts what in it is no galaxy.
OpenListed: TypeAlias = Callable[[PassedOver], Listed]


class ListedRows:
    """The galaxies of archives, one archive after the other: ids, locations of the images, and labels.

    Args:
        archives: What opens each archive. None is kept open: memory holds one archive's names at a time.
        id_col: What the column of ids is called.
        file_col: What the column of locations is called.
        name: What all of them are called in messages.
    """

    def __init__(self, archives: Sequence[OpenListed], *, id_col: str, file_col: str, name: str) -> None:
        self._archives, self._own, self._name = archives, (id_col, file_col), name
        self._is_told = False

    @cached_property
    def names(self) -> Sequence[str]:
        """Ids, locations, and what else is known of the first archive's galaxies."""
        return self._all_names(self._archives[0](PassedOver(self._name)))

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The galaxies in order; archives of which none is wanted are counted, and not read further."""
        first = 0
        passed_over = PassedOver(self._name)
        for open_archive in self._archives:
            archive = open_archive(passed_over)
            for start in range(0, len(archive), _ROWS_AT_ONCE):
                stop = min(start + _ROWS_AT_ONCE, len(archive))
                if wanted(first + start, first + stop):
                    table = self._read_part(archive, columns, slice(start, stop))
                    yield RowChunk(first + start, [table[name] for name in columns])
            first += len(archive)
        self._tell(passed_over)

    def read_table(self) -> pd.DataFrame:
        """All galaxies and all that is known of them; empty where an archive lacks what others have."""
        parts = []
        passed_over = PassedOver(self._name)
        for open_archive in self._archives:
            archive = open_archive(passed_over)
            parts.append(self._read_part(archive, self._all_names(archive), slice(None)))
        self._tell(passed_over)
        return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)

    def _tell(self, passed_over: PassedOver) -> None:
        """Once, for the archives may be gone through several times."""
        if not self._is_told:
            passed_over.tell(logger)
        self._is_told = True

    def _all_names(self, archive: Listed) -> list[str]:
        return list(dict.fromkeys([*self._own, *archive.column_names()]))

    def _read_part(self, archive: Listed, names: Sequence[str], rows: slice) -> pd.DataFrame:
        file_col = self._own[1]
        table = archive.columns([name for name in dict.fromkeys(names) if name != file_col], rows)
        if file_col in names:
            table[file_col] = archive.locations(rows)
        return table
