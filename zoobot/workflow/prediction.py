"""The guided prediction run: a trained model, a catalog of any size, a table."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared.engine import load_engine
from zoobot.shared.errors import ConfigError
from zoobot.shared.files.safe import write_safely
from zoobot.shared.files.spreadsheets import csv_text
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.models.origin import tell_pixels
from zoobot.shared.onnx.model import OnnxModel, is_onnx_file
from zoobot.shared.onnx.prediction import predict as predict_exported
from zoobot.shared.parts.files import is_folder_of_parts
from zoobot.shared.pixels.first_images import read_otherwise
from zoobot.shared.predicting.run import check_request
from zoobot.shared.predicting.writer import check_save_loc
from zoobot.shared.tasks import Task, TreeTask
from zoobot.shared.trees.posterior_tables import write_posterior_table
from zoobot.workflow.galaxies import read_galaxies
from zoobot.workflow.part_predicting import predict_into_folder, refuse_tables_of_a_shard
from zoobot.workflow.prediction_result import PredictResult, result_of_parts
from zoobot.workflow.run_folder import table_run

if TYPE_CHECKING:
    import pandas as pd

    from zoobot.shared.config import PredictOptions
    from zoobot.shared.predictions import Predictions

__all__ = [
    "check_tables",
    "find_model",
    "free_place",
    "predict",
    "save_failures",
    "tables_asked_for",
    "write_tables",
]

logger = logging.getLogger(__name__)


def predict(options: PredictOptions, *, command: str = "zoobot.workflow.predict") -> PredictResult:
    """Predict every galaxy of a catalog and write the table, its record, and the failures if there are any.

    Beside `NAME.parquet` lie `NAME.run.json` and, where images failed, `NAME.failures.csv`. A name without
    such an ending is a folder, which gets the predictions in parts (`zoobot.shared.parts.prediction`). A
    tree's predictions also become a summary, or a full table, where these are asked for.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: If the checkpoint or catalog can't be used, the table exists, or no image can be read.
    """
    if is_folder_of_parts(options.save_loc):
        return _predict_into_folder(options, command)
    check_request(
        options.save_loc,
        options.n_samples,
        part_rows=options.part_rows,
        shard=options.shard,
        max_failures=options.max_failures,
    )
    save_loc = free_place(options.save_loc, "--save-loc", overwrite=options.overwrite)
    tables = tables_asked_for(options, save_loc)
    places = [find_model(place) for place in (options.checkpoint, *options.ensemble)]
    galaxies = read_galaxies(options.catalog, options, select=options.select)
    models, predict_with = _load(places, options)
    task = models[0].task
    check_tables(tables, task)
    logger.info("Predicting %s galaxies of %s", f"{len(galaxies):,}", galaxies.name)
    tell_pixels(*models)
    data = {"source": galaxies.name, "galaxies": len(galaxies), "fingerprint": galaxies.fingerprint()}
    with table_run(save_loc, "predict", options, command=command, data={"catalog": data}):
        predictions = predict_with(
            galaxies,
            models,
            save_loc=save_loc,
        )
        failures = save_failures(predictions.failures, save_loc.with_suffix(".failures.csv"))
        write_tables(tables, save_loc, task, options)
    return PredictResult(
        save_loc=save_loc,
        galaxies=len(galaxies) - len(failures),
        columns=task.output_columns,
        failures=failures,
        failed=len(failures),
        tables=list(tables),
    )


def _predict_into_folder(options: PredictOptions, command: str) -> PredictResult:
    refuse_tables_of_a_shard(options)
    tables = tables_asked_for(options, Path(options.save_loc))
    models, predict_with = _load([find_model(p) for p in (options.checkpoint, *options.ensemble)], options)
    task = models[0].task
    check_tables(tables, task)
    tell_pixels(*models)
    parts = predict_into_folder(
        options,
        models,
        predict_with,
        command=command,
        tables=lambda folder: write_tables(tables, folder, task, options),
    )
    return result_of_parts(parts, tables)


def check_tables(tables: dict[Path, bool], task: Task) -> None:
    """Raise a ConfigError if further tables are asked for that only a tree has."""
    if tables and not isinstance(task, TreeTask):
        msg = f"--summary and --full-table are for models of a decision tree, got one of a {task.kind} task"
        raise ConfigError(msg)


def write_tables(tables: dict[Path, bool], predictions: Path, task: Task, options: PredictOptions) -> None:
    """Write the further tables of a tree from its predictions, a table or a folder of parts."""
    for path, full in tables.items():
        schema = task.schema if isinstance(task, TreeTask) else None
        write_posterior_table(
            predictions, path, schema=schema, full=full, level=options.level, kind=options.interval
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


def free_place(place: str, flag: str, *, overwrite: bool) -> Path:
    """Where a table goes, once found to be possible and not taken.

    Raises:
        ConfigError: If it is taken.
        PredictionsError: If it can't be written there.
    """
    path = check_save_loc(place)
    if path.exists() and not overwrite:
        msg = f"{path} exists: choose another {flag}, or replace it with --overwrite"
        raise ConfigError(msg)
    return path


def tables_asked_for(options: PredictOptions, save_loc: Path) -> dict[Path, bool]:
    """The further tables of a tree, each with whether it is the full one.

    Raises:
        ConfigError: If one exists, or two are the same.
    """
    asked = (("--summary", options.summary, False), ("--full-table", options.full_table, True))
    tables = {
        free_place(place, flag, overwrite=options.overwrite): full
        for flag, place, full in asked
        if place is not None
    }
    if save_loc in tables or len(tables) < sum(place is not None for _, place, _ in asked):
        msg = "--save-loc, --summary and --full-table must be different files"
        raise ConfigError(msg)
    return tables


def save_failures(failures: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The failed images, each galaxy once, also written as CSV; without any, an older file is removed."""
    failures = failures.drop_duplicates("id_str", ignore_index=True)
    if failures.empty:
        path.unlink(missing_ok=True)
    else:
        write_safely(path, csv_text(failures))
    return failures
