"""Predict over a catalog of any size with any engine: read, predict, write, batch by batch.

Several models predict together as an ensemble: each galaxy gets a row from each, numbered in `sample`. The
predictions stay in memory, or go to one table, or to a folder of parts (`zoobot.shared.tables.part_folder`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import numpy as np
import pandas as pd

from zoobot.shared import defaults
from zoobot.shared.catalog import Catalog, CatalogSource, read_catalog
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.counting_bar import CountingBar
from zoobot.shared.errors import CatalogError, ConfigError, ImageError
from zoobot.shared.loader import Failure
from zoobot.shared.models.weights import hash_model
from zoobot.shared.onnx.model import OnnxModel, is_exported
from zoobot.shared.pixels.first_images import check_first_images, say_grey, with_views
from zoobot.shared.predicting.batches import (
    CatalogPrediction,
    Chunk,
    FailureLimit,
    MaybeCompiled,
    PredictOnDevice,
    check_max_failures,
)
from zoobot.shared.predicting.members import (
    Member,
    Start,
    as_members,
    describe_origin,
    distinct_pixels,
    onnx_member,
    shared_task,
)
from zoobot.shared.predicting.part_run import predict_parts
from zoobot.shared.predicting.rows import NOTHING_ASKED, Names, Rows, RowsAsked, RowTable, carried_of
from zoobot.shared.predictions import Predictions, failure_table
from zoobot.shared.tables.destination import Destination
from zoobot.shared.tables.part_folder import ShardSource, read_shard

if TYPE_CHECKING:
    from typing_extensions import Unpack


#: What a network may compute in, in Lightning's words.
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")


class ReadingKeywords(TypedDict, total=False):
    """How the galaxies of a catalog are read, by the names that `predict`, `represent` and `explain` share.

    Who calls these may leave any of them out; the recipes are given all.

    Attributes:
        root: Folder that `file_loc` is relative to; None is the catalog's own folder.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths, or one for each band.
        batch_size: Galaxies at once; None is a number that suits the device.
        num_workers: Threads that read images.
        progress: Whether a progress bar is drawn.
    """

    root: str | Path | None
    id_col: str
    file_col: str | Sequence[str]
    batch_size: int | None
    num_workers: int
    progress: bool


class CatalogKeywords(ReadingKeywords, total=False):
    """The same, and where what comes out goes.

    Attributes:
        save_loc: The table, or the folder of its parts; None keeps it in memory.
        part_rows: Galaxies in a part, where `save_loc` is a folder.
        shard: Which parts, where `save_loc` is a folder: "1/8", …, "8/8".
        max_failures: How many images may fail, or which fraction of them; None allows any.
    """

    save_loc: str | Path | None
    part_rows: int | None
    shard: ShardSource | None
    max_failures: float | None


class PredictKeywords(CatalogKeywords, total=False):
    """The keywords of an engine's `predict`, whose docstring tells of them."""

    n_samples: int
    views: int | None
    seed: int
    precision: str
    compile: bool | None
    columns: Sequence[str]
    intervals: float | Sequence[float] | None
    names: Names
    class_column: bool


class RepresentKeywords(CatalogKeywords, total=False):
    """The keywords of an engine's `represent`, whose docstring tells of them."""

    block: str | int | None
    views: int | None
    dtype: str


def check_request(n_samples: int, precision: str = "auto", **run: Unpack[CatalogKeywords]) -> None:
    """Raise before any work if the predictions could not be written, or an option can't work.

    Args:
        n_samples: How often dropout is sampled.
        precision: What networks compute in.
        **run: `save_loc`, `part_rows`, `shard` and `max_failures`, at least.
    """
    save_loc, part_rows, shard = run["save_loc"], run["part_rows"], run["shard"]
    if n_samples < 1:
        raise ConfigError(f"n_samples must be at least 1, got {n_samples!r}")
    if precision not in PRECISIONS:
        raise ConfigError(f"precision must be one of {list(PRECISIONS)}, got {precision!r}")
    check_max_failures(run["max_failures"])
    place = Destination.of(save_loc)
    if place.is_parts:
        read_shard(shard)
        _check_part_rows(part_rows)
    for name, value in (("part_rows", part_rows), ("shard", shard)):
        if value is not None and not place.is_parts:
            msg = f"{name} is for a save_loc that is a folder, without .parquet or another ending, got "
            msg += f"{str(save_loc)!r}"
            raise ConfigError(msg)
    place.prepare()


