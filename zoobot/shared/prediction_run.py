"""Predict over a catalog of any size with any engine: read, predict, write, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from zoobot import __version__
from zoobot.shared.catalog import read_catalog
from zoobot.shared.errors import ConfigError, ImageError, NonFiniteError
from zoobot.shared.galaxy_data import CatalogSource
from zoobot.shared.loader import Batch, GalaxyLoader
from zoobot.shared.predictions import Predictions, PredictionWriter, check_save_loc
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import Task

__all__ = ["check_request", "predict_catalog", "run_prediction"]

PredictBatch = Callable[[np.ndarray], np.ndarray]


class _Chunk(NamedTuple):
    ids: list[str]
    values: np.ndarray


def check_request(save_loc: str | Path | None, n_samples: int) -> None:
    """Raise before any work if the table could not be written, or n_samples is not positive."""
    if n_samples < 1:
        msg = f"n_samples must be at least 1, got {n_samples!r}"
        raise ConfigError(msg)
    if save_loc is not None:
        check_save_loc(save_loc)


class _Predicting(Protocol):
    task: Task
    preprocessing: Preprocessing


def predict_catalog(
    catalog: CatalogSource,
    model: _Predicting,
    predict_batch: PredictBatch,
    *,
    save_loc: str | Path | None,
    n_samples: int,
    root: str | Path | None,
    id_col: str,
    file_col: str,
    batch_size: int,
    num_workers: int,
    progress: bool,
) -> Predictions:
    """The predictions of any engine's model for every readable galaxy of a catalog, in its order.

    Args:
        catalog: A table of ids and image files.
        model: Tells what is predicted, and how images are read.
        predict_batch: From images, (batch, height, width, channels), to (samples, batch, outputs).
        save_loc: Where the table goes (.parquet, .csv, .hdf5); None keeps it in memory.
        n_samples: How many samples `predict_batch` gives.
        root: Folder that `file_loc` is relative to; None is the catalog's own folder.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths.
        batch_size: Galaxies predicted at once.
        num_workers: Threads that read images.
        progress: Whether a progress bar is drawn.

    Raises:
        CatalogError: If the catalog can't be used.
        ImageError: If not one image could be read.
        NonFiniteError: If a prediction is NaN or infinite.
    """
    galaxies = read_catalog(catalog, root=root, id_col=id_col, file_col=file_col)
    loader = GalaxyLoader(
        galaxies, model.preprocessing, batch_size=batch_size, num_workers=num_workers, max_failed_fraction=1.0
    )
    return run_prediction(
        loader, predict_batch, model.task, save_loc=save_loc, n_samples=n_samples, progress=progress
    )


def run_prediction(
    loader: GalaxyLoader,
    predict_batch: PredictBatch,
    task: Task,
    *,
    save_loc: str | Path | None = None,
    n_samples: int = 1,
    progress: bool = True,
) -> Predictions:
    """The predictions for every readable galaxy of a loader, in catalog order.

    With `save_loc`, each batch is written and forgotten, so memory does not grow with the catalog.

    Args:
        loader: The galaxies, in order and without augmentation.
        predict_batch: From images, (batch, height, width, channels), to (samples, batch, outputs).
        task: Names the columns.
        save_loc: Where the table goes (.parquet, .csv, .hdf5); None keeps it in memory.
        n_samples: How many samples `predict_batch` gives; more than one adds a `sample` column.
        progress: Whether a progress bar is drawn.

    Raises:
        ImageError: If not one image could be read.
        NonFiniteError: If a prediction is NaN or infinite; the message names the galaxies.
    """
    chunks = _predict_chunks(loader, predict_batch, progress=progress)
    if save_loc is None:
        table = _in_memory(list(chunks), task.output_columns, n_samples)
        predictions = Predictions(table=table, failures=_failures(loader), save_loc=None)
    else:
        metadata = _origin(loader, task, n_samples)
        with PredictionWriter(
            save_loc, task.output_columns, samples=n_samples > 1, metadata=metadata
        ) as writer:
            for chunk in chunks:
                _write(writer, chunk, n_samples)
            _refuse_nothing(loader)
        predictions = Predictions(failures=_failures(loader), save_loc=Path(save_loc))
    _refuse_nothing(loader)
    return predictions


def _origin(loader: GalaxyLoader, task: Task, n_samples: int) -> dict[str, Any]:
    """What a prediction file says of where its numbers come from."""
    return {
        "zoobot": __version__,
        "task": task.to_config(),
        "preprocessing": loader.preprocessing.to_config(),
        "catalog": loader.catalog.name,
        "n_samples": n_samples,
    }


def _predict_chunks(loader: GalaxyLoader, predict_batch: PredictBatch, *, progress: bool) -> Iterator[_Chunk]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not progress) as bar:
        work = bar.add_task("Predicting galaxies", total=len(loader.catalog))
        batch: Batch
        for batch in loader:
            values = np.asarray(predict_batch(batch.images), dtype=np.float32)
            _refuse_non_finite(values, batch.ids)
            yield _Chunk(batch.ids, values)
            bar.advance(work, len(batch.ids))


def _refuse_non_finite(values: np.ndarray, ids: list[str]) -> None:
    bad = ~np.isfinite(values).all(axis=(0, 2))
    if bad.any():
        named = [ids[i] for i in np.flatnonzero(bad)[:10]]
        msg = f"the model's predictions are not finite for {int(bad.sum())} galaxies of a batch: {named}"
        raise NonFiniteError(msg)


def _refuse_nothing(loader: GalaxyLoader) -> None:
    if len(loader.failures) == len(loader.catalog):
        first = loader.failures[0]
        reason = f"{first.file_loc}: {first.reason}"
        msg = f"not one of {len(loader.catalog)} images could be read; the first: {reason}"
        raise ImageError(msg)


def _write(writer: PredictionWriter, chunk: _Chunk, n_samples: int) -> None:
    for sample, values in enumerate(chunk.values):
        writer.write(chunk.ids, values, sample=sample if n_samples > 1 else None)


def _in_memory(chunks: list[_Chunk], columns: list[str], n_samples: int) -> pd.DataFrame:
    parts = []
    for chunk in chunks:
        for sample, values in enumerate(chunk.values):
            part = pd.DataFrame(values, columns=columns)
            if n_samples > 1:
                part.insert(0, "sample", sample)
            part.insert(0, "id_str", chunk.ids)
            parts.append(part)
    if not parts:
        return pd.DataFrame(columns=["id_str", *columns])
    return pd.concat(parts, ignore_index=True)


def _failures(loader: GalaxyLoader) -> pd.DataFrame:
    return pd.DataFrame(loader.failures, columns=["id_str", "file_loc", "reason"])
