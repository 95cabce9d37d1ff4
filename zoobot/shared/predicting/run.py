"""Predict over a catalog of any size with any engine: read, predict, write, batch by batch.

Several models predict together as an ensemble: each galaxy gets a row from each, numbered in `sample`. The
predictions stay in memory, or go to one table, or to a folder of parts (`zoobot.shared.tables.part_folder`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from zoobot.shared import defaults
from zoobot.shared.catalog import Catalog, CatalogSource, read_catalog
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.counting_bar import CountingBar
from zoobot.shared.errors import CatalogError, ConfigError, ImageError
from zoobot.shared.loader import Failure
from zoobot.shared.pixels.first_images import check_first_images, say_grey
from zoobot.shared.predicting.batches import CatalogPrediction, Chunk, FailureLimit, check_max_failures
from zoobot.shared.predicting.members import Member, describe_origin, distinct_pixels, shared_task
from zoobot.shared.predicting.part_run import predict_parts
from zoobot.shared.predictions import Predictions, failure_table
from zoobot.shared.tables.part_folder import PartFolder, ShardSource, is_folder_of_parts, read_shard
from zoobot.shared.tables.writer import PredictionWriter, check_save_loc

__all__ = [
    "PRECISIONS",
    "check_request",
    "choose_batch_size",
    "choose_compile",
    "expected_agreement",
    "predict_catalog",
    "refuse_nothing",
    "with_bar",
]

#: What a network may compute in, in Lightning's words.
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")


def check_request(
    save_loc: str | Path | None,
    n_samples: int,
    precision: str = "auto",
    *,
    part_rows: int | None,
    shard: ShardSource | None,
    max_failures: float | None,
) -> None:
    """Raise before any work if the predictions could not be written, or an option can't work."""
    if n_samples < 1:
        msg = f"n_samples must be at least 1, got {n_samples!r}"
        raise ConfigError(msg)
    if precision not in PRECISIONS:
        msg = f"precision must be one of {list(PRECISIONS)}, got {precision!r}"
        raise ConfigError(msg)
    check_max_failures(max_failures)
    if is_folder_of_parts(save_loc):
        read_shard(shard)
        _check_part_rows(part_rows)
        PartFolder(str(save_loc)).prepare()
        return
    for name, value in (("part_rows", part_rows), ("shard", shard)):
        if value is not None:
            msg = f"{name} is for a save_loc that is a folder, without .parquet or another ending, got "
            msg += f"{str(save_loc)!r}"
            raise ConfigError(msg)
    if save_loc is not None:
        check_save_loc(save_loc)


def _check_part_rows(part_rows: int | None) -> None:
    if part_rows is not None and (type(part_rows) is not int or part_rows < 1):
        msg = f"part_rows must be a whole number of at least 1, got {part_rows!r}"
        raise ConfigError(msg)


def choose_compile(asked: bool | None, save_loc: str | Path | None) -> bool | None:
    """Whether the network is compiled; never by timing for a folder of parts, whose last digits are kept.

    Example:
        >>> choose_compile(None, "parts"), choose_compile(None, "table.csv"), choose_compile(True, "parts")
        (False, None, True)
    """
    return False if asked is None and is_folder_of_parts(save_loc) else asked


def choose_batch_size(asked: int | None, *, on_gpu: bool) -> int:
    """Galaxies predicted at once: as many as asked for, or what suits the device.

    Example:
        >>> choose_batch_size(None, on_gpu=False), choose_batch_size(8, on_gpu=True)
        (32, 8)
    """
    if asked is not None:
        return asked
    return defaults.PREDICT_BATCH_SIZE_GPU if on_gpu else defaults.PREDICT_BATCH_SIZE


def expected_agreement(n_samples: int, *, computed_in: str) -> float | None:
    """How far a compiled network's predictions may lie from the plain ones; None where dropout differs.

    Args:
        n_samples: More than 1 draws dropout.
        computed_in: A name that says so, as "mixed_float16" or "torch.bfloat16"; any other is float32.

    Example:
        >>> expected_agreement(1, computed_in="float32"), expected_agreement(1, computed_in="mixed_float16")
        (0.0001, 0.03)
    """
    if n_samples > 1:
        return None
    if "bfloat16" in computed_in:
        return defaults.AGREEMENT_BFLOAT16
    return defaults.AGREEMENT_FLOAT16 if "float16" in computed_in else defaults.AGREEMENT