def _check_part_rows(part_rows: int | None) -> None:
    if part_rows is not None and (type(part_rows) is not int or part_rows < 1):
        raise ConfigError(f"part_rows must be a whole number of at least 1, got {part_rows!r}")


def choose_compile(asked: bool | None, save_loc: str | Path | None) -> bool | None:
    """Whether the network is compiled; never by timing for a folder of parts, whose last digits are kept.

    Example:
        >>> choose_compile(None, "parts"), choose_compile(None, "table.csv"), choose_compile(True, "parts")
        (False, None, True)
    """
    return False if asked is None and Destination.of(save_loc).is_parts else asked


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


class Device(Protocol):
    """Where an engine computes, as the recipes above the engines see it.

    Attributes:
        engine: The engine, in a word.
        on_gpu: Whether that is a GPU.
    """

    engine: str
    on_gpu: bool

    def ready(self, model: Any) -> AbstractContextManager[Any]:
        """Have a model, or an encoder, compute there for a while; afterwards it is as it was."""

    def start(self, compute: Callable[[Any, int], Any]) -> Start:
        """A member's `start`, from what computes a batch on the device."""


class Predictor(Device, Protocol):
    """What an engine does in a prediction run, in one precision.

    Attributes:
        computed_in: What networks compute in, for the record.
    """

    computed_in: str

    def load(self, place: str | Path) -> Any:
        """The model of a checkpoint."""

    def network(self, model: Any, n_samples: int) -> tuple[PredictOnDevice, Callable[[Any], PredictOnDevice]]:
        """From a batch of images to its predictions, and what makes the compiled form of that."""

    def to_numpy(self, predictions: Any) -> np.ndarray:
        """Predictions, once they are there."""

    def seeded(self, models: Mapping[int, Any], seed: int) -> AbstractContextManager[Any]:
        """Draw the dropout of models from a seed, and from the number of each, for a while."""

    def seed_dropout(self, model: Any) -> Callable[[int], object]:
        """What begins the draws of a model's dropout anew."""


def predict_with(
    make_predictor: Callable[[str], Predictor],
    catalog: CatalogSource | CatalogStream,
    model: Any,
    *,
    n_samples: int,
    views: int | None,
    seed: int,
    precision: str,
    compile: bool | None,  # noqa: A002
    columns: Sequence[str],
    intervals: float | Sequence[float] | None,
    names: Names,
    class_column: bool,
    **run: Unpack[CatalogKeywords],
) -> Predictions:
    """What `predict` of any engine does: models are loaded and made ready, and predict the catalog.

    Args:
        make_predictor: The engine's part, for a precision.
        catalog: The galaxies.
        model: A model, a checkpoint or an exported file, or a list of these.
        n_samples: How often the head's dropout is sampled.
        views: How many views of each image are looked at; None is what each model's record says.
        seed: Seeds dropout.
        precision: One of `PRECISIONS`.
        compile: Whether networks are compiled; None does it where it pays.
        columns: Columns of the catalog that are carried along.
        intervals: Levels of intervals or sets, in percent.
        names: "full" or "plain".
        class_column: Whether the most likely class has a column.
        **run: All of `CatalogKeywords`.
    """
    save_loc = run["save_loc"]
    asked = RowsAsked(columns=columns, intervals=intervals, names=names, class_column=class_column)
    asked.check()
    check_request(n_samples, precision, **run)
    compile = choose_compile(compile, save_loc)  # noqa: A001
    predictor = make_predictor(precision)
    batch_size = choose_batch_size(run["batch_size"], on_gpu=predictor.on_gpu)
    run["batch_size"] = batch_size
    members, models = [], {}
    with ExitStack() as stack:
        for number, one in enumerate(as_members(model)):
            if is_exported(one):
                members.append(onnx_member(one, n_samples, views))
                continue
            m = models[number] = predictor.load(one) if isinstance(one, (str, Path)) else one
            stack.enter_context(with_views(m, views))
            stack.enter_context(predictor.ready(m))
            maybe_compiled = MaybeCompiled(
                *predictor.network(m, n_samples),
                predictor.to_numpy,
                asked=compile,
                batch_size=batch_size,
                agreement=expected_agreement(n_samples, computed_in=predictor.computed_in),
            )
            start, seed_dropout = predictor.start(maybe_compiled), predictor.seed_dropout(m)
            members.append(Member(m, start, predictor.engine, partial(_hash, m), seed_dropout))
        stack.enter_context(predictor.seeded(models, seed))
        decisive = {"seed": seed, "precision": predictor.computed_in, "compile": bool(compile)}
        return predict_catalog(catalog, members, n_samples=n_samples, decisive=decisive, asked=asked, **run)


