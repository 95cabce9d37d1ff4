"""What a prediction run leaves behind, and how its table is read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pyarrow import parquet

from zoobot.shared.errors import CatalogError, PredictionsError, ZoobotError
from zoobot.shared.loader import Failure
from zoobot.shared.tables.formats import find_format
from zoobot.shared.tables.layout import ID_COLUMN, PARQUET, SAMPLE_COLUMN, Column, columns_of, spelled_in
from zoobot.shared.tables.manifest import Manifest, read_manifest
from zoobot.shared.tables.part_folder import PartFolder, intact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoobot.shared.votes import FloatArray


# Prediction tables with several samples of each galaxy, as arrays, a part at a time.

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
        columns = spelled_in(chunk, columns)
        missing = [name for name in columns if name not in chunk]
        if missing:
            raise PredictionsError(f"{predictions} is no table of these predictions: it lacks {missing[:5]}")
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


# Reads a folder of prediction parts: as one table, or a few rows at a time, in the order of the catalog.

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
            raise PredictionsError(
                f"{self.folder.part(self.done[-1])} is none of the {self.manifest.part_count:,} parts that "
                f"{self.folder.manifest} speaks of: it was put there by hand; take it away"
            )

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
        raise PredictionsError(
            f"{self.folder.path} lacks {len(missing):,} of {self.manifest.part_count:,} parts ({listed}): "
            "give the command that makes them again (`zoobot status` shows it), or take what there is by "
            "`zoobot merge --partial`"
        )

    def count_rows(self) -> int:
        """How many rows the parts that are there have."""
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

    def read_columns(self) -> list[Column]:
        """The columns of the tables, `id_str` first, and what is said of them."""
        return columns_of(self._layout)

    def _first(self) -> int:
        if not self.done:
            raise PredictionsError(f"{self.folder.path} has no parts yet")
        return self.done[0]

    @cached_property
    def _layout(self) -> Any:
        """The Arrow schema of the first part, which that of all others must equal."""
        path = self.folder.part(self._first())
        with intact(path):
            return parquet.read_schema(path)

    @contextmanager
    def _part(self, number: int) -> Iterator[Path]:
        """The file of a part, once its columns are found to be those of the first, and its rows all there.

        Raises:
            PredictionsError: If it, or what is read of it meanwhile, is damaged.
        """
        path, layout = self.folder.part(number), self._layout
        with intact(path):
            found = parquet.read_metadata(path)
            if not found.schema.to_arrow_schema().equals(layout):
                raise ValueError(f"its columns are not those of {self.folder.part(self.done[0]).name}")
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


_ROWS_IN_MEMORY = 65_536


class Results:
    """What a run over a catalog leaves beside its numbers.

    Args:
        failures: The galaxies that failed: `id_str`, `file_loc`, `reason`. None where there are none, or
            where `save_loc` is a folder of parts, which has its own.
        save_loc: Where the numbers were written, or the folder of their parts; None if they were not.
    """

    def __init__(self, failures: pd.DataFrame | None, save_loc: str | Path | None) -> None:
        self.save_loc = None if save_loc is None else Path(save_loc)
        self._failures = failures

    @property
    def failures(self) -> pd.DataFrame:
        """The galaxies that failed; of a folder of parts read, and then kept, when looked at."""
        if self._failures is None:
            found = Parts(str(self.save_loc)).read_failures() if self._in_parts else ()
            self._failures = pd.concat([failure_table(()), *found], ignore_index=True)
        return self._failures

    @property
    def _in_parts(self) -> bool:
        return self.save_loc is not None and self.save_loc.is_dir()


class Predictions(Results):
    """What a prediction run leaves behind.

    Args:
        table: One row for each galaxy: `id_str`, with samples also `sample`, and the predicted columns. None
            where it was streamed to `save_loc`; then it is read when first looked at.
        failures: The galaxies without a prediction, as for `Results`.
        save_loc: Where the table was written, or the folder of its parts; None if it was not.
        columns: The columns of the table but the ids and the numbers of samples; None reads them from it.

    Raises:
        PredictionsError: If there is neither a table nor a file.
    """

    def __init__(
        self,
        table: pd.DataFrame | None = None,
        failures: pd.DataFrame | None = None,
        save_loc: str | Path | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        if table is None and save_loc is None:
            raise PredictionsError("predictions need a table, or the save_loc that they were written to")
        super().__init__(failures, save_loc)
        self._table, self._columns = table, columns

    @property
    def table(self) -> pd.DataFrame:
        """The predictions; read from `save_loc`, and then kept, where they were streamed."""
        if self._table is None:
            self._table = read_predictions(str(self.save_loc))
        return self._table

    @property
    def columns(self) -> list[str]:
        """The columns of the table but the ids and the numbers of samples."""
        names = self._columns if self._columns is not None else list(self.table)
        return [name for name in names if name not in (ID_COLUMN, SAMPLE_COLUMN)]

    def to_pandas(self) -> pd.DataFrame:
        """The same as `table`."""
        return self.table

    def __len__(self) -> int:
        """How many rows the table has."""
        return len(self.table)

    def __getitem__(self, column: str) -> pd.Series:
        """A column of the table."""
        return self.table[column]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows of the table, each by the names of the columns."""
        names = list(map(str, self.table.columns))
        return (dict(zip(names, row, strict=True)) for row in self.table.itertuples(index=False, name=None))

    def __repr__(self) -> str:
        if self._failures is None and self._in_parts:
            return f"Predictions(in the folder {str(self.save_loc)!r})"
        where = (
            f"{len(self.table):,} rows in memory" if self.save_loc is None else f"in {str(self.save_loc)!r}"
        )
        return f"Predictions({where}, {len(self.failures):,} failures)"


