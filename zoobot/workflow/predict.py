"""The guided prediction run: a trained model, a catalog of any size, a table."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared import tasks
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import ConfigError, PredictionsError
from zoobot.shared.files.spreadsheets import csv_text
from zoobot.shared.files.whole import write_safely
from zoobot.shared.models.encoder_source import tell_pixels
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.onnx.model import OnnxModel, is_onnx_file
from zoobot.shared.pixels.first_images import read_otherwise
from zoobot.shared.predicting.posterior_tables import write_posterior_table
from zoobot.shared.predicting.run import check_request, predict_exported
from zoobot.shared.predictions import Parts, failure_table
from zoobot.shared.tables.destination import Destination, failures_of
from zoobot.shared.tables.layout import ID_COLUMN, SAMPLE_COLUMN
from zoobot.shared.tables.part_folder import PartFolder, read_shard
from zoobot.shared.tasks import Task
from zoobot.workflow.account import facts_of_models
from zoobot.workflow.detect import CARRIED, DetectResult, detect_first, how_found
from zoobot.workflow.galaxies import read_galaxies
from zoobot.workflow.reporting import Reported, missing_lines, quoted, table_failure_lines
from zoobot.workflow.run_folder import open_record, table_run

if TYPE_CHECKING:
    import pandas as pd

    from zoobot.options.predict import PredictOptions
    from zoobot.options.represent import RepresentOptions
    from zoobot.shared.predictions import Predictions

# What a guided prediction run made.


@dataclass(frozen=True, kw_only=True, repr=False)
class PredictResult(Reported):
    """What a prediction run made.

    Args:
        save_loc: The table.
        galaxies: How many galaxies have a prediction.
        columns: The columns of the table but the ids and the numbers of samples.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`; of a folder of parts
            only the first part that has any.
        failed: How many could not be read.
        missing_parts: How many parts of a folder are still to be predicted, by other shards.
        tables: The summary and the full table, where they were asked for.
        sources: The galaxies that were found, where no catalog listed them.
    """

    save_loc: Path
    galaxies: int
    columns: list[str]
    failures: pd.DataFrame
    failed: int
    missing_parts: int = 0
    tables: list[Path] = field(default_factory=list)
    sources: DetectResult | None = None

    def report(self) -> str:
        """What came out, as a text to read."""
        place = quoted(self.save_loc)
        lines = [] if self.sources is None else self.sources.told()
        lines += [f"{self.galaxies:,} galaxies, {len(self.columns)} columns: {self.save_loc}"]
        lines += [f"expected fractions and intervals: {path}" for path in self.tables]
        lines += table_failure_lines(self)
        if self.save_loc.is_dir():
            merge = ["Next: one table of all parts", f"  zoobot merge {place} --save-loc {place}.parquet"]
            lines += missing_lines(self.save_loc, self.missing_parts) or merge
        return "\n".join(lines)


def result_of_parts(parts: Parts, tables: Iterable[Path]) -> PredictResult:
    """What stands in a folder of parts, with the further tables that were made of it."""
    failed = parts.count_failures()
    columns = tasks.from_config(parts.manifest.task).output_columns
    if parts.done:
        columns = [c.name for c in parts.read_columns() if c.name not in (ID_COLUMN, SAMPLE_COLUMN)]
    return PredictResult(
        save_loc=parts.folder.path,
        galaxies=parts.manifest.count(parts.done) - failed,
        columns=columns,
        failures=next(parts.read_failures(), failure_table(())),
        failed=failed,
        missing_parts=len(parts.missing),
        tables=list(tables),
    )


# The guided prediction run of a catalog of any size, into a folder of parts.


def predict_into_folder(
    options: PredictOptions | RepresentOptions,
    models: Any,
    predict_with: Callable[..., Any],
    *,
    command: str,
    work: str = "predict",
    tables: Callable[[Path], None] = lambda _: None,
    facts: dict[str, Any] | None = None,
) -> Parts:
    """Predict the parts that are missing, and give the folder as it then is.

    In the folder's `_runs` stands the record of each shard's last run.

    Args:
        options: Everything that was chosen.
        models: The trained models, or whatever `predict_with` takes as its second argument.
        predict_with: What predicts with them, as was chosen.
        command: How the run was started, for its record.
        work: What it does, in a word, for its record.
        tables: Writes further tables from the whole folder.
        facts: What else its record says, JSON-ready.

    Raises:
        ZoobotError: If the catalog can't be used, the folder holds another run's predictions, or another
            process predicts the same.
    """
    shard = read_shard(options.shard)
    folder = PartFolder(options.save_loc)
    galaxies = CatalogStream(options.catalog, select=options.select, **options.catalog_arguments())
    if options.overwrite:
        folder.clear()
    folder.prepare()
    with folder.at_work(shard):
        path = folder.record(shard)
        before = path.read_bytes() if path.exists() else None
        record = open_record(path, work, options, command=command, **(facts or {}))
        _let_be_last(path)
        with _forgotten_if_refused(path, before), record.running():
            predict_with(
                galaxies,
                models,
                save_loc=f"{folder.path}/",
                part_rows=options.part_rows,
                shard=options.shard,
            )
            tables(folder.path)
    return Parts(folder.path)


def _let_be_last(record: Path) -> None:
    """Let no record of an earlier run look later than this one, as after the clock was set back."""
    now = record.stat().st_mtime_ns
    for other in record.parent.glob("*.json"):
        with suppress(FileNotFoundError, PermissionError):  # taken back meanwhile; another user's
            if other != record and other.stat().st_mtime_ns >= now:
                os.utime(other, ns=(now - 1, now - 1))


@contextmanager
def _forgotten_if_refused(path: Path, before: bytes | None) -> Iterator[None]:
    """Leave the record of the run that the parts are of, where this one is refused since it is another."""
    try:
        yield
    except PredictionsError:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            write_safely(path, before)
        raise


def refuse_tables_of_a_shard(options: PredictOptions) -> None:
    """Raise if further tables are asked for of a shard, which has not all galaxies."""
    if options.shard is not None and (options.summary or options.full_table):
        raise ConfigError(
            "--summary and --full-table are made of all parts: when every shard is done, give the same "
            "command without --shard, which then only writes them"
        )


logger = logging.getLogger(__name__)


def predict(options: PredictOptions, *, command: str = "zoobot.workflow.predict") -> PredictResult:
    """Predict every galaxy of a catalog and write the table, its record, and the failures if there are any.

    Beside `NAME.parquet` lie `NAME.run.json` and, where images failed, `NAME.failures.csv`. A name without
    such an ending is a folder, which gets the predictions in parts (`zoobot.shared.predicting.part_run`). A
    tree's predictions also become a summary, or a full table, where these are asked for.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: If the checkpoint or catalog can't be used, the table exists, or no image can be read.
    """
    place = Destination.of(options.save_loc)
    if options.detect:
        return _detect_and_predict(options, place, command)
    if place.is_parts:
        return _predict_into_folder(options, command)
    check_request(
        options.n_samples,
        save_loc=options.save_loc,
        part_rows=options.part_rows,
        shard=options.shard,
        max_failures=options.max_failures,
    )
    save_loc = place.free(overwrite=options.overwrite)
    tables = tables_asked_for(options, save_loc)
    places = [find_model(place) for place in (options.checkpoint, *options.ensemble)]
    galaxies = read_galaxies(options.catalog, options, select=options.select)
    models, predict_with = _load(places, options)
    task = models[0].task
    check_tables(tables, task)
    logger.info("Predicting %s galaxies of %s", f"{len(galaxies):,}", galaxies.name)
    tell_pixels(*models)
    data = {"catalog": {**galaxies.record(), **how_found(options.catalog)}}
    facts: dict[str, Any] = {"data": data, "models": facts_of_models(places, models)}
    with table_run(save_loc, "predict", options, command=command, **facts) as record:
        predictions = predict_with(galaxies, models, save_loc=save_loc)
        failures = save_failures(predictions.failures, failures_of(save_loc))
        record.update(failures=len(failures))
        write_tables(tables, save_loc, task, options)
    return PredictResult(
        save_loc=save_loc,
        galaxies=len(galaxies) - len(failures),
        columns=predictions.columns,
        failures=failures,
        failed=len(failures),
        tables=list(tables),
    )


def _detect_and_predict(options: PredictOptions, place: Destination, command: str) -> PredictResult:
    """Predict the sources of tiles, which are left in a folder beside the table."""
    if not place.is_parts:
        place.free(overwrite=options.overwrite)
    for model in (options.checkpoint, *options.ensemble):
        find_model(model)
    folder = place.file.with_suffix(".sources") if not place.is_parts else Path(f"{place.file}.sources")
    sources = detect_first(options.detection(str(folder)), command=command)
    carried = tuple(name for name in CARRIED if name in sources.table.columns)
    found = options.of_sources(str(sources.catalog), sources.file_cols, carried)
    return replace(predict(found, command=command), sources=sources)


def _predict_into_folder(options: PredictOptions, command: str) -> PredictResult:
    refuse_tables_of_a_shard(options)
    tables = tables_asked_for(options, Path(options.save_loc))
    places = [find_model(place) for place in (options.checkpoint, *options.ensemble)]
    models, predict_with = _load(places, options)
    task = models[0].task
    check_tables(tables, task)
    tell_pixels(*models)
    parts = predict_into_folder(
        options,
        models,
        predict_with,
        command=command,
        tables=lambda folder: write_tables(tables, folder, task, options),
        facts={"models": facts_of_models(places, models)},
    )
    return result_of_parts(parts, tables)


def check_tables(tables: dict[Path, bool], task: Task) -> None:
    """Raise a ConfigError if further tables are asked for that only a tree has."""
    if tables and task.tree is None:
        msg = f"--summary and --full-table are for models of a decision tree, got one of a {task.kind} task"
        raise ConfigError(msg)


def write_tables(tables: dict[Path, bool], predictions: Path, task: Task, options: PredictOptions) -> None:
    """Write the further tables of a tree from its predictions, a table or a folder of parts."""
    for path, full in tables.items():
        write_posterior_table(
            predictions, path, schema=task.tree, full=full, level=options.level, kind=options.interval
        )


def find_model(place: str) -> Path:
    """An exported file as it is, or the checkpoint in a folder.

    Raises:
        CheckpointError: If there is no checkpoint.
    """
    return Path(place).expanduser() if is_onnx_file(place) else find_checkpoint(place)


def _load(places: list[Path], options: PredictOptions) -> tuple[list[Any], Callable[..., Predictions]]:
    """The models, and what predicts with them: where all are exported files, no engine is needed."""
    how: dict[str, Any] = {
        "n_samples": options.n_samples,
        "batch_size": options.batch_size,
        "num_workers": options.num_workers,
        "max_failures": options.max_failures,
        "columns": options.columns,
        "intervals": options.intervals or None,
        "names": options.names,
        "class_column": options.class_column,
        "progress": options.progress,
    }
    if all(is_onnx_file(place) for place in places):
        if options.compile is not None or options.precision != "auto":
            msg = "--compile and --precision are for checkpoints, not for exported files; leave them out"
            raise ConfigError(msg)
        return _read_as(options, [OnnxModel(place) for place in places]), partial(predict_exported, **how)
    engine = load_engine(options.backend)
    models = [OnnxModel(p) if is_onnx_file(p) else engine.checkpoint.load(p) for p in places]
    how |= {"seed": options.seed, "precision": options.precision, "compile": options.compile}
    return _read_as(options, models), partial(engine.predict.predict, **how)


def _read_as(options: PredictOptions, models: list[Any]) -> list[Any]:
    """The models, reading images as the options say."""
    for model in models:
        read_otherwise(model, options.image_changes())
    return models


def tables_asked_for(options: PredictOptions, save_loc: Path) -> dict[Path, bool]:
    """The further tables of a tree, each with whether it is the full one.

    Raises:
        ConfigError: If one exists, or two are the same.
    """
    asked = (("--summary", options.summary, False), ("--full-table", options.full_table, True))
    tables = {
        Destination.of(place).free(overwrite=options.overwrite, flag=flag): full
        for flag, place, full in asked
        if place is not None
    }
    if save_loc in tables or len(tables) < sum(place is not None for _, place, _ in asked):
        raise ConfigError("--save-loc, --summary and --full-table must be different files")
    return tables


def save_failures(failures: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The failed images, each galaxy once, also written as CSV; without any, an older file is removed."""
    failures = failures.drop_duplicates("id_str", ignore_index=True)
    if failures.empty:
        path.unlink(missing_ok=True)
    else:
        write_safely(path, csv_text(failures))
    return failures
