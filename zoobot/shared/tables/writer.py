"""Prediction tables written batch by batch at constant memory, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from zoobot.shared.errors import NonFiniteError, PredictionsError
from zoobot.shared.files.whole import draft_name, publish, saying_why
from zoobot.shared.tables.formats import find_format
from zoobot.shared.tables.layout import Column, TableFile, TableLayout
from zoobot.shared.tables.part_folder import make_writable_folder

_ROWS_IN_MEMORY = 65_536
_VALUES_IN_MEMORY = 1_048_576
_SHOWN = 10


def check_save_loc(save_loc: str | Path) -> Path:
    """The absolute path of a table that can be written, its folder made if need be; call it before work.

    Args:
        save_loc: A file that ends in .parquet, .csv, .hdf5 or .h5, in any letter case.

    Raises:
        PredictionsError: If the suffix is another, the file is a folder, or its folder can't be made or
            written to.
        MissingPackageError: If the package that writes this format is not installed.

    Example:
        >>> check_save_loc("results/rings.parquet").name
        'rings.parquet'
    """
    path = Path(save_loc).expanduser().absolute()
    find_format(path).check_installed()
    if path.is_dir():
        raise PredictionsError(f"save_loc must be a file, but {str(path)!r} is a folder")
    make_writable_folder(path.parent)
    return path


class PredictionWriter:
    """Writes a prediction table batch by batch, as a context manager.

    The table appears under its name when the `with` block ends well. If it ends in an exception nothing is
    left, and an older table of that name stays as it was.

    Args:
        save_loc: Where the table goes; its suffix (.parquet, .csv, .hdf5, .h5) is its format.
        columns: Names of the predicted numbers, in order.
        samples: Whether rows carry a `sample` number, for several predictions of one galaxy.
        metadata: JSON-ready facts on the origin of the table (model, versions), stored inside Parquet and
            HDF5.
        missing: Whether a number may be missing (NaN; nothing in CSV).
        dtype: What numbers are kept as: "float32", or, in Parquet, "float16".
        further: Columns of other types, which follow the predicted numbers.
        meanings: What is said of the predicted numbers, by name, where the format can.

    Raises:
        PredictionsError: If the table can't be written there, or the columns can't be told apart.

    Example:
        >>> with PredictionWriter("rings.csv", ["ring_probability"]) as writer:
        ...     writer.write(["007"], np.array([[0.25]]))
        >>> print(Path("rings.csv").read_text(), end="")
        id_str,ring_probability
        007,0.25
    """

    def __init__(
        self,
        save_loc: str | Path,
        columns: Sequence[str],
        *,
        samples: bool = False,
        metadata: dict[str, Any] | None = None,
        missing: bool = False,
        dtype: str = "float32",
        further: Sequence[Column] = (),
        meanings: Mapping[str, Column] | None = None,
    ) -> None:
        self.missing = missing
        self.dtype = np.dtype(dtype)
        self.save_loc = check_save_loc(save_loc)
        self.columns = list(columns)
        self.samples = samples
        self.metadata = dict(metadata or {})
        self.further, self.meanings = list(further), dict(meanings or {})
        _check_columns(self.columns, [column.name for column in self.further])
        _check_metadata(self.metadata)
        self._most_rows = min(_ROWS_IN_MEMORY, max(1, _VALUES_IN_MEMORY // len(self.columns)))
        self._draft = draft_name(self.save_loc)
        self._file: TableFile | None = None
        self._waiting: list[tuple[list[str], np.ndarray, np.ndarray | None, list[np.ndarray]]] = []
        self._rows_waiting = 0

    def __enter__(self) -> PredictionWriter:
        create = find_format(self.save_loc).create
        layout = TableLayout(
            columns=self.columns,
            samples=self.samples,
            metadata=self.metadata,
            dtype=self.dtype.name,
            further=self.further,
            meanings=self.meanings,
        )
        try:
            with saying_why(self.save_loc):
                self._file = create(self._draft, layout)
        except BaseException:
            self._draft.unlink(missing_ok=True)
            raise
        return self

    def write(
        self,
        ids: Sequence[str],
        values: np.ndarray,
        sample: int | np.ndarray | None = None,
        further: Sequence[np.ndarray] = (),
    ) -> None:
        """Append one row for each galaxy of a batch.

        Args:
            ids: The galaxies.
            values: (batch, outputs), finite (or NaN with `missing=True`).
            sample: The number of the sample, one for all or (batch,); needed if, and only if, the writer was
                made with `samples=True`.
            further: The further columns, each (batch,).

        Raises:
            NonFiniteError: If a value is NaN, infinite, or too large for the type; the message names the
                galaxies.
            PredictionsError: If the shapes do not fit, or the writer is not open.
        """
        if self._file is None:
            msg = "the writer is not open: use it as `with PredictionWriter(...) as writer:`"
            raise PredictionsError(msg)
        with np.errstate(over="ignore"):
            numbers = np.array(values, dtype=self.dtype)  # a copy: the caller may reuse its memory
        if numbers.shape != (len(ids), len(self.columns)):
            raise PredictionsError(
                f"values must have the shape (galaxies, columns) = {(len(ids), len(self.columns))}, got "
                f"{numbers.shape}"
            )
        _refuse_non_finite(np.nan_to_num(numbers, nan=0.0) if self.missing else numbers, ids, self.columns)
        others = self._check_further(further, len(ids))
        names = [str(galaxy) for galaxy in ids]
        self._waiting.append((names, numbers, self._check_sample(sample, len(ids)), others))
        self._rows_waiting += len(ids)
        if self._rows_waiting >= self._most_rows:
            self._flush(self._file)

    def write_samples(
        self, ids: Sequence[str], values: np.ndarray, further: Sequence[np.ndarray] = ()
    ) -> int:
        """Append the rows of a batch that was predicted once or several times, and return how many galaxies.

        Args:
            ids: The galaxies.
            values: (samples, batch, outputs).
            further: The further columns, each (batch,), the same for all samples.
        """
        for sample, numbers in enumerate(values):
            self.write(ids, numbers, sample=sample if self.samples else None, further=further)
        return len(ids)

    def _check_further(self, further: Sequence[np.ndarray], galaxies: int) -> list[np.ndarray]:
        shapes = [np.shape(values) for values in further]
        if shapes != [(galaxies,)] * len(self.further):
            wanted = f"{len(self.further)} further columns of {galaxies} values each"
            raise PredictionsError(f"the writer needs {wanted}, got the shapes {shapes}")
        return [
            np.array(values, dtype=object if column.dtype == "str" else column.dtype)
            for values, column in zip(further, self.further, strict=True)
        ]

    def _check_sample(self, sample: int | np.ndarray | None, galaxies: int) -> np.ndarray | None:
        if (sample is not None) != self.samples:
            wanted = "needs a sample number" if self.samples else "was made without samples=True"
            raise PredictionsError(f"the writer {wanted}, got sample={sample!r}")
        if sample is None:
            return None
        numbers = np.asarray(sample)
        if numbers.dtype.kind not in "iu" or numbers.shape not in ((), (galaxies,)):
            msg = f"sample must be a whole number, or one for each of {galaxies} galaxies, got {sample!r}"
            raise PredictionsError(msg)
        return np.broadcast_to(numbers, (galaxies,)).astype(np.int32)

    def _flush(self, file: TableFile) -> None:
        if not self._waiting:
            return
        ids = [galaxy for batch, *_ in self._waiting for galaxy in batch]
        values = np.concatenate([numbers for _, numbers, _, _ in self._waiting])
        numbers = [sample for _, _, sample, _ in self._waiting if sample is not None]
        samples = np.concatenate(numbers) if self.samples else None
        further = [np.concatenate(parts) for parts in zip(*(f for *_, f in self._waiting), strict=True)]
        self._waiting.clear()
        self._rows_waiting = 0
        with saying_why(self.save_loc):
            file.append(ids, values, samples, further)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            with saying_why(self.save_loc):
                try:
                    if kind is None:
                        self._flush(file)
                finally:
                    file.close()
                if kind is None:
                    publish(self._draft, self.save_loc)
        finally:
            self._waiting.clear()
            self._draft.unlink(missing_ok=True)


def _check_columns(columns: Sequence[str], further: Sequence[str]) -> None:
    taken, names = {"id_str", "sample"}, [*columns, *further]
    if not columns or len(set(names)) < len(names) or taken & set(names) or "" in names:
        msg = f"predicted columns must be different names other than {sorted(taken)}, got {names}"
        raise PredictionsError(msg)


def _check_metadata(metadata: dict[str, Any]) -> None:
    try:
        json.dumps(metadata)
    except (TypeError, ValueError) as error:
        msg = f"metadata must be JSON-ready (text, numbers, lists, dicts): {error}"
        raise PredictionsError(msg) from error


def _refuse_non_finite(values: np.ndarray, ids: Sequence[str], columns: Sequence[str]) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        rows = np.flatnonzero(bad.any(axis=1))
        row, column = np.argwhere(bad)[0]
        raise NonFiniteError(
            f"predictions must be finite, but {len(rows):,} galaxies of this batch have others (first "
            f"{columns[column]!r} = {float(values[row, column])!r}): {[str(ids[i]) for i in rows[:_SHOWN]]}"
        )