def _hash(model: Any) -> str:
    return hash_model(model.to_neutral())


def predict_exported(
    catalog: CatalogSource | CatalogStream,
    model: OnnxModel | str | Path | Sequence[OnnxModel | str | Path],
    *,
    save_loc: str | Path | None = None,
    n_samples: int = 1,
    root: str | Path | None = None,
    id_col: str = "id_str",
    file_col: str | Sequence[str] = "file_loc",
    batch_size: int | None = None,
    num_workers: int = defaults.NUM_WORKERS,
    part_rows: int | None = None,
    shard: ShardSource | None = None,
    max_failures: float | None = None,
    columns: Sequence[str] = (),
    intervals: float | Sequence[float] | None = None,
    names: Names = "full",
    class_column: bool = False,
    progress: bool = True,
) -> Predictions:
    """Predictions for every galaxy of a catalog, as an engine's `predict`, by ONNX Runtime.

    The model is an .onnx file that was exported, or several for an ensemble. Dropout is no part of such a
    file, so `n_samples` must be 1; 32 galaxies are predicted at once unless told otherwise.

    Raises:
        CheckpointError: If a file holds no exported model.
        ConfigError: If samples are asked for, or the models predict different things.
        CatalogError: If the catalog can't be used.
        ImageError: If not one image could be read, or more failed than may.
        NonFiniteError: If a prediction is NaN or infinite.
        PredictionsError: If a folder holds those of another run.
        WriteError: If they can't be written.

    Example:
        >>> predict_exported("new.csv", "rings.onnx").table  # doctest: +SKIP
    """
    asked = RowsAsked(columns=columns, intervals=intervals, names=names, class_column=class_column)
    asked.check()
    check_request(n_samples, save_loc=save_loc, part_rows=part_rows, shard=shard, max_failures=max_failures)
    return predict_catalog(
        catalog,
        [onnx_member(one, n_samples) for one in as_members(model)],
        n_samples=n_samples,
        decisive={},
        asked=asked,
        save_loc=save_loc,
        root=root,
        id_col=id_col,
        file_col=file_col,
        batch_size=batch_size,
        num_workers=num_workers,
        part_rows=part_rows,
        shard=shard,
        max_failures=max_failures,
        progress=progress,
    )


