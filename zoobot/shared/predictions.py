"""What a prediction run leaves behind, and how its table is read again."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from zoobot.shared.errors import CatalogError, PredictionsError, ZoobotError
from zoobot.shared.loader import Failure
from zoobot.shared.parts.reading import Parts
from zoobot.shared.predicting.formats import find_format

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zoobot.shared.predicting.table_layout import Format

__all__ = [
    "Predictions",
    "failure_table",
    "intact_table",
    "read_prediction_chunks",
    "read_prediction_metadata",
    "read_predictions",
]

_ROWS_IN_MEMORY = 65_536


class Predictions:
    """What a prediction run leaves behind.

    Args:
        table: One row for each galaxy: `id_str`, with samples also `sample`, and the predicted columns. None
            where it was streamed to `save_loc`; then it is read when first looked at.
        failures: The galaxies without a prediction: `id_str`, `file_loc`, `reason`. None where there are
            none, or where `save_loc` is a folder of parts, which has its own.
        save_loc: Where the table was written, or the folder of its parts; None if it was not.

    Raises:
        PredictionsError: If there is neither a table nor a file.
    """

    def __init__(
        self,
        table: pd.DataFrame | None = None,
        failures: pd.DataFrame | None = None,
        save_loc: str | Path | None = None,
    ) -> None:
        if table is None and save_loc is None:
            msg = "predictions need a table, or the save_loc that they were written to"
            raise PredictionsError(msg)
        self.save_loc = None if save_loc is None else Path(save_loc)
        self._table = table
        self._failures = failures

    @property
    def table(self) -> pd.DataFrame:
        """The predictions; read from `save_loc`, and then kept, where they were streamed."""
        if self._table is None:
            self._table = read_predictions(str(self.save_loc))
        return self._table

    @property
    def failures(self) -> pd.DataFrame:
        """The galaxies without a prediction; of a folder of parts read, and then kept, when looked at."""
        if self._failures is None and self.save_loc is not None and self.save_loc.is_dir():
            self._failures = pd.concat([failure_table(()), *Parts(self.save_loc).read_failures()])
        if self._failures is None:
            self._failures = failure_table(())
        return self._failures

    def __repr__(self) -> str:
        if self._failures is None and self.save_loc is not None and self.save_loc.is_dir():
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
    if Path(path).expanduser().is_dir():
        parts = _whole(path)
        with intact_table(parts.folder.path):
            return parts.read_table()
    table: pd.DataFrame = _read(path, "table")
    return table


def read_prediction_chunks(path: str | Path, *, rows: int = _ROWS_IN_MEMORY) -> Iterator[pd.DataFrame]:
    """The rows of a table that a `PredictionWriter` wrote, so many at a time, at constant memory.

    Args:
        path: A .parquet, .csv, .hdf5, .h5 or .fits file, or a folder of parts that is complete.
        rows: Most rows at a time.

    Yields:
        Tables as `read_predictions` gives them.

    Raises:
        PredictionsError: If the file is absent or is no such table.
        MissingPackageError: If the package that reads this format is not installed.
    """
    if Path(path).expanduser().is_dir():
        parts = _whole(path)
        with intact_table(parts.folder.path):
            yield from parts.read_chunks(rows)
        return
    path, form = _readable(path)
    with intact_table(path):
        yield from form.read_chunks(path, rows)


def read_prediction_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata that a table was written with; empty for CSV, which can't hold any.

    Args:
        path: A .parquet, .csv, .hdf5, .h5 or .fits file, or a folder of parts that is complete.

    Raises:
        PredictionsError: If the file is absent or is no such table.
        MissingPackageError: If the package that reads this format is not installed.
    """
    if Path(path).expanduser().is_dir():
        return Parts(path).read_metadata()
    metadata: dict[str, Any] = _read(path, "metadata")
    return metadata


def _whole(path: str | Path) -> Parts:
    """A folder of parts, all of which are there."""
    parts = Parts(path)
    parts.require_all()
    return parts


def _read(path: str | Path, what: str) -> Any:
    path, form = _readable(path)
    with intact_table(path):
        return form.read_table(path) if what == "table" else form.read_metadata(path)


def _readable(path: str | Path) -> tuple[Path, Format]:
    path = Path(path).expanduser()
    form = find_format(path)
    form.check_installed()
    if not path.is_file():
        msg = f"no prediction table at {str(path)!r}"
        raise PredictionsError(msg)
    return path, form


@contextmanager
def intact_table(path: Path) -> Iterator[None]:
    """Say what a file is not, where reading it fails."""
    try:
        yield
    except CatalogError as error:  # of the readers of catalogs, which read these too
        msg = f"{str(path)!r} is no prediction table of ours: {error}"
        raise PredictionsError(msg) from error
    except ZoobotError:
        raise
    except Exception as error:  # csv, Arrow, HDF5 and astropy each have their own for damaged files
        msg = f"{str(path)!r} is no prediction table of ours: {type(error).__name__}: {error}"
        raise PredictionsError(msg) from error
