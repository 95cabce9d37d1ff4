"""What a guided prediction run made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zoobot.shared import tasks
from zoobot.shared.predictions import failure_table

if TYPE_CHECKING:
    import pandas as pd

    from zoobot.shared.parts.reading import Parts

__all__ = ["PredictResult", "result_of_parts"]


@dataclass(frozen=True, kw_only=True)
class PredictResult:
    """What a prediction run made.

    Args:
        save_loc: The table.
        galaxies: How many galaxies have a prediction.
        columns: The predicted columns.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`; of a folder of parts
            only the first part that has any.
        failed: How many could not be read.
        missing_parts: How many parts of a folder are still to be predicted, by other shards.
        tables: The summary and the full table, where they were asked for.
    """

    save_loc: Path
    galaxies: int
    columns: list[str]
    failures: pd.DataFrame
    failed: int
    missing_parts: int = 0
    tables: list[Path] = field(default_factory=list)


def result_of_parts(parts: Parts, tables: Iterable[Path]) -> PredictResult:
    """What stands in a folder of parts, with the further tables that were made of it."""
    failed = parts.count_failures()
    return PredictResult(
        save_loc=parts.folder.path,
        galaxies=parts.manifest.count(parts.done) - failed,
        columns=tasks.from_config(parts.manifest.task).output_columns,
        failures=next(parts.read_failures(), failure_table(())),
        failed=failed,
        missing_parts=len(parts.missing),
        tables=list(tables),
    )
