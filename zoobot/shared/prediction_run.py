"""Predict over a catalog of any size with any engine: read, predict, write, batch by batch.

Several models predict together as an ensemble: each galaxy gets a row from each, numbered in `sample`. Models
that read images alike share one reading; where they differ, each galaxy is read once for each way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import pandas as pd

from zoobot import __version__
from zoobot.shared import defaults
from zoobot.shared.catalog import read_catalog
from zoobot.shared.counting_bar import counting_bar
from zoobot.shared.errors import ConfigError, ImageError, NonFiniteError
from zoobot.shared.galaxy_data import CatalogSource
from zoobot.shared.loader import Batch, GalaxyLoader
from zoobot.shared.predictions import Predictions, PredictionWriter, check_save_loc
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import Task

__all__ = [
    "PRECISIONS",
    "Member",
    "Start",
    "as_members",
    "check_request",
    "choose_batch_size",
    "expected_agreement",
    "predict_catalog",
]

#: What a network may compute in, in Lightning's words.
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")

_T = TypeVar("_T")

Fetch = Callable[[], np.ndarray]
Start = Callable[[np.ndarray, int], Fetch]


class _Predicting(Protocol):
    task: Task
    preprocessing: Preprocessing


class Member(NamedTuple):
    """One model of a run.

    Args:
        model: Tells what is predicted, and how images are read.
        start: Has a batch predicted, from images, (batch, height, width, channels), and the number of
            galaxies still to predict, these included. It need not wait for the device: what it returns gives
            the predictions, (samples, batch, outputs), and is called when the next batch has been started.
    """

    model: _Predicting
    start: Start


class _Chunk(NamedTuple):
    ids: list[str]
    values: np.ndarray  # (samples, batch, outputs)


def check_request(save_loc: str | Path | None, n_samples: int, precision: str = "auto") -> None:
    """Raise before any work if the table could not be written, or an option can't work."""
    if n_samples < 1:
        msg = f"n_samples must be at least 1, got {n_samples!r}"
        raise ConfigError(msg)
    if precision not in PRECISIONS:
        msg = f"precision must be one of {list(PRECISIONS)}, got {precision!r}"
        raise ConfigError(msg)
    if save_loc is not None:
        check_save_loc(save_loc)


def choose_batch_size(asked: int | None, *, on_gpu: bool) -> int:
    """Galaxies predicted at once: as many as asked for, or what suits the device.

    Example:
        >>> choose_batch_size(None, on_gpu=False), choose_batch_size(8, on_gpu=True)
        (32, 8)
    """
    if asked is not None:
        return asked
    return defaults.PREDICT_BATCH_SIZE_GPU if on_gpu else defaults.PREDICT_BATCH_SIZE


def expected_agreement(n_samples: int, *, mixed_precision: bool) -> float | None:
    """How far a compiled network's predictions may lie from the plain ones; None where dropout differs."""
    if n_samples > 1:
        return None
    return defaults.AGREEMENT_MIXED_PRECISION if mixed_precision else defaults.AGREEMENT


def as_members(model: Any) -> list[Any]:
    """One model, or a list of them, as a list.

    Raises:
        ConfigError: If the list is empty.
    """
    members = list(model) if isinstance(model, (list, tuple)) else [model]
    if not members:
        msg = "model must be a model, a checkpoint's folder, or a list of these; got an empty list"
        raise ConfigError(msg)
    return members


