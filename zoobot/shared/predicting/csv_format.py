"""Prediction tables as CSV: without metadata, for a comment line would be no CSV any more."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoobot.shared.catalogs.delimited import Delimited, open_text
from zoobot.shared.files.spreadsheets import guarded, unguarded_column
from zoobot.shared.predicting.table_layout import (
    TableLayout,
    refuse_half,
    refuse_other_tables,
    refuse_texts_with,
)

__all__ = ["Csv"]

_ROWS_OF_A_TABLE = 1_048_576


class Csv:
    """The `Format`."""

    def check_installed(self) -> None:
        """CSV needs nothing."""

    def create(self, path: Path, layout: TableLayout) -> _CsvFile:
        """A new file without rows."""
        refuse_half(layout)
        return _CsvFile(path, layout)

    def read_table(self, path: Path) -> pd.DataFrame:
        """The rows of a file."""
        return pd.concat(self.read_chunks(path, _ROWS_OF_A_TABLE), ignore_index=True)

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        """The rows of a file, so many at a time."""
        told = Delimited(path)
        if not told.is_plain:
            msg = "its first line must have the names of the columns: comment lines are for catalogs"
            raise ValueError(msg)
        refuse_other_tables(told.names)
        types: dict[str, Any] = dict.fromkeys(told.names, np.float32) | {"id_str": str, "sample": np.int32}
        file, _ = open_text(path)
        with (
            file,
            pd.read_csv(
                file,
                chunksize=rows,
                sep=told.delimiter,
                header=0,
                names=told.names,
                index_col=False,
                dtype={column: types[column] for column in told.names},
                # ids such as "NA" or "null" are text here; a number is missing where nothing stands
                keep_default_na=False,
                na_values={column: [""] for column in told.names if column not in ("id_str", "sample")},
            ) as chunks,
        ):
            for chunk in chunks:
                yield chunk.assign(id_str=unguarded_column(chunk["id_str"]))

    def read_metadata(self, path: Path) -> dict[str, Any]:
        """Nothing."""
        del path
        return {}


class _CsvFile:
    def __init__(self, path: Path, layout: TableLayout) -> None:
        # Python writes it without quotes, as no end of a line of ours
        refuse_texts_with("\r", layout.columns, "CSV")
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(map(guarded, layout.header))

    def append(self, ids: list[str], values: np.ndarray, samples: np.ndarray | None) -> None:
        refuse_texts_with("\r", ids, "CSV")
        texts = map(guarded, ids)
        # As text, a float32 has the fewest digits that lead back to the same float32.
        text = (_as_text(row) for row in values)
        if samples is None:
            self._writer.writerows([galaxy, *row] for galaxy, row in zip(texts, text, strict=True))
            return
        rows = zip(texts, samples.tolist(), text, strict=True)
        self._writer.writerows([galaxy, sample, *row] for galaxy, sample, row in rows)

    def close(self) -> None:
        self._file.close()


def _as_text(row: np.ndarray) -> list[str]:
    """Numbers as text, a missing one as nothing."""
    return ["" if number == "nan" else number for number in row.astype(str).tolist()]
