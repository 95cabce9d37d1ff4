"""Calibrate a trained tree model on labelled galaxies, and keep the factors in its checkpoint."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoobot.shared.calibration import Calibration, CalibrationObjective, fit_calibration
from zoobot.shared.checkpoint import read_checkpoint, write_checkpoint
from zoobot.shared.coverage import coverage_table
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import ConfigError
from zoobot.shared.tasks import TreeTask
from zoobot.workflow.galaxies import labelled_for, read_galaxies
from zoobot.workflow.labelled_predictions import predict_labelled
from zoobot.workflow.prediction import find_checkpoint
from zoobot.workflow.score_table import aligned, number

if TYPE_CHECKING:
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.config import CalibrateOptions, EngineOptions
    from zoobot.shared.engine import Engine

__all__ = ["CalibrateResult", "calibrate", "calibrate_model"]

logger = logging.getLogger(__name__)

_LEVEL = 0.9


@dataclass(frozen=True, kw_only=True)
class CalibrateResult:
    """What a calibration made.

    Args:
        checkpoint: The checkpoint that now holds the factors.
        calibration: The factors.
        table: Coverage of 90 % intervals before and after, question by question, as a text to read.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
    """

    checkpoint: Path
    calibration: Calibration
    table: str
    failures: pd.DataFrame


def calibrate(options: CalibrateOptions, *, command: str = "zoobot.workflow.calibrate") -> CalibrateResult:
    """Calibrate a checkpoint on labelled galaxies that it was not trained on; its predictions change.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for the checkpoint's record.

    Raises:
        ConfigError: If the model is none of a decision tree.
        ZoobotError: If the checkpoint or the catalog can't be used.
    """
    checkpoint = find_checkpoint(options.checkpoint)
    galaxies = read_galaxies(options.catalog, options, select=options.select)
    engine = load_engine(options.backend)
    model = engine.checkpoint.load(checkpoint)
    if not isinstance(model.task, TreeTask):
        msg = f"only models of a decision tree are calibrated, {checkpoint} is of a {model.task.kind} task"
        raise ConfigError(msg)
    galaxies = labelled_for(model.task, galaxies)
    facts = {"catalog": galaxies.name, "fingerprint": galaxies.fingerprint(), "command": command}
    return calibrate_model(
        engine, model, galaxies, checkpoint, options, objective=options.objective, facts=facts
    )


def calibrate_model(
    engine: Engine,
    model: Any,
    galaxies: Catalog,
    checkpoint: Path,
    options: EngineOptions,
    *,
    objective: CalibrationObjective,
    facts: dict[str, Any] | None = None,
) -> CalibrateResult:
    """Fit the factors of a tree model, give them to it, and write them into its checkpoint.

    Args:
        engine: The engine of the model.
        model: A trained tree model; an earlier calibration is replaced.
        galaxies: With votes; not trained on.
        checkpoint: The model's checkpoint.
        options: Batch size, threads, seed, progress.
        objective: What is fitted; see `zoobot.shared.calibration.fit_calibration`.
        facts: What else the checkpoint's record says of the calibration.
    """
    schema = model.task.schema
    model.head.set_calibration(np.ones(model.task.num_outputs))
    logger.info("Calibrating on %s galaxies", f"{len(galaxies):,}")
    found = predict_labelled(engine, [model], galaxies, options)
    predicted = found.samples[0]
    calibration = fit_calibration(predicted, found.labels, schema, objective=objective)
    model.head.set_calibration(calibration.factors)
    _keep(checkpoint, calibration, facts or {})
    before, after = (
        coverage_table(values, found.labels, schema, levels=(_LEVEL,))
        for values in (predicted, predicted * calibration.factors)
    )
    table = _table(calibration, before, after)
    return CalibrateResult(
        checkpoint=checkpoint, calibration=calibration, table=table, failures=found.failures
    )


def _keep(checkpoint: Path, calibration: Calibration, facts: dict[str, Any]) -> None:
    """Only the factors and the record change; weights stay bit for bit."""
    old = read_checkpoint(checkpoint)
    factors = calibration.factors.astype(old.head_tensors["linear.bias"].dtype)
    record = {**old.training, "calibration": {**calibration.to_config(), **facts}}
    tensors = {**old.head_tensors, "calibration": factors}
    write_checkpoint(checkpoint, replace(old, head_tensors=tensors, training=record))


def _table(calibration: Calibration, before: pd.DataFrame, after: pd.DataFrame) -> str:
    """A row for each question that anybody was asked."""
    rows = [["question", "galaxies", "factor", "before", "after"]]
    for position, factor in enumerate(calibration.by_question):
        if not calibration.n[position]:
            continue
        shares = (number(float(table["votes"][position])) for table in (before, after))
        n = f"{calibration.n[position]:,}"
        rows.append([before["question"][position], n, f"{factor:.2f}", *shares])
    heading = "Share of votes inside 90% intervals (randomised), before and after calibration"
    return "\n".join([heading, "", *aligned(rows)])
