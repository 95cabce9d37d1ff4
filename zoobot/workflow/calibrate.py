"""Calibrate a trained model on labelled galaxies, and keep factors and errors in its checkpoint."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from zoobot.certainty.calibration import Calibration, CalibrationObjective, fit_calibration
from zoobot.certainty.coverage import coverage_table, expected_calibration_error, reliability_curves
from zoobot.certainty.temperature import Temperature, fit_temperature
from zoobot.shared.checkpoint import read_checkpoint, refuse_other_content, write_checkpoint
from zoobot.shared.conformal import Conformal, fit_conformal
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import ConfigError
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.pixels.first_images import read_otherwise
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.training.taught import Acquaintance
from zoobot.workflow.galaxies import labelled_for, predict_labelled, read_galaxies
from zoobot.workflow.methods import METHODS_FILE, write_methods
from zoobot.workflow.reporting import Reported
from zoobot.workflow.scores import aligned, number, size_section

if TYPE_CHECKING:
    from zoobot.options.calibrate import CalibrateOptions
    from zoobot.options.groups import EngineOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.engine import Engine, Model
    from zoobot.shared.tasks import ProbabilityTask, Task
    from zoobot.shared.training.feature_loader import FeatureLoader

logger = logging.getLogger(__name__)

_LEVEL = 0.9


@dataclass(frozen=True, kw_only=True, repr=False)
class CalibrateResult(Reported):
    """What a calibration made.

    Args:
        checkpoint: The checkpoint that now holds them.
        calibration: The factors; None for numbers, which have none.
        conformal: The errors, by which predictions get intervals.
        table: Before and after, as a text to read: coverage of 90 % intervals of each question of a tree,
            calibration error and loss of classes and labels. After is by factors fitted on other galaxies.
            And how wide intervals, or how large sets, are.
        held_out: What the model predicts for each galaxy, by id, (outputs,), calibrated by the others alone.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
    """

    checkpoint: Path
    calibration: Calibration | Temperature | None
    conformal: Conformal
    table: str
    held_out: dict[str, np.ndarray]
    failures: pd.DataFrame

    def report(self) -> str:
        """What came out, as a text to read."""
        lines = [
            "",
            self.table,
            "",
            f"It is kept in {self.checkpoint}: its predictions are calibrated now",
        ]
        if len(self.failures):
            lines.append(f"{len(self.failures):,} images could not be read")
        return "\n".join(lines)


def calibrate(options: CalibrateOptions, *, command: str = "zoobot.workflow.calibrate") -> CalibrateResult:
    """Calibrate a checkpoint on labelled galaxies that it was not trained on; its predictions change.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for the checkpoint's record.

    Raises:
        ConfigError: If the objective is not for its task.
        CheckpointError: If the checkpoint's folder holds other files too, as that of a bundled model does.
        ZoobotError: If the checkpoint or the catalog can't be used.
    """
    checkpoint = find_checkpoint(options.checkpoint)
    refuse_other_content(checkpoint)  # it is written anew at the end
    galaxies = read_galaxies(options.catalog, options, select=options.select)
    engine = load_engine(options.backend)
    model = engine.checkpoint.load(checkpoint)
    read_otherwise(model, options.image_changes())
    _check(model.task, options.objective)
    galaxies = labelled_for(model.task, galaxies)
    seen = Acquaintance.of([model.taught_by], galaxies.ids)
    if seen.trained.any():
        logger.warning("%s: on those it is surer than on new ones", seen.sentence())
    facts = {"catalog": galaxies.name, "fingerprint": galaxies.fingerprint(), "command": command}
    result = calibrate_model(
        engine, model, galaxies, checkpoint, options, objective=options.objective, facts=facts
    )
    if (checkpoint.parent / METHODS_FILE).is_file() and checkpoint.name == "checkpoint":
        write_methods(checkpoint.parent)  # they tell of the calibration
    return result


def _check(task: Task, objective: CalibrationObjective) -> None:
    if objective == "coverage" and task.tree is None:
        raise ConfigError(f"--objective coverage is for trees; this model is of a {task.kind} task")


def calibrate_model(
    engine: Engine,
    model: Model,
    galaxies: Catalog,
    checkpoint: Path,
    options: EngineOptions,
    *,
    objective: CalibrationObjective,
    facts: dict[str, Any] | None = None,
    encoded: FeatureLoader | None = None,
) -> CalibrateResult:
    """Fit the factors of a model, learn its errors, give both to it, and write them into its checkpoint.

    Args:
        engine: The engine of the model.
        model: A trained model; an earlier calibration is replaced.
        galaxies: With labels; not trained on.
        checkpoint: The model's checkpoint.
        options: Batch size, threads, seed, progress.
        objective: What is fitted of a tree; see `zoobot.certainty.calibration.fit_calibration`.
        facts: What else the checkpoint's record says of the calibration.
        encoded: The galaxies' features, where training has them.
    """
    task = model.task
    if task.num_factors:
        model.head.set_calibration(np.ones(task.num_factors))
    logger.info("Calibrating on %s galaxies", f"{len(galaxies):,}")
    found = predict_labelled(engine, [model], galaxies, options, encoded=encoded)
    predicted, labels = found.samples[0], found.labels
    ids = found.galaxies.ids
    calibration = _fit(task, predicted, labels, objective, ids=list(ids), seed=options.seed)
    sections, held_out, final = [], predicted, predicted
    if calibration is not None:
        model.head.set_calibration(calibration.factors)
        tabulate = _coverage_rows if isinstance(calibration, Calibration) else _error_rows
        held_out, final = calibration.apply_held_out(predicted), calibration.apply(predicted)
        heading, rows = tabulate(calibration, predicted, held_out, labels)
        sections.append("\n".join([heading, *_notes(calibration), "", *aligned(rows)]))
    factors = () if calibration is None else tuple(calibration.factors)
    model.conformal = fit_conformal(task, final, labels, model.preprocessing, factors=factors)
    _keep(checkpoint, calibration, model.conformal, facts or {}, views=model.preprocessing.views)
    sections.append(size_section(task, model.conformal, final))
    return CalibrateResult(
        checkpoint=checkpoint,
        calibration=calibration,
        conformal=model.conformal,
        table="\n\n".join(sections),
        held_out=dict(zip(ids, held_out, strict=True)),
        failures=found.failures,
    )


def _fit(
    task: Task, predicted: np.ndarray, labels: np.ndarray, objective: CalibrationObjective, **chance: Any
) -> Calibration | Temperature | None:
    if not task.num_factors:
        return None
    if task.tree is not None:
        return fit_calibration(predicted, labels, task.tree, objective=objective, **chance)
    return fit_temperature(cast("ProbabilityTask", task), predicted, labels, **chance)


def _notes(calibration: Calibration | Temperature) -> list[str]:
    """How the numbers were measured, and what it means that a factor is 1."""
    lines = ["(after: each galaxy is judged by the calibration of others, never by its own)"]
    factors = calibration.by_question if isinstance(calibration, Calibration) else calibration.factors
    if any(factor == 1 for factor in factors):
        name = "factor" if isinstance(calibration, Calibration) else "temperature"
        lines.append(
            f"A {name} of exactly 1 was kept: too few galaxies, or calibration foretells none better"
        )
    return lines


def _keep(
    checkpoint: Path,
    calibration: Calibration | Temperature | None,
    conformal: Conformal,
    facts: dict[str, Any],
    *,
    views: int,
) -> None:
    """Only the factors, the errors and the record change; weights stay bit for bit.

    Factors hold for the views that they were fitted with, so that predictions are to look at as many.
    """
    old = read_checkpoint(checkpoint)
    pixels = Preprocessing.from_config(old.preprocessing or {})
    if pixels.views != views:
        logger.info("The checkpoint now looks at %s views of each image, not %s", views, pixels.views)
    record, tensors = dict(old.training), dict(old.head_tensors)
    if calibration is not None:
        tensors["calibration"] = calibration.factors.astype(old.head_tensors["linear.bias"].dtype)
        record["calibration"] = {**calibration.to_config(), **facts}
    else:
        record["calibration"] = facts
    pixels = replace(pixels, views=views)
    changes: dict[str, Any] = {"preprocessing": pixels.to_config()} if old.preprocessing else {}
    changes["conformal"] = conformal.to_config()
    write_checkpoint(checkpoint, replace(old, head_tensors=tensors, training=record, **changes))


def _coverage_rows(
    calibration: Any, before: np.ndarray, after: np.ndarray, labels: np.ndarray
) -> tuple[str, list[list[str]]]:
    """A heading, and a row for each question that anybody was asked."""
    tables = [
        coverage_table(values, labels, calibration.schema, levels=(_LEVEL,)) for values in (before, after)
    ]
    rows = [["question", "galaxies", "factor", "before", "after"]]
    for position, factor in enumerate(calibration.by_question):
        if not calibration.n[position]:
            continue
        shares = (number(float(table["votes"][position])) for table in tables)
        n = f"{calibration.n[position]:,}"
        rows.append([tables[0]["question"][position], n, _short(factor), *shares])
    return "Share of votes inside 90% intervals (randomised), before and after calibration", rows


def _error_rows(
    calibration: Any, before: np.ndarray, after: np.ndarray, labels: np.ndarray
) -> tuple[str, list[list[str]]]:
    """A heading, and a row for all classes, or for each label."""
    task = calibration.task
    errors = [
        [expected_calibration_error(curve) for curve in reliability_curves(task, values, labels).values()]
        for values in (before, after)
    ]
    losses = [np.nanmean(task.label_losses(values, labels), axis=0) for values in (before, after)]
    rows = [["", "galaxies", "temperature", "error before", "after", "loss before", "after"]]
    for place, name in enumerate(calibration.names):
        pairs = (number(float(values[place])) for values in (*errors, *losses))
        n, temperature = f"{calibration.n[place]:,}", _short(1 / calibration.factors[place])
        rows.append([name, n, temperature, *pairs])
    return "Expected calibration error, and loss (nats a galaxy), before and after calibration", rows


def _short(factor: float) -> str:
    """Two decimals; exactly 1 is told from what is rounded to it."""
    return "1" if factor == 1 else f"{factor:.2f}"