def failure_table(failures: Sequence[Failure]) -> pd.DataFrame:
    """Failures as a table: `id_str`, `file_loc`, `reason`."""
    return pd.DataFrame(list(failures), columns=list(Failure._fields))


def read_predictions(path: str | Path) -> pd.DataFrame:
    """The table that a `PredictionWriter` wrote.

    Args:
        path: A .parquet, .csv, .hdf5, .h5 or .fits file, or a folder of parts that is complete.

    Returns:
        `id_str` (text), `sample` (int32) where there are samples, and the predicted columns (float32), in
        the order they were written.

    Raises:
        PredictionsError: If the file is absent or is no such table.
        MissingPackageError: If the package that reads this format is not installed.
    """
    with _opened(path) as source:
        return source.read_table()


def read_prediction_chunks(path: str | Path, *, rows: int = _ROWS_IN_MEMORY) -> Iterator[pd.DataFrame]:
    """The rows of a table that a `PredictionWriter` wrote, so many at most at a time, at constant memory.

    Args:
        path: As for `read_predictions`.
        rows: Most rows at a time.

    Yields:
        Tables as `read_predictions` gives them, which raises the same.
    """
    with _opened(path) as source:
        yield from source.read_chunks(rows)


def read_prediction_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata that a table was written with; empty for CSV, which can't hold any.

    Args:
        path: As for `read_predictions`, but that parts may be missing.

    Raises:
        PredictionsError: If the file is absent or is no such table.
        MissingPackageError: If the package that reads this format is not installed.
    """
    with _opened(path, whole=False) as source:
        return source.read_metadata()


class _Table:
    """A table in one file that is read, by the names of `Parts`."""

    def __init__(self, path: Path) -> None:
        self._path, self._format = path, find_format(path)
        self._format.check_installed()
        if not path.is_file():
            raise PredictionsError(f"no prediction table at {str(path)!r}")

    def require_all(self) -> None:
        """A file is whole."""

    def read_table(self) -> pd.DataFrame:
        return self._format.read_table(self._path)

    def read_chunks(self, rows: int) -> Iterator[pd.DataFrame]:
        return self._format.read_chunks(self._path, rows)

    def read_metadata(self) -> dict[str, Any]:
        return self._format.read_metadata(self._path)


@contextmanager
def _opened(path: str | Path, *, whole: bool = True) -> Iterator[Parts | _Table]:
    """A folder of parts or a table that is read; what damage is met meanwhile is said.

    Raises:
        PredictionsError: If it is absent or none, or, of a whole folder, lacks parts.
    """
    place = Path(path).expanduser()
    source = Parts(place) if place.is_dir() else _Table(place)
    if whole:
        source.require_all()
    with intact_table(place.absolute() if place.is_dir() else place):
        yield source


@contextmanager
def intact_table(path: Path) -> Iterator[None]:
    """Say what a file is not, where reading it fails."""
    try:
        yield
    except CatalogError as error:  # of the readers of catalogs, which read these too
        raise PredictionsError(f"{str(path)!r} is no prediction table of ours: {error}") from error
    except ZoobotError:
        raise
    except Exception as error:  # csv, Arrow, HDF5 and astropy each have their own for damaged files
        msg = f"{str(path)!r} is no prediction table of ours: {type(error).__name__}: {error}"
        raise PredictionsError(msg) from error
