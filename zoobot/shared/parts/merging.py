"""One table from a folder of prediction parts, in the order of the catalog, at constant memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoobot.shared.files.spreadsheets import write_csv
from zoobot.shared.files.whole import whole_file
from zoobot.shared.parts.files import writing
from zoobot.shared.parts.reading import Parts
from zoobot.shared.predicting.writer import PredictionWriter, check_save_loc

__all__ = ["Merged", "merge_parts"]

_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What was merged.

    Args:
        save_loc: The table.
        rows: Its rows.
        failures: The table of failures beside it; None without any.
        failed: How many galaxies failed.
        missing_parts: How many parts were not there.
    """

    save_loc: Path
    rows: int
    failures: Path | None
    failed: int
    missing_parts: int


def merge_parts(folder: str | Path, save_loc: str | Path, *, partial: bool = False) -> Merged:
    """Write the predictions of a folder of parts as one table, and beside it its failures as CSV.

    Args:
        folder: The folder.
        save_loc: The table: .parquet, .csv, .hdf5, .h5 or .fits.
        partial: Whether parts may be missing.

    Raises:
        PredictionsError: If the folder is none, lacks parts, or the table can't be written.

    Example:
        >>> merge_parts("results/desi", "results/desi.fits")  # doctest: +SKIP
    """
    path = check_save_loc(save_loc)
    parts = Parts(folder)
    if not partial:
        parts.require_all()
    metadata, names = parts.read_metadata(), parts.read_columns()
    samples = "sample" in names
    columns = [name for name in names if name not in ("id_str", "sample")]
    rows = 0
    half = path.suffix.lower() == ".parquet" and parts.read_dtype() == "float16"
    dtype = "float16" if half else "float32"
    with PredictionWriter(path, columns, samples=samples, metadata=metadata, dtype=dtype) as writer:
        for chunk in parts.read_chunks(_ROWS_AT_ONCE):
            values = chunk[columns].to_numpy(dtype=np.float32)
            writer.write(chunk["id_str"].tolist(), values, chunk["sample"].to_numpy() if samples else None)
            rows += len(chunk)
    failures, failed = _merge_failures(parts, path.with_suffix(".failures.csv"))
    return Merged(
        save_loc=path, rows=rows, failures=failures, failed=failed, missing_parts=len(parts.missing)
    )


def _merge_failures(parts: Parts, path: Path) -> tuple[Path | None, int]:
    failed = 0
    with writing(path):
        if not parts.count_failures():
            path.unlink(missing_ok=True)
            return None, 0
        with whole_file(path) as partial:
            for table in parts.read_failures():
                write_csv(table, partial, mode="a", header=not failed)
                failed += len(table)
    return path, failed