def predict_catalog(
    catalog: CatalogSource,
    members: Sequence[Member],
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
    """The predictions of any engine's models for every readable galaxy of a catalog, in its order.

    With `save_loc`, each batch is written and forgotten, so memory does not grow with the catalog.

    Args:
        catalog: A table of ids and image files.
        members: The model, or several of the same task.
        save_loc: Where the table goes (.parquet, .csv, .hdf5); None keeps it in memory.
        n_samples: How many samples each member gives.
        root: Folder that `file_loc` is relative to; None is the catalog's own folder.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths.
        batch_size: Galaxies predicted at once.
        num_workers: Threads that read images.
        progress: Whether a progress bar is drawn.

    Raises:
        ConfigError: If the members predict different things.
        CatalogError: If the catalog can't be used.
        ImageError: If not one image could be read.
        NonFiniteError: If a prediction is NaN or infinite.
    """
    task = _shared_task([member.model.task for member in members])
    galaxies = read_catalog(catalog, root=root, id_col=id_col, file_col=file_col)
    readings = _distinct([member.model.preprocessing for member in members])
    loaders = [
        GalaxyLoader(
            galaxies, reading, batch_size=batch_size, num_workers=num_workers, max_failed_fraction=1.0
        )
        for reading in readings
    ]
    chunks = _predict_chunks(loaders, members, progress=progress)
    total = n_samples * len(members)
    if save_loc is None:
        table = _in_memory(list(chunks), task.output_columns, total)
        _refuse_nothing(loaders, len(table))
        return Predictions(table=table, failures=_failures(loaders), save_loc=None)
    origin = _origin(galaxies.name, task, readings, n_samples=total, n_members=len(members))
    with PredictionWriter(save_loc, task.output_columns, samples=total > 1, metadata=origin) as writer:
        written = sum(_write(writer, chunk, total) for chunk in chunks)
        _refuse_nothing(loaders, written)
    return Predictions(failures=_failures(loaders), save_loc=Path(save_loc))


def _shared_task(tasks: Sequence[Task]) -> Task:
    """What all members predict.

    Raises:
        ConfigError: If it is not the same, naming the first member that differs and how.
    """
    first = tasks[0]
    for number, task in enumerate(tasks[1:], start=2):
        if task.kind != first.kind:
            msg = f"the models of an ensemble must share one task: the first predicts a {first.kind}, "
            msg += f"model {number} a {task.kind}"
            raise ConfigError(msg)
        if task.output_columns != first.output_columns:
            missing = [name for name in first.output_columns if name not in task.output_columns][:5]
            other = [name for name in task.output_columns if name not in first.output_columns][:5]
            differ = f"it lacks {missing} and has {other}" if missing or other else "their order differs"
            msg = f"the models of an ensemble must predict the same columns; of model {number} {differ}"
            raise ConfigError(msg)
    return first


def _distinct(records: Sequence[Preprocessing]) -> list[Preprocessing]:
    kept: list[Preprocessing] = []
    for record in records:
        if record not in kept:
            kept.append(record)
    return kept


def _origin(
    catalog: str, task: Task, readings: Sequence[Preprocessing], *, n_samples: int, n_members: int
) -> dict[str, Any]:
    """What a prediction file says of where its numbers come from."""
    configs = [reading.to_config() for reading in readings]
    return {
        "zoobot": __version__,
        "task": task.to_config(),
        "preprocessing": configs[0] if len(configs) == 1 else configs,
        "catalog": catalog,
        "n_samples": n_samples,
        "n_members": n_members,
    }


def _predict_chunks(
    loaders: Sequence[GalaxyLoader], members: Sequence[Member], *, progress: bool
) -> Iterator[_Chunk]:
    with counting_bar(progress=progress) as bar:
        work = bar.add_task("Predicting galaxies", total=len(loaders[0].catalog))
        for ids, fetches in _one_behind(_start_batches(loaders, members)):
            values = np.concatenate([np.asarray(fetch(), dtype=np.float32) for fetch in fetches])
            _refuse_non_finite(values, ids)
            yield _Chunk(ids, values)
            bar.advance(work, len(ids))


def _start_batches(
    loaders: Sequence[GalaxyLoader], members: Sequence[Member]
) -> Iterator[tuple[list[str], list[Fetch]]]:
    """Have each batch predicted by all members; the results may still be in the making."""
    remaining = len(loaders[0].catalog)
    readings = [loader.preprocessing for loader in loaders]
    places = [readings.index(member.model.preprocessing) for member in members]
    for ids, images in _read_in_step(loaders):
        yield ids, [m.start(images[place], remaining) for m, place in zip(members, places, strict=True)]
        remaining -= len(ids)


def _one_behind(started: Iterator[_T]) -> Iterator[_T]:
    """Each item once the next one is started: a device has work while results are fetched and written."""
    before = next(started, None)
    for item in started:
        if before is not None:
            yield before
        before = item
    if before is not None:
        yield before


def _read_in_step(loaders: Sequence[GalaxyLoader]) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Ids, and the images of each loader, of galaxies that every loader could read, in catalog order."""
    if len(loaders) == 1:
        for batch in loaders[0]:
            yield batch.ids, [batch.images]
        return
    row = {galaxy: row for row, galaxy in enumerate(loaders[0].catalog.ids)}
    numbered = [((row[batch.ids[0]] // w.batch_size, batch) for batch in w) for w in loaders]
    done: tuple[int, Batch | None] = (len(row), None)  # after every batch
    waiting = [next(batches, done) for batches in numbered]
    while not all(batch is None for _, batch in waiting):
        last = max(number for number, _ in waiting)
        behind = [place for place, (number, _) in enumerate(waiting) if number < last]
        if not behind:
            yield from _common([batch for _, batch in waiting if batch is not None])
            behind = list(range(len(waiting)))
        for place in behind:  # a batch of which nothing could be read is skipped by its loader
            waiting[place] = next(numbered[place], done)


def _common(batches: Sequence[Batch]) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """One batch of the galaxies that are in all of these; none if there are none."""
    shared = set.intersection(*(set(batch.ids) for batch in batches))
    keep = [[place for place, galaxy in enumerate(batch.ids) if galaxy in shared] for batch in batches]
    if shared:
        ids = [batches[0].ids[place] for place in keep[0]]
        yield ids, [batch.images[places] for batch, places in zip(batches, keep, strict=True)]


def _refuse_non_finite(values: np.ndarray, ids: list[str]) -> None:
    bad = ~np.isfinite(values).all(axis=(0, 2))
    if bad.any():
        named = [ids[i] for i in np.flatnonzero(bad)[:10]]
        msg = f"the model's predictions are not finite for {int(bad.sum())} galaxies of a batch: {named}"
        raise NonFiniteError(msg)


def _refuse_nothing(loaders: Sequence[GalaxyLoader], written: int) -> None:
    failures = _failures(loaders)
    if not written and len(failures):
        first = failures.iloc[0]
        reason = f"{first.file_loc}: {first.reason}"
        msg = f"not one of {len(loaders[0].catalog)} images could be read; the first: {reason}"
        raise ImageError(msg)


def _write(writer: PredictionWriter, chunk: _Chunk, n_samples: int) -> int:
    for sample, values in enumerate(chunk.values):
        writer.write(chunk.ids, values, sample=sample if n_samples > 1 else None)
    return len(chunk.ids)


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


def _failures(loaders: Sequence[GalaxyLoader]) -> pd.DataFrame:
    """Every galaxy that could not be read in one way or another, once."""
    rows = [failure for loader in loaders for failure in loader.failures]
    table = pd.DataFrame(rows, columns=["id_str", "file_loc", "reason"])
    return table.drop_duplicates("id_str", ignore_index=True)
