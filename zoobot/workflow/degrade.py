"""How far a model holds: the same galaxies scored again, with images made worse step by step."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoobot import plots
from zoobot.certainty.bootstrap import Interval, find_intervals, replicate
from zoobot.certainty.coverage import calibration_scorer, coverage_scorer
from zoobot.shared.augment import make_view
from zoobot.shared.counting_bar import duration
from zoobot.shared.errors import ImageError
from zoobot.shared.files.spreadsheets import csv_text
from zoobot.shared.files.whole import write_safely
from zoobot.shared.metrics import join_scorers, mean_of_defined, ratio, score_once
from zoobot.shared.pixels.degraded import KINDS, Degradation
from zoobot.shared.pixels.first_images import with_reading
from zoobot.shared.pixels.images import read_image
from zoobot.workflow.galaxies import LabelledPredictions, predict_labelled
from zoobot.workflow.pictures import attempt_picture
from zoobot.workflow.reporting import Reported
from zoobot.workflow.scores import aligned, draws_for, with_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from zoobot.options.evaluate import EvaluateOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.conformal import Conformal
    from zoobot.shared.engine import Engine
    from zoobot.shared.metrics import Scorer
    from zoobot.shared.preprocessing import Preprocessing
    from zoobot.shared.schemas import Schema
    from zoobot.shared.tasks import Task

logger = logging.getLogger("zoobot")

#: What stands for images as they are, in tables.
PLAIN = "none"
_COVERAGE, _HELD, _LEVEL = "coverage_90", "held_90", 0.9
_EXAMPLES = 2


@dataclass(frozen=True, kw_only=True, repr=False)
class Holding(Reported):
    """How far a model holds where images are worse.

    Args:
        table: A row for each score at each step: `kind` ("none" of images as they are), `step`, `name` of the
            score, `score`, `low` and `high` (its interval), `n` galaxies.
        names: The scores in words, by name: the task's main score first, then how far it knows its errors.
        pictures: What draws each picture, by the name of its file.
    """

    table: pd.DataFrame
    names: dict[str, str]
    pictures: Mapping[str, Callable[..., Figure]] = field(default_factory=dict, compare=False)

    def report(self) -> str:
        """A line for each step, as a text to read."""
        rows = [["images", *(head for words in self.names.values() for head in (words, ""))]]
        for (kind, step), part in self.table.groupby(["kind", "step"], sort=False, dropna=False):
            scores = part.set_index("name")
            cells = [_cells(scores.loc[name]) for name in self.names]
            what = "as they are" if kind == PLAIN else f"{kind} {step:g}"
            rows.append([what, *(cell for pair in cells for cell in pair)])
        return "\n".join(["How far the model holds where images are worse", "", *aligned(rows)])


def _cells(row: pd.Series) -> list[str]:
    ends = Interval(row["low"], row["high"]) if np.isfinite(row["low"]) else None
    return with_interval(row["score"], ends)


def hold_against(
    engine: Engine, models: Sequence[Any], galaxies: Catalog, folder: Path, options: EvaluateOptions
) -> Holding:
    """Score models on galaxies whose images are made worse, and write curves and pictures into `folder`.

    It gets degradation.csv, degradation.json, and the pictures degradation and degraded_examples. Each step
    is one more prediction of all galaxies, which is said first.

    Args:
        engine: The engine of the models.
        models: Trained models of one task: one, or the members of an ensemble.
        galaxies: With the labels of that task.
        folder: Where everything goes.
        options: What is done to the images, and how predictions are made.

    Raises:
        ImageError: If not one image could be read.
    """
    ways = options.degradations(options.seed)
    told = "; ".join(f"{kind} {_steps_in_words(ways, kind)}" for kind in options.degrade)
    count, images = f"{len(ways) + 1:,}", f"{(len(ways) + 1) * len(galaxies):,}"
    logger.info("Images as they are, then worse (%s): %s predictions, %s images", told, count, images)
    task, began = models[0].task, time.monotonic()
    rows: list[dict[str, Any]] = []
    for done, way in enumerate([None, *ways]):
        rows += _score(models, _predict(engine, models, galaxies, options, way), way, options)
        if done == 0:
            left = duration((time.monotonic() - began) * len(ways))
            logger.info("The %s predictions of worse images will take about %s", f"{len(ways):,}", left)
    names = score_names(task, known_errors(models, n_samples=options.n_samples))
    holding = Holding(table=pd.DataFrame(rows), names=names)
    _write(holding, ways, folder, options)
    scale = models[0].preprocessing.pixel_scale_arcsec
    axes: dict[str, str] = {kind: _axis(kind, scale) for kind in options.degrade}
    curves = partial(plots.degradation_curves, holding.table, names=holding.names, axes=axes)
    examples = partial(draw_degraded, models[0].preprocessing, galaxies, ways, seed=options.seed)
    pictures = {"degradation": curves, "degraded_examples": examples}
    for name, draw in pictures.items():
        attempt_picture(folder / name, options.figures, draw)
    return replace(holding, pictures=pictures)


def _predict(
    engine: Engine,
    models: Sequence[Any],
    galaxies: Catalog,
    options: EvaluateOptions,
    way: Degradation | None,
) -> LabelledPredictions:
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(with_reading(model, {"degraded": way}))
        return predict_labelled(engine, models, galaxies, options, n_samples=options.n_samples)


def _score(
    models: Sequence[Any], found: LabelledPredictions, way: Degradation | None, options: EvaluateOptions
) -> Iterator[dict[str, Any]]:
    """A row of the table for each score."""
    task: Task = models[0].task
    conformal = known_errors(models, n_samples=options.n_samples)
    names, draws = score_names(task, conformal), draws_for(found.galaxies, options)
    scorer = worse_scorer(task, task.mix(found.samples), found.labels, conformal)
    scores = score_once(scorer, len(found.labels))
    intervals = find_intervals(scores, replicate(scorer, draws), draws, group_name=options.group_col)
    for name in names:
        low, high = intervals.of(name) or (np.nan, np.nan)
        yield {
            "kind": PLAIN if way is None else way.kind,
            "step": np.nan if way is None else way.step,
            "name": name,
            "score": scores[name],
            "low": low,
            "high": high,
            "n": len(found.labels),
        }


def known_errors(models: Sequence[Any], *, n_samples: int) -> Conformal | None:
    """The errors by which a model has intervals or sets of 90 %; None without: mixtures have none."""
    conformal: Conformal | None = getattr(models[0], "conformal", None)
    if conformal is None or len(models) > 1 or n_samples > 1:
        return None
    is_of_others = bool(conformal.changed(models[0]))
    return None if is_of_others or np.isnan(conformal.thresholds(_LEVEL)).all() else conformal


def score_names(task: Task, conformal: Conformal | None = None) -> dict[str, str]:
    """The scores that are told of worse images, in words: the main one, and how far a model knows its errors.

    Args:
        task: What is predicted.
        conformal: The errors by which the model has intervals or sets, if it has any.

    Example:
        >>> from zoobot.shared.tasks import classification_task
        >>> score_names(classification_task(num_classes=2))
        {'accuracy': 'accuracy', 'ece': 'calibration error'}
    """
    main, words = task.scores.by_epoch[0], dict(task.scores.headline)
    if task.tree is not None:
        return {main: words[main], _COVERAGE: "votes inside their 90% intervals"}
    what = "targets inside their 90% intervals" if task.predicts == "numbers" else "truth inside its 90% set"
    held = {} if conformal is None else {_HELD: what}
    return {main: words[main], **held, **{name: words[name] for name in ("ece",) if name in words}}


def worse_scorer(
    task: Task, predicted: np.ndarray, labels: np.ndarray, conformal: Conformal | None = None
) -> Scorer:
    """What gives the scores of `score_names` of weighted galaxies.

    Args:
        task: What was predicted.
        predicted: As `task.mix` gives it.
        labels: (galaxies, label columns).
        conformal: As for `score_names`.
    """
    names, scorers = score_names(task, conformal), [task.scorer(predicted, labels)]
    if task.tree is not None:
        scorers.append(_votes_held(task.tree, predicted, labels))
    if _HELD in names and conformal is not None:
        scorers.append(_truth_held(task, predicted, labels, conformal))
    if "ece" in names:
        scorers.append(calibration_scorer(task, predicted, labels))
    every = join_scorers(scorers)

    def score(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        scores = every(weights)
        return {name: scores[name] for name in names}

    return score


def _votes_held(tree: Schema, predicted: np.ndarray, labels: np.ndarray) -> Scorer:
    """The mean over questions of how many votes the intervals hold."""
    held = coverage_scorer(predicted, labels, tree)
    names = [f"{_COVERAGE}_{question.text}" for question in tree.questions]

    def score(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        scores = held(weights)
        return {_COVERAGE: mean_of_defined(np.stack([scores[name] for name in names], axis=1))}

    return score


def _truth_held(task: Task, predicted: np.ndarray, labels: np.ndarray, conformal: Conformal) -> Scorer:
    """How often the intervals or sets of a model hold the truth: all targets or labels alike."""
    thresholds, truth = conformal.thresholds(_LEVEL), np.asarray(labels, np.float64)
    known = ~np.isnan(task.nonconformity(predicted, truth)) & ~np.isnan(thresholds)
    held, _ = task.judge_intervals(predicted, truth, thresholds)
    inside, told = np.where(known, held, 0.0).sum(axis=1), known.sum(axis=1)
    return lambda weights: {_HELD: ratio(weights @ inside, weights @ told)}


def _axis(kind: str, pixel_scale_arcsec: float | None) -> str:
    """What a step is, in words; pixels also on the sky, where that is known."""
    words = KINDS[kind].axis
    known = kind == "psf" and pixel_scale_arcsec is not None
    return f"{words} of {pixel_scale_arcsec:g} arcsec" if known else words


def _steps_in_words(ways: Sequence[Degradation], kind: str) -> str:
    return " ".join(f"{way.step:g}" for way in ways if way.kind == kind)


def _write(holding: Holding, ways: Sequence[Degradation], folder: Path, options: EvaluateOptions) -> None:
    write_safely(folder / "degradation.csv", csv_text(holding.table))
    kinds = {kind: {"meaning": KINDS[kind].meaning, "step": KINDS[kind].axis} for kind in options.degrade}
    content = {
        "kinds": kinds,
        "own_redshift": options.own_redshift,
        "seed": options.seed,
        "scores": holding.names,
        "rows": json.loads(holding.table.to_json(orient="records")),
    }
    write_safely(folder / "degradation.json", json.dumps(content, indent=2) + "\n")


def draw_degraded(
    preprocessing: Preprocessing, galaxies: Catalog, ways: Sequence[Degradation], *, seed: int
) -> Figure:
    """A picture of random galaxies, as the network sees them: as they are, then worse, a row for each kind.

    Args:
        preprocessing: How images are read.
        galaxies: The galaxies.
        ways: What is done to them.
        seed: Chooses the galaxies.
    """
    kinds = dict.fromkeys(way.kind for way in ways)
    by_kind = {kind: [way for way in ways if way.kind == kind] for kind in kinds}
    columns = 1 + max(map(len, by_kind.values()))
    images: list[np.ndarray | None] = []
    names: list[str] = []
    for kind, steps in by_kind.items():
        for place in np.random.default_rng(seed).permutation(len(galaxies))[:_EXAMPLES]:
            row: list[Degradation | None] = [None, *steps]
            images += [_see(galaxies, place, preprocessing.with_changes(degraded=way)) for way in row]
            names += [galaxies.ids[place], *(f"{kind} {way.step:g}" for way in steps)]
            images += [None] * (columns - len(row))
            names += [""] * (columns - len(row))
    return plots.contact_sheet(images, names, columns=columns)


def _see(galaxies: Catalog, place: int, record: Preprocessing) -> np.ndarray | None:
    try:
        image = read_image(galaxies.paths[place], record)
    except ImageError:
        return None  # the failures table tells of it
    return make_view(image, record, galaxy_id=galaxies.ids[place])