def predict_catalog(
    catalog: CatalogSource | CatalogStream,
    members: Sequence[Member],
    *,
    save_loc: str | Path | None,
    n_samples: int,
    root: str | Path | None,
    id_col: str,
    file_col: str | Sequence[str],
    batch_size: int,
    num_workers: int,
    progress: bool,
    part_rows: int | None,
    shard: ShardSource | None,
    max_failures: float | None,
    decisive: Mapping[str, Any],
) -> Predictions:
    """The predictions of any engine's models for every readable galaxy of a catalog, in its order.

    With `save_loc`, each batch is written and forgotten, so memory does not grow with the catalog.

    Args:
        catalog: A table of ids and image files.
        members: The model, or several of the same task.
        save_loc: Where the table goes (.parquet, .csv, .hdf5, .fits), or the folder of its parts; None keeps
            it in memory.
        n_samples: How many samples each member gives.
        root: Folder that `file_loc` is relative to; None is the catalog's own folder.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths, or one for each band.
        batch_size: Galaxies predicted at once.
        num_workers: Threads that read images.
        progress: Whether a progress bar is drawn.
        part_rows: Galaxies in a part, where `save_loc` is a folder.
        shard: Which parts, where `save_loc` is a folder: "1/8", …, "8/8".
        max_failures: How many images may fail, or which fraction of them; None allows any.
        decisive: Further options that decide the last digits of the numbers, for the record: the seed, what
            the network computes in, whether it is compiled.

    Raises:
        ConfigError: If the members predict different things.
        CatalogError: If the catalog can't be used.
        ImageError: If not one image could be read, or more failed than may.
        NonFiniteError: If a prediction is NaN or infinite.
        PredictionsError: If the predictions can't be written, or a folder holds those of another run.
    """
    task = shared_task([member.model.task for member in members])
    total = n_samples * len(members)
    if save_loc is not None and is_folder_of_parts(save_loc):
        stream = catalog
        if not isinstance(stream, CatalogStream):
            stream = CatalogStream(catalog, root=root, id_col=id_col, file_col=file_col)
        return predict_parts(
            stream,
            members,
            PartFolder(save_loc),
            options={"n_samples": n_samples, "batch_size": batch_size, "select": stream.select, **decisive},
            part_rows=part_rows or defaults.PART_ROWS,
            shard=read_shard(shard),
            max_failures=max_failures,
            num_workers=num_workers,
            progress=progress,
        )
    if isinstance(catalog, CatalogStream):
        msg = "a CatalogStream is for predictions into a folder of parts; give the table itself"
        raise CatalogError(msg)
    galaxies = read_catalog(catalog, root=root, id_col=id_col, file_col=file_col)
    for reading in distinct_pixels(members):
        check_first_images(galaxies.paths, reading)
    limit = FailureLimit(max_failures, len(galaxies))
    run = CatalogPrediction(galaxies, members, batch_size=batch_size, num_workers=num_workers, limit=limit)
    chunks = with_bar(run, len(galaxies), progress=progress)
    if save_loc is None:
        table = _in_memory(list(chunks), task.output_columns, total)
        refuse_nothing(len(table), run.failures, galaxies)
        return Predictions(table=table, failures=failure_table(run.failures), save_loc=None)
    origin = describe_origin(members, galaxies, n_samples=total)
    with PredictionWriter(
        save_loc, task.output_columns, samples=total > 1, metadata=origin, dtype=task.stored_as
    ) as writer:
        written = sum(writer.write_samples(chunk.ids, chunk.values) for chunk in chunks)
        refuse_nothing(written, run.failures, galaxies)
    return Predictions(failures=failure_table(run.failures), save_loc=Path(save_loc))


def with_bar(run: CatalogPrediction, total: int, *, progress: bool) -> Iterator[Chunk]:
    """What a run makes, with a progress bar."""
    with CountingBar("Predicting galaxies", total, unit="galaxies", shown=progress) as bar:
        for chunk in run:
            yield chunk
            bar.reach(chunk.done)
    say_grey(run.grey, total)


def refuse_nothing(written: int, failures: Sequence[Failure], galaxies: Catalog) -> None:
    """Raise an ImageError if images have failed and not one could be read."""
    if not written and failures:
        first = failures[0]
        reason = f"{first.file_loc}: {first.reason}"
        msg = f"not one of {len(galaxies)} images could be read; the first: {reason}"
        raise ImageError(msg)


def _in_memory(chunks: list[Chunk], columns: list[str], n_samples: int) -> pd.DataFrame:
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
