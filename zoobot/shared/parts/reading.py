"""Reads a folder of prediction parts: as one table, or a few rows at a time, in the order of the catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from zoobot.shared.errors import PredictionsError
from zoobot.shared.optional import import_optional
from zoobot.shared.parts.files import PartFolder, intact
from zoobot.shared.parts.manifest import Manifest, read_manifest
from zoobot.shared.predicting.formats import PARQUET

__all__ = ["Parts"]

_SHOWN = 20
_REASON_CHARACTERS = 100


class Parts:
    """A folder of parts that is read.

    Args:
        path: The folder.

    Raises:
        PredictionsError: If it is no such folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = PartFolder(path)
        self.manifest: Manifest = read_manifest(self.folder)
        self.done = self.folder.done()
        if self.done and self.done[-1] >= self.manifest.part_count:
            msg = (
                f"{self.folder.part(self.done[-1])} is none of the {self.manifest.part_count:,} parts that "
                f"{self.folder.manifest} speaks of: it was put there by hand; take it away"
            )
            raise PredictionsError(msg)

    @property
    def missing(self) -> list[int]:
        """The numbers of the parts that are not there yet."""
        return sorted(set(range(self.manifest.part_count)) - set(self.done))

    def require_all(self) -> None:
        """Raise a PredictionsError that names the missing parts, if there are any."""
        missing = self.missing
        if not missing:
            return
        listed = ", ".join(map(str, missing[:_SHOWN])) + (", …" if len(missing) > _SHOWN else "")
        msg = (
            f"{self.folder.path} lacks {len(missing):,} of {self.manifest.part_count:,} parts ({listed}): "
            "give the command that makes them again (`zoobot status` shows it), or take what there is by "
            "`zoobot merge --partial`"
        )
        raise PredictionsError(msg)

    def count_rows(self) -> int:
        """How many rows the parts that are there have."""
        parquet = import_optional("pyarrow.parquet", needed_for="reading parts")
        count = 0
        for number in self.done:
            with self._part(number) as path:
                count += int(parquet.read_metadata(path).num_rows)
        return count

    def read_chunks(self, rows: int) -> Iterator[pd.DataFrame]:
        """The rows of the parts that are there, so many at most at a time."""
        for number in self.done:
            with self._part(number) as path:
                yield from PARQUET.read_chunks(path, rows)

    def read_table(self) -> pd.DataFrame:
        """The rows of the parts that are there, as one table."""
        tables = []
        for number in self.done:
            with self._part(number) as path:
                tables.append(PARQUET.read_table(path))
        return pd.concat(tables, ignore_index=True)

    def read_metadata(self) -> dict[str, Any]:
        """What the parts say of their origin.

        Raises:
            PredictionsError: If there is no part.
        """
        with self._part(self._first()) as path:
            return PARQUET.read_metadata(path)

    def read_columns(self) -> list[str]:
        """The columns of the tables, `id_str` first."""
        return list(self._layout.names)

    def read_dtype(self) -> str:
        """The type that the tables keep numbers in."""
        return str(self._layout.types[-1].to_pandas_dtype().__name__)

    def _first(self) -> int:
        if not self.done:
            msg = f"{self.folder.path} has no parts yet"
            raise PredictionsError(msg)
        return self.done[0]

    @cached_property
    def _layout(self) -> Any:
        """The Arrow schema of the first part, which that of all others must equal."""
        parquet = import_optional("pyarrow.parquet", needed_for="reading parts")
        path = self.folder.part(self._first())
        with intact(path):
            return parquet.read_schema(path)

    @contextmanager
    def _part(self, number: int) -> Iterator[Path]:
        """The file of a part, once its columns are found to be those of the first, and its rows all there.

        Raises:
            PredictionsError: If it, or what is read of it meanwhile, is damaged.
        """
        parquet = import_optional("pyarrow.parquet", needed_for="reading parts")
        path, layout = self.folder.part(number), self._layout
        with intact(path):
            found = parquet.read_metadata(path)
            if not found.schema.to_arrow_schema().equals(layout):
                msg = f"its columns are not those of {self.folder.part(self.done[0]).name}"
                raise ValueError(msg)
            galaxies = self.manifest.count([number]) - self.folder.count_failures_of(number)
            if found.num_rows != galaxies * self.manifest.samples:
                msg = f"it has {found.num_rows:,} rows, not {self.manifest.samples:,} of each of "
                raise ValueError(msg + f"{galaxies:,} galaxies")
            yield path

    def count_failures(self) -> int:
        """How many galaxies of the parts that are there failed."""
        return self.folder.count_failures(self.done)

    def read_failures(self) -> Iterator[pd.DataFrame]:
        """Their failures, a part at a time."""
        return self.folder.read_failures()

    def frequent_reasons(self, most: int) -> list[tuple[str, int]]:
        """The most frequent reasons of failures, and how often; those that differ in figures count as one."""
        counts: Counter[str] = Counter()
        for failures in self.read_failures():
            counts.update(
                failures["reason"].str.replace(r"\d+", "N", regex=True).str.slice(0, _REASON_CHARACTERS)
            )
        return counts.most_common(most)
