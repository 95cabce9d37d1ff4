"""Two models on the same galaxies: by how much each score differs, and whether that can be told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoobot import plots
from zoobot.certainty.bootstrap import FEW, Intervals, find_intervals, replicate
from zoobot.choosing.label_curves import lower_is_better
from zoobot.plots import Difference
from zoobot.shared.errors import CatalogError
from zoobot.shared.files.whole import write_safely
from zoobot.shared.training.taught import Acquaintance
from zoobot.workflow.galaxies import LabelledPredictions, predict_labelled
from zoobot.workflow.pictures import attempt_picture
from zoobot.workflow.scores import aligned, draws_for, every_scorer, number

if TYPE_CHECKING:
    from pathlib import Path

    from zoobot.options.groups import ScoreOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.engine import Engine
    from zoobot.shared.metrics import Scorer
    from zoobot.shared.tasks import Task

#: The models in tables, whatever their names.
_LETTERS = ("A", "B")

#: What can be said of a difference.
BETTER, WORSE, UNTOLD, SAME = "better", "worse", "can't be told", "the same"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How the scores of a model differ from another's, on the same galaxies.

    Args:
        name: The model that was evaluated.
        rival: The other.
        galaxies: How many both could predict.
        scores: Of both, by name: the model's and the other's.
        differences: The model's less the other's, by name.
        intervals: Of the differences: each resample draws the same galaxies for both.
        warning: What must be known of galaxies that taught the other; may be empty.
    """

    name: str
    rival: str
    galaxies: int
    scores: dict[str, tuple[float, float]]
    differences: dict[str, float]
    intervals: Intervals
    warning: str = ""

    def verdict(self, score: str) -> str:
        """Whether the model is better in a score, or worse; or that the galaxies can't tell."""
        ends = self.intervals.of(score)
        if ends is None and self.differences[score] == 0:
            return SAME
        if ends is None or ends.low <= 0 <= ends.high or self.intervals.draws.units < FEW:
            return UNTOLD
        return BETTER if (ends.low > 0) != lower_is_better(score) else WORSE

    def to_config(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        rows = {
            score: {
                "scores": [None if np.isnan(value) else value for value in self.scores[score]],
                "difference": None if np.isnan(difference) else difference,
                "interval": list(self.intervals.ends.get(score, ())) or None,
                "verdict": self.verdict(score),
            }
            for score, difference in self.differences.items()
        }
        how = self.intervals.to_config()
        del how["scores"]
        return {"model": self.name, "with": self.rival, "galaxies": self.galaxies, **how, "differences": rows}

    def text(self, task: Task) -> str:
        """The differences to read: of all classes, targets or questions together, then of each."""
        layout = task.scores
        names = [(name, words) for name, words in layout.headline if name in self.differences]
        lines = [
            f"Compared on the same {self.galaxies:,} galaxies",
            *(f"{letter}  {place}" for letter, place in zip(_LETTERS, (self.name, self.rival), strict=True)),
            *([f"Of B: {self.warning}"] if self.warning else []),
            self.intervals.sentence(),
            f"(where models are as good, {100 - self.intervals.draws.percent:g}% of differences are called "
            "better or worse)",
            "",
            *aligned([["", *_LETTERS, "difference", "", "A is"], *map(self._row, names)]),
        ]
        keys = [(key, words) for key, words in layout.columns if key != "n"]
        each = [
            (f"{key}_{name}", f"{words} of {name}" if len(keys) > 1 else name)
            for name in task.score_rows
            for key, words in keys
            if f"{key}_{name}" in self.differences
        ]
        if each:
            head = [layout.rows, *_LETTERS, "difference", "", "A is"]
            lines += ["", *aligned([head, *map(self._row, each)])]
        return "\n".join(lines)

    def _row(self, named: tuple[str, str]) -> list[str]:
        score, words = named
        return [words, *map(number, self.scores[score]), *self.said(score), self.verdict(score)]

    def said(self, score: str) -> tuple[str, str]:
        """A difference and its interval, with their signs."""
        ends = self.intervals.of(score)
        low_high = "" if ends is None else f"({ends.low:+.3f} to {ends.high:+.3f})"
        difference = self.differences[score]
        return "–" if np.isnan(difference) else f"{difference:+.3f}", low_high


class Contest(NamedTuple):
    """A model's name, and trained models of the same task to compare it with, by name."""

    name: str
    rivals: Mapping[str, Any]


def compare_models(
    engine: Engine,
    contest: Contest,
    predicted: np.ndarray,
    galaxies: Catalog,
    folder: Path,
    options: ScoreOptions,
    n_samples: int = 1,
) -> tuple[Comparison, ...]:
    """Compare what a model predicts with other models, and leave comparison.txt, its JSON and its picture.

    Args:
        engine: The engine of the models.
        contest: The name of the model, and the others.
        predicted: What it predicts of the galaxies, as its task mixes it.
        galaxies: With the labels of that task.
        folder: Where everything goes.
        options: How galaxies are predicted and drawn.
        n_samples: More than 1 samples each model's dropout.

    Raises:
        CatalogError: If there is no galaxy that both could predict.
    """
    found = []
    for rival, other in contest.rivals.items():
        theirs = predict_labelled(engine, [other], galaxies, options, n_samples=n_samples)
        found.append(_compare((contest.name, predicted), (rival, other), galaxies, theirs, options))
    task = next(iter(contest.rivals.values())).task
    text = "\n\n".join(comparison.text(task) for comparison in found)
    content = json.dumps([comparison.to_config() for comparison in found], indent=2)
    write_safely(folder / "comparison.txt", text + "\n")
    write_safely(folder / "comparison.json", content + "\n")
    attempt_picture(folder / "comparison", options.figures, draw_differences, task, found)
    return tuple(found)


def _compare(
    model: tuple[str, np.ndarray],
    rival: tuple[str, Any],
    galaxies: Catalog,
    found: LabelledPredictions,
    options: ScoreOptions,
) -> Comparison:
    (name, predicted), (rival_name, other) = model, rival
    task, both, labels = other.task, found.galaxies, found.labels
    place = {galaxy: row for row, galaxy in enumerate(galaxies.ids)}
    own = predicted[..., [place[galaxy] for galaxy in both.ids], :]
    if not len(both):
        raise CatalogError(f"there is no galaxy of {galaxies.name} that both {name} and {rival_name} predict")
    seen = Acquaintance.of([other.taught_by], both.ids)
    scorers = [every_scorer(task, values, labels) for values in (own, task.mix(found.samples))]
    return compare_scores((name, rival_name), scorers, both, options, warning=seen.sentence())


def compare_scores(
    names: tuple[str, str],
    scorers: Sequence[Scorer],
    both: Catalog,
    options: ScoreOptions,
    *,
    warning: str = "",
) -> Comparison:
    """How the scores of one model differ from those of another.

    Args:
        names: Of both.
        scorers: What gives every score of each.
        both: The galaxies that they score.
        options: How galaxies are drawn.
        warning: What must be known of them.
    """
    name, rival_name = names
    draws = draws_for(both, options)
    once = [scorer(np.ones((1, len(both)))) for scorer in scorers]
    scores = {
        score: (float(once[0][score][0]), float(once[1][score][0]))
        for score in once[0]
        if not score.startswith(("n_", "coverage_")) and score != "n"
    }
    differences = {score: first - second for score, (first, second) in scores.items()}
    first, second = (replicate(scorer, draws) for scorer in scorers)
    drawn = {score: first[score] - second[score] for score in first if score in differences}
    return Comparison(
        name=name,
        rival=rival_name,
        galaxies=len(both),
        scores=scores,
        differences=differences,
        intervals=find_intervals(differences, drawn, draws, group_name=options.group_col),
        warning=warning,
    )


def draw_differences(task: Task, comparisons: Sequence[Comparison]) -> Any:
    """The figure of the differences of a task's main scores, one row for each score and rival."""
    rows = []
    letters = dict(zip("BCDEFGHIJKLMNOPQRSTUVWXYZ", comparisons, strict=False))
    for score, words in task.scores.headline:
        for letter, comparison in letters.items():
            difference = comparison.differences.get(score)
            if difference is None or np.isnan(difference):
                continue
            ends = comparison.intervals.of(score)
            rows.append(
                Difference(
                    score=words,
                    rival=letter,
                    value=difference,
                    ends=ends,
                    text=" ".join(comparison.said(score)) + f"  {comparison.verdict(score)}",
                    lower_is_better=lower_is_better(score),
                )
            )
    names = {"A": comparisons[0].name} | {letter: each.rival for letter, each in letters.items()}
    return plots.score_differences(rows, names=names)
