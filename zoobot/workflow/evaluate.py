"""Score a model on labelled galaxies: numbers, a readable table, predictions, pictures."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoobot.certainty.bootstrap import Intervals, find_intervals, replicate
from zoobot.certainty.coverage import calibration_scorer
from zoobot.certainty.thresholds import Choices, choose_thresholds, threshold_table
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import CatalogError, CheckpointError
from zoobot.shared.files.spreadsheets import csv_text
from zoobot.shared.files.whole import write_safely
from zoobot.shared.html import escape
from zoobot.shared.metrics import join_scorers, score_once
from zoobot.shared.models.encoder_source import tell_pixels
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.pixels.first_images import read_otherwise
from zoobot.shared.predicting.members import shared_task
from zoobot.shared.tasks import ProbabilityTask
from zoobot.shared.training.taught import Acquaintance
from zoobot.workflow.account import facts_of_models
from zoobot.workflow.comparing import Comparison, Contest, compare_models, draw_differences
from zoobot.workflow.degrade import Holding, hold_against
from zoobot.workflow.galaxies import labelled_for, predict_labelled, read_galaxies
from zoobot.workflow.methods import write_methods
from zoobot.workflow.pictures import (
    COMPARISONS,
    attempt_picture,
    draw_comparison,
    draw_examples,
    draw_mistakes,
    figure_html,
)
from zoobot.workflow.predict import save_failures
from zoobot.workflow.reporting import Reported, failure_lines
from zoobot.workflow.run_folder import check_run_folder, open_run
from zoobot.workflow.scores import (
    Certainty,
    draws_for,
    every_scorer,
    judge_certainty,
    judge_intervals,
    score_table,
    threshold_pictures,
    threshold_section,
    with_interval,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoobot.options.evaluate import EvaluateOptions
    from zoobot.options.groups import ScoreOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.engine import Engine
    from zoobot.shared.metrics import Scorer
    from zoobot.shared.training.feature_loader import FeatureLoader

logger = logging.getLogger(__name__)

_WORK = "evaluate"

_PART_NAMES = {
    "test": "test galaxies, never seen in training",
    "val": "validation galaxies, which also chose the model",
    "catalog": "galaxies of the catalog",
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation(Reported):
    """How well a model predicts labelled galaxies.

    Args:
        scores: Every score by name; NaN where the galaxies can't tell.
        intervals: Those of the scores that have one, and how they were found.
        thresholds: Of each class, label or answer, those that reach a completeness and a purity.
        table: The scores as a text to read.
        galaxies: How many were scored.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
        save_dir: Where evaluation.json, evaluation.txt, predictions.parquet and the pictures are.
        holding: How far the model holds where images are worse, if that was asked.
        comparisons: With other models, where these were asked for.
        pictures: What draws each picture, by the name of its file.
    """

    scores: dict[str, float]
    intervals: Intervals
    thresholds: Sequence[Choices]
    table: str
    galaxies: int
    failures: pd.DataFrame
    save_dir: Path
    holding: Holding | None = None
    comparisons: tuple[Comparison, ...] = ()
    pictures: Mapping[str, Callable[..., Figure]] = field(default_factory=dict, compare=False)

    def scores_for_json(self) -> dict[str, float | None]:
        """The scores with None for NaN, which JSON does not have."""
        return {name: None if math.isnan(value) else value for name, value in self.scores.items()}

    def _repr_html_(self) -> str:
        shown = [name for name in self.pictures if name in (*COMPARISONS.values(), "predictions")]
        drawn = (figure_html(self.pictures[name]) for name in shown)
        return f"<pre>{escape(self.table)}</pre>{''.join(drawn)}"

    def report(self) -> str:
        """What came out, as a text to read."""
        failed = failure_lines(self.failures, self.save_dir / "failures.csv")
        held = [] if self.holding is None else [self.holding.report(), ""]
        return "\n".join(
            ["", self.table, "", *held, *failed, f"Scores, predictions and pictures are in {self.save_dir}"]
        )


def evaluate(options: EvaluateOptions, *, command: str = "zoobot.workflow.evaluate") -> Evaluation:
    """Score a model, or the mixture of several, on a labelled catalog and leave a folder of results.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: If the checkpoint or the catalog can't be used, or the folder is occupied.
    """
    folder = Path(options.save_dir).expanduser()
    check_run_folder(folder, _WORK, overwrite=options.overwrite)
    places = [find_checkpoint(place) for place in (options.checkpoint, *options.ensemble)]
    rival_places = {place: find_checkpoint(place) for place in options.compare}
    galaxies = read_galaxies(options.catalog, options, select=options.select)
    engine = load_engine(options.backend)
    models = [engine.checkpoint.load(place) for place in places]
    rivals = {name: engine.checkpoint.load(place) for name, place in rival_places.items()}
    every = [*models, *rivals.values()]
    for model in every:
        read_otherwise(model, options.image_changes())
    task = shared_task([model.task for model in models])
    shared_task([task, *(rival.task for rival in rivals.values())], of="a comparison")
    galaxies = labelled_for(task, galaxies, options)
    galaxies = _strangers_to(every, galaxies, exclude=options.exclude_trained)
    draws_for(galaxies, options)
    tell_pixels(*every)
    record = open_run(folder, _WORK, options, command=command)
    with record.running():
        record.update(data={"catalog": galaxies.record()}, models=facts_of_models(places, models))
        evaluation = evaluate_models(
            engine,
            models,
            galaxies,
            folder,
            options,
            part="catalog",
            n_samples=options.n_samples,
            contest=Contest(" + ".join((options.checkpoint, *options.ensemble)), rivals) if rivals else None,
        )
        record.update(scores=evaluation.scores_for_json(), intervals=evaluation.intervals.to_config())
        if options.degrade:
            holding = hold_against(engine, models, galaxies, folder, options)
            pictures = {**evaluation.pictures, **holding.pictures}
            evaluation = replace(evaluation, holding=holding, pictures=pictures)
        if evaluation.comparisons:
            record.update(comparisons=[each.to_config() for each in evaluation.comparisons])
    write_methods(folder)
    return evaluation


def _strangers_to(models: Sequence[Any], galaxies: Catalog, *, exclude: bool) -> Catalog:
    """The galaxies, without those that taught one of the models if these are to be left out; say it.

    Raises:
        CheckpointError: If they are, and a checkpoint does not say which they are.
        CatalogError: If none would be left.
    """
    seen = Acquaintance.of([model.taught_by for model in models], galaxies.ids)
    if not exclude:
        if seen.met.any():
            logger.warning(
                "%s: their scores say little of new ones; --exclude-trained leaves them out", seen.sentence()
            )
        return galaxies
    if not seen.is_known:
        raise CheckpointError(
            "--exclude-trained needs checkpoints that say which galaxies taught them, but "
            f"{sum(model.taught_by is None for model in models)} of {len(models)} do not: it was written by "
            "an earlier version, or taught by hand. Leave them out of the catalog yourself, or with --select"
        )
    if seen.met.all():
        raise CatalogError(f"--exclude-trained leaves no galaxy of {galaxies.name}: {seen.sentence()}")
    if seen.met.any():
        logger.info("Left out: %s", seen.sentence())
    return galaxies.select(~seen.met)


def evaluate_models(
    engine: Engine,
    models: Sequence[Any],
    galaxies: Catalog,
    folder: Path,
    options: ScoreOptions,
    *,
    part: str,
    n_samples: int = 1,
    failures: pd.DataFrame | None = None,
    held_out: Mapping[str, np.ndarray] | None = None,
    encoded: FeatureLoader | None = None,
    contest: Contest | None = None,
) -> Evaluation:
    """Predict labelled galaxies, score the predictions, and write both with pictures into `folder`.

    Args:
        engine: The engine of the model.
        models: Trained models of one task: one, or the members of an ensemble.
        galaxies: With the labels of that task.
        folder: Where everything goes.
        options: Batch size, threads, seed, progress; formats of pictures; how intervals are found.
        part: "test", "val" or "catalog": what the galaxies are, for the reader.
        n_samples: More than 1 samples each model's dropout.
        failures: Images that failed before, in training, to be listed too.
        held_out: Where one model was calibrated on these galaxies: what it predicts for each, by id,
            calibrated by the others alone. These are scored; what is written are the model's own predictions.
        encoded: The galaxies' features, where training has them, for one model and one sample.
        contest: Other models of the task, to compare with.
    """
    logger.info("Evaluating on %s %s", f"{len(galaxies):,}", _PART_NAMES[part])
    save_loc = folder / "predictions.parquet"
    found = predict_labelled(
        engine, models, galaxies, options, n_samples=n_samples, save_loc=save_loc, encoded=encoded
    )
    task, scored, labels = models[0].task, found.galaxies, found.labels
    predicted = task.mix(found.samples)
    if held_out is not None:
        rows = zip(scored.ids, predicted, strict=True)
        predicted = np.stack([held_out.get(galaxy, own) for galaxy, own in rows])
    certainty = judge_certainty(task, predicted, labels)
    scorer, draws = _scorer(models, found.samples, predicted, labels), draws_for(scored, options)
    scores = score_once(scorer, len(scored))
    intervals = find_intervals(scores, replicate(scorer, draws), draws, group_name=options.group_col)
    promised = judge_intervals(models, predicted, labels, part=part, n_samples=n_samples)
    scores |= promised.scores
    all_failures = pd.concat([found.failures, failures]) if failures is not None else found.failures
    heading = f"{len(scored):,} {_PART_NAMES[part]}{_mixed(len(models), n_samples)}"
    heading += _viewed([model.preprocessing.views for model in models])
    seen = Acquaintance.of([model.taught_by for model in models], scored.ids) if part == "catalog" else None
    if seen is not None:
        heading += f"\n{seen.sentence()}"
    heading += "" if held_out is None else ";\neach is scored by the calibration of the others"
    heading += f"\n{intervals.sentence()}" if intervals.ends else ""
    expected = task.expect(predicted)
    told = {"truth_threshold": options.truth_threshold, "truth_votes": options.truth_votes}
    reach = {"completeness": options.at_completeness, "purity": options.at_purity}
    choices = choose_thresholds(task.decisions(expected, labels, **told), draws, **reach)
    table = score_table(task, scores, heading=heading, intervals=intervals.ends)
    texts = [table, *(text(intervals.ends) for text in certainty.tables)]
    texts += [threshold_section(task, choices, options)] if choices else []
    texts += promised.sections
    evaluation = Evaluation(
        scores=scores,
        intervals=intervals,
        thresholds=choices,
        table="\n\n".join(texts),
        galaxies=len(scored),
        failures=save_failures(all_failures, folder / "failures.csv"),
        save_dir=folder,
    )
    _write(evaluation, certainty, task.kind, part, folder, seen, reached=told | reach)
    said = {
        name: " ".join(with_interval(value, intervals.of(name))).strip() for name, value in scores.items()
    }
    pictures: dict[str, Callable[..., Figure]] = {
        COMPARISONS[task.predicts]: partial(
            draw_comparison, task, expected, labels, concentrations=predicted, said=said
        ),
        **certainty.pictures(task, predicted, labels, said),
        **threshold_pictures(task, choices, intervals.ends),
        **_galleries(models[0], scored, expected, labels, options),
    }
    for name, draw in pictures.items():
        attempt_picture(folder / name, options.figures, draw)
    evaluation = replace(evaluation, pictures=pictures)
    if contest is None:
        return evaluation
    compared = compare_models(engine, contest, predicted, scored, folder, options, n_samples)
    texts = [evaluation.table, *(comparison.text(task) for comparison in compared)]
    pictures["comparison"] = partial(draw_differences, task, compared)
    return replace(evaluation, comparisons=compared, pictures=pictures, table="\n\n".join(texts))


def _galleries(
    model: Any, galaxies: Catalog, expected: np.ndarray, labels: np.ndarray, options: ScoreOptions
) -> dict[str, Callable[..., Figure]]:
    """What draws galaxies with their predictions: some of them, and the surest mistakes."""
    task, seen_as = model.task, model.preprocessing
    pictures: dict[str, Callable[..., Figure]] = {
        "predictions": partial(draw_examples, task, seen_as, galaxies, expected, seed=options.seed)
    }
    mistakes = task.mistakes(expected, labels, truth_votes=options.truth_votes)
    if (mistakes.size > 0).any():
        pictures["mistakes"] = partial(draw_mistakes, task, seen_as, galaxies, expected, mistakes)
    return pictures


def _scorer(models: Sequence[Any], samples: np.ndarray, predicted: np.ndarray, labels: np.ndarray) -> Scorer:
    """What gives every score of weighted galaxies, that of the predictions without calibration, too."""
    task = models[0].task
    scorers = [every_scorer(task, predicted, labels)]
    uncalibrated = _without_calibration(models, samples)
    if uncalibrated is not None:
        before = calibration_scorer(task, uncalibrated, labels)
        scorers.append(lambda weights: {"ece_uncalibrated": before(weights)["ece"]})
    return join_scorers(scorers)


def _without_calibration(models: Sequence[Any], samples: np.ndarray) -> np.ndarray | None:
    """What models of classes or labels would predict without their calibration; None if they have none.

    Args:
        models: Trained models of one task.
        samples: What they predict, (samples, galaxies, outputs): all samples of the first model come first.
    """
    task = models[0].task
    if not isinstance(task, ProbabilityTask):
        return None
    factors = [model.head.get_calibration() for model in models]
    if all((factor == 1).all() for factor in factors):
        return None
    of_models = zip(np.split(samples, len(models)), factors, strict=True)
    return task.mix(np.concatenate([task.sharpen(own, 1 / factor) for own, factor in of_models]))


def _mixed(n_models: int, n_samples: int) -> str:
    """How predictions were made, for the reader, where that is more than one by one."""
    samples = f"{n_samples} dropout samples" if n_samples > 1 else ""
    if n_models == 1:
        return f", by the equal mixture of {samples}" if samples else ""
    return f", by the equal mixture of {n_models} models" + (f" with {samples} each" if samples else "")


def _viewed(views: Sequence[int]) -> str:
    """How many views the models looked at, for the reader, where that is more than one."""
    if set(views) == {1}:
        return ""
    return f"; of each image {' or '.join(str(number) for number in sorted(set(views)))} views"


def _write(
    evaluation: Evaluation,
    certainty: Certainty,
    kind: str,
    part: str,
    folder: Path,
    seen: Acquaintance | None,
    *,
    reached: Mapping[str, Any],
) -> None:
    content: dict[str, Any] = {
        "task": kind,
        "part": part,
        "galaxies": evaluation.galaxies,
        "failures": len(evaluation.failures),
        "scores": evaluation.scores_for_json(),
        "intervals": evaluation.intervals.to_config(),
        "thresholds": {
            **reached,
            "of": {each.decision.name: each.to_config() for each in evaluation.thresholds},
        },
        "tables": certainty.to_config(),
    }
    if seen is not None:
        content["trained_on"] = int(seen.trained.sum()) if seen.is_known else None
        content["validated_on"] = int(seen.validated.sum()) if seen.is_known else None
    write_safely(folder / "evaluation.json", json.dumps(content, indent=2) + "\n")
    write_safely(folder / "evaluation.txt", evaluation.table + "\n")
    if evaluation.thresholds:
        table = threshold_table([each.decision for each in evaluation.thresholds])
        write_safely(folder / "thresholds.csv", csv_text(table, float_format="%.6g"))
