"""Reads a folder of prediction parts: as one table, or a few rows at a time, in the order of the catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from zoobot.shared.errors import PredictionsError
from zoobot.shared.optional import import_optional
from zoobot.shared.parts.files import PartFolder
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

    def read_chunks(self, rows: int) -> Iterator[pd.DataFrame]:
        """The rows of the parts that are there, so many at most at a time."""
        for number in self.done:
            yield from PARQUET.read_chunks(self.folder.part(number), rows)

    def read_table(self) -> pd.DataFrame:
        """The rows of the parts that are there, as one table."""
        parts = [PARQUET.read_table(self.folder.part(number)) for number in self.done]
        return pd.concat(parts, ignore_index=True)

    def read_metadata(self) -> dict[str, Any]:
        """What the parts say of their origin.

        Raises:
            PredictionsError: If there is no part.
        """
        if not self.done:
            msg = f"{self.folder.path} has no parts yet"
            raise PredictionsError(msg)
        return PARQUET.read_metadata(self.folder.part(self.done[0]))

    def read_columns(self) -> list[str]:
        """The columns of the tables, `id_str` first."""
        parquet = import_optional("pyarrow.parquet", needed_for="reading parts")
        return list(parquet.read_schema(self.folder.part(self.done[0])).names)

    def read_dtype(self) -> str:
        """The type that the tables keep numbers in."""
        parquet = import_optional("pyarrow.parquet", needed_for="reading parts")
        schema = parquet.read_schema(self.folder.part(self.done[0]))
        return str(schema.types[-1].to_pandas_dtype().__name__)

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
