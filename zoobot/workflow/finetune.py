"""The guided training runs: catalog in; model, scores, predictions, pictures and a record out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd

from zoobot.options.finetune import FinetuneOptions
from zoobot.options.train import TrainOptions
from zoobot.shared.checkpoint import read_config
from zoobot.shared.counting_bar import duration
from zoobot.shared.engine import DEFAULT_ENGINE, load_engine
from zoobot.shared.processes import expect_processes, is_first_process
from zoobot.shared.training.epochs import EpochLog
from zoobot.workflow.building import build_galaxies, build_model, build_trainer, read_labelled
from zoobot.workflow.calibrate import calibrate_model
from zoobot.workflow.evaluate import Evaluation, evaluate_models
from zoobot.workflow.methods import write_methods
from zoobot.workflow.pictures import attempt_picture, draw_training_curves
from zoobot.workflow.reporting import Reported, backend_words, failure_lines, quoted
from zoobot.workflow.run_folder import (
    check_run_folder,
    check_same_data,
    encoder_hash,
    open_run,
    unfinished_run,
)
from zoobot.workflow.scores import draws_for
from zoobot.workflow.starting import tell_what_starts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoobot.shared.engine import Engine, Model, Trainer
    from zoobot.shared.galaxy_data import GalaxyData
    from zoobot.workflow.run_folder import RunRecord

logger = logging.getLogger(__name__)

AnyOptions: TypeAlias = FinetuneOptions | TrainOptions


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainingResult(Reported):
    """What a run of `finetune` or `train` made.

    Args:
        save_dir: The run's folder.
        checkpoint: The best model, which either engine loads.
        evaluation: Its scores, on the test galaxies where there are any, else on the validation galaxies.
        epochs: Epochs trained, all parts of a resumed run together; 0 where the best head was found at once.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
        seconds: How long this part of the run took.
        work: "finetune" or "train".
        backend: The engine that it ran on.
        figures: What its pictures are written as.
        pictures: What draws each picture, by the name of its file.
    """

    save_dir: Path
    checkpoint: Path
    evaluation: Evaluation
    epochs: int
    failures: pd.DataFrame
    seconds: float
    work: str = "finetune"
    backend: str = DEFAULT_ENGINE
    figures: tuple[str, ...] = ("png",)
    pictures: Mapping[str, Callable[..., Figure]] = field(default_factory=dict, compare=False)

    def report(self) -> str:
        """What came out, as a text to read."""
        folder, backend = self.save_dir, backend_words(self.backend)
        pictures = ", ".join(f"*.{kind}" for kind in self.figures)
        trained = f"{self.epochs} epochs" if self.epochs else "The best head"
        lines = ["", self.evaluation.table, "", *failure_lines(self.failures, folder / "failures.csv")]
        lines += [
            f"{trained} in {duration(self.seconds)}. In {folder}:",
            "  checkpoint/           the best model",
            "  evaluation.json       every score with its interval; evaluation.txt the table above",
            "  predictions.parquet   predictions for the galaxies it was scored on",
            f"  {pictures:<20}  training curves, example galaxies, predictions against labels",
            "  metrics.csv, run.json the epochs, and the record of the run",
            "  methods.md            what was done, for a paper; references.bib whom to cite",
            "",
            "Next: predict new galaxies",
            f"  zoobot predict {quoted(folder)} --catalog NEW.csv --save-loc {quoted(folder / 'new.parquet')}"
            f"{backend}",
        ]
        if self.work == "train":
            lines.append("or finetune it to labels of your own")
            lines.append(
                f"  zoobot finetune --encoder {quoted(folder)}{backend} --catalog MINE.csv --labels …"
            )
        return "\n".join(lines)


def finetune(options: FinetuneOptions, *, command: str = "zoobot.workflow.finetune") -> TrainingResult | None:
    """Finetune a pretrained encoder on labelled galaxies, score it, and leave a folder of results.

    The folder holds `checkpoint/` (the best model), `metrics.csv` (by epoch), `evaluation.json` and
    `evaluation.txt`, `predictions.parquet`, pictures, `failures.csv` if an image failed, `run.json`, and, for
    a paper, `methods.md` and `references.bib`.

    Args:
        options: Everything that can be chosen. With `resume`, an unfinished run in `save_dir` goes on.
        command: How the run was started, for its record.

    Returns:
        Where things are, and the scores. None in the further processes of a run on many devices, which only
        help to train.

    Raises:
        ZoobotError: Before training, for anything that can be known before: options that can't work, a folder
            that is occupied, a catalog, labels or an encoder that can't be used.
    """
    return learn("finetune", options, command)


def learn(work: str, options: AnyOptions, command: str) -> TrainingResult | None:
    """What `finetune` and `train` do; `work` says which."""
    start = time.monotonic()
    folder = Path(options.save_dir).expanduser()
    expect_processes(options.devices, options.num_nodes)
    is_first = is_first_process()
    if is_first:
        check_run_folder(folder, work, resume=options.resume, overwrite=options.overwrite)
    before = unfinished_run(work, options, folder) if options.resume and is_first else None
    labelled = read_labelled(options)
    engine = load_engine(options.backend)
    trainer = build_trainer(engine, options)  # first of all: it may tell the framework of many machines
    galaxies = build_galaxies(engine, options, labelled)
    galaxies.check_batch_size(trainer.world_size)
    galaxies.setup()
    model = build_model(engine, options, labelled)
    galaxies.meet(model.task)
    galaxies.settle(model)
    if model.encoder.norms_learn:
        galaxies.refuse_batches_of_one(trainer.world_size)
    if not is_first:
        _help_to_train(trainer, options, model, galaxies)
        return None
    draws_for(galaxies.galaxies[_scored_part(galaxies)], options)
    if before is not None:
        check_same_data(before, galaxies.record())
    record = open_run(
        folder, work, options, command=command, resume=options.resume, encoder_sha256=encoder_hash(options)
    )
    with record.running():
        record.update(data=galaxies.record())
        if not record.content.get("trained"):
            record.update(told=tell_what_starts(options, trainer, model, galaxies, folder))
        model = _train(engine, trainer, options, model, galaxies, record)
        result = _report(engine, options, model, galaxies, record, start)
    write_methods(folder)
    return result


def _report(
    engine: Engine, options: AnyOptions, model: Model, galaxies: GalaxyData, record: RunRecord, start: float
) -> TrainingResult:
    """Calibrate the trained model, score it, and draw how it learned."""
    folder = record.path.parent
    held_out = None
    if options.calibrate:
        calibrated = calibrate_model(
            engine,
            model,
            galaxies.val_galaxies,
            folder / "checkpoint",
            options,
            objective=options.calibration_objective,
            encoded=galaxies.encoded("val"),
        )
        if calibrated.calibration is not None:
            record.update(calibration=calibrated.calibration.to_config())
            if (calibrated.calibration.factors != 1).any():
                held_out = calibrated.held_out
    log = EpochLog(folder / "metrics.csv").read()
    draw_curves = partial(draw_training_curves, log, model.task)
    attempt_picture(folder / "training_curves", options.figures, draw_curves)
    part = _scored_part(galaxies)
    evaluation = evaluate_models(
        engine,
        [model],
        galaxies.galaxies[part],
        folder,
        options,
        part=part,
        failures=galaxies.failures,
        held_out=held_out if part == "val" else None,
        encoded=galaxies.encoded(part),
    )
    galaxies.keep_split(folder, evaluation.failures)
    epochs = int((log["step"] > 0).sum())
    record.update(
        epochs=epochs,
        scores=evaluation.scores_for_json(),
        intervals=evaluation.intervals.to_config(),
    )
    return TrainingResult(
        save_dir=folder,
        checkpoint=folder / "checkpoint",
        evaluation=evaluation,
        epochs=epochs,
        failures=evaluation.failures,
        seconds=time.monotonic() - start,
        work=record.content["work"],
        backend=options.backend,
        figures=options.figures,
        pictures={"training_curves": draw_curves, **evaluation.pictures},
    )


def _scored_part(galaxies: GalaxyData) -> str:
    """Which galaxies are scored: those kept for it, or else those that validate."""
    return "test" if "test" in galaxies.galaxies else "val"


def _train(
    engine: Engine,
    trainer: Trainer,
    options: AnyOptions,
    model: Model,
    galaxies: GalaxyData,
    record: RunRecord,
) -> Model:
    """The best model; training goes on where a killed run stopped, or is left out if it was complete."""
    folder = record.path.parent
    if record.content.get("trained"):
        logger.info("Training was finished before; taking up its best model")
        return engine.checkpoint.load(folder / "checkpoint")
    last = _last_checkpoint(options)
    if last is not None:
        logger.info("Going on from last.ckpt")
    trainer.fit(model, galaxies, ckpt_path=last)
    record.update(trained=True)
    _tell_best(folder)
    return model


def _tell_best(folder: Path) -> None:
    """Say which epoch the model is of that was kept."""
    kept = read_config(folder / "checkpoint")["zoobot"]["training"]
    log = EpochLog(folder / "metrics.csv").read()
    if not (log["step"] > 0).any():
        return  # without epochs there was no choice
    if kept["epoch"]:
        logger.info("The best of %d epochs was epoch %d: its model is kept", len(log), kept["epoch"])
    else:
        logger.info("None of %d epochs was better than the head that was found before them", len(log))


def _help_to_train(trainer: Trainer, options: AnyOptions, model: Model, galaxies: GalaxyData) -> None:
    """Train in step with the first process, which keeps the folder and the scores."""
    trainer.fit(model, galaxies, ckpt_path=_last_checkpoint(options))


def _last_checkpoint(options: AnyOptions) -> str | None:
    """What a trainer is to go on from: "last" where there is a last.ckpt to resume from."""
    there = (Path(options.save_dir).expanduser() / "last.ckpt").exists()
    return "last" if options.resume and there else None