def predict_catalog(
    catalog: CatalogSource | CatalogStream,
    members: Sequence[Member],
    *,
    n_samples: int,
    decisive: Mapping[str, Any],
    asked: RowsAsked = NOTHING_ASKED,
    **run: Unpack[CatalogKeywords],
) -> Predictions:
    """The predictions of any engine's models for every readable galaxy of a catalog, in its order.

    With `save_loc`, each batch is written and forgotten, so memory does not grow with the catalog.

    Args:
        catalog: A table of ids and image files.
        members: The model, or several of the same task.
        n_samples: How many samples each member gives.
        decisive: Further options that decide the last digits of the numbers, for the record: the seed, what
            the network computes in, whether it is compiled.
        asked: What each row is to hold beside the numbers.
        **run: All of `CatalogKeywords`.

    Raises:
        ConfigError: If the members predict different things, or rows can't hold what is asked.
        CatalogError: If the catalog can't be used.
        ImageError: If not one image could be read, or more failed than may.
        NonFiniteError: If a prediction is NaN or infinite.
        PredictionsError: If the predictions can't be written, or a folder holds those of another run.
    """
    task = shared_task([member.model.task for member in members])
    total = n_samples * len(members)
    save_loc, place = run["save_loc"], Destination.of(run["save_loc"])
    columns: dict[str, Any] = {"root": run["root"], "id_col": run["id_col"], "file_col": run["file_col"]}
    batch_size = choose_batch_size(run["batch_size"], on_gpu=False)
    num_workers, progress = run["num_workers"], run["progress"]
    if place.is_parts:
        stream = catalog if isinstance(catalog, CatalogStream) else CatalogStream(catalog, **columns)
        return predict_parts(
            stream,
            members,
            place.folder,
            options={"n_samples": n_samples, "batch_size": batch_size, "select": stream.select, **decisive},
            rows=Rows(members, task, asked, n_samples=n_samples, carried=carried_of(stream, asked)),
            part_rows=run["part_rows"] or defaults.PART_ROWS,
            shard=read_shard(run["shard"]),
            max_failures=run["max_failures"],
            num_workers=num_workers,
            progress=progress,
        )
    if isinstance(catalog, CatalogStream):
        raise CatalogError("a CatalogStream is for predictions into a folder of parts; give the table itself")
    galaxies = read_catalog(catalog, **columns)
    carried = carried_of(galaxies, asked)
    rows = Rows(members, task, asked, n_samples=n_samples, carried=carried)
    for reading in distinct_pixels(members):
        check_first_images(galaxies.paths, reading)
    kept = RowTable(galaxies, carried)
    if save_loc is not None:
        rows.check_texts(save_loc, galaxies.ids, kept)
    rows.tell_few()
    limit = FailureLimit(run["max_failures"], len(galaxies))
    work = CatalogPrediction(galaxies, members, batch_size=batch_size, num_workers=num_workers, limit=limit)
    chunks = with_bar(work, len(galaxies), progress=progress)
    if save_loc is None:
        table = _in_memory(chunks, rows, kept, total)
        refuse_nothing(len(table), work.failures, galaxies)
        return Predictions(table=table, failures=failure_table(work.failures), save_loc=None)
    origin = describe_origin(members, galaxies, n_samples=total) | rows.origin()
    with rows.writer(save_loc, samples=total > 1, metadata=origin) as writer:
        written = sum(rows.write(writer, chunk.ids, chunk.values, kept) for chunk in chunks)
        refuse_nothing(written, work.failures, galaxies)
    names = [*rows.numbers, *(column.name for column in rows.further)]
    return Predictions(failures=failure_table(work.failures), save_loc=Path(save_loc), columns=names)


def with_bar(run: CatalogPrediction, total: int, *, progress: bool) -> Iterator[Chunk]:
    """What a run makes, with a progress bar."""
    with CountingBar(f"{run.doing} galaxies", total, unit="galaxies", shown=progress) as bar:
        for chunk in run:
            yield chunk
            bar.reach(chunk.done)
    say_grey(run.grey, total)


def refuse_nothing(written: int, failures: Sequence[Failure], galaxies: Catalog) -> None:
    """Raise an ImageError if images have failed and not one could be read."""
    if not written and failures:
        first = failures[0]
        reason = f"{first.file_loc}: {first.reason}"
        raise ImageError(f"not one of {len(galaxies)} images could be read; the first: {reason}")


def _in_memory(chunks: Iterator[Chunk], rows: Rows, kept: RowTable, n_samples: int) -> pd.DataFrame:
    parts = []
    for chunk in chunks:
        for sample, values in enumerate(chunk.values):
            further = rows.frame(chunk.ids, chunk.values, kept)
            part = pd.concat([pd.DataFrame(values, columns=rows.numbers), further], axis=1)
            if n_samples > 1:
                part.insert(0, "sample", sample)
            part.insert(0, "id_str", chunk.ids)
            parts.append(part)
    if not parts:
        return pd.DataFrame(columns=["id_str", *rows.numbers, *(column.name for column in rows.further)])
    return pd.concat(parts, ignore_index=True)
