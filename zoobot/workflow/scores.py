"""Scores of a run as tables to read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot import plots
from zoobot.certainty.bootstrap import Interval, Resamples
from zoobot.certainty.coverage import (
    calibration_scorer,
    coverage_scorer,
    coverage_table,
    expected_calibration_error,
    interval_table,
    reliability_curves,
)
from zoobot.certainty.tree_scores import (
    challenge_scorer,
    has_challenge_questions,
    question_confusions,
    question_scorer,
    question_table,
)
from zoobot.shared import defaults
from zoobot.shared.conformal import percent
from zoobot.shared.errors import CatalogError
from zoobot.shared.metrics import join_scorers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.figure import Figure

    from zoobot.certainty.thresholds import Choices
    from zoobot.options.groups import ScoreOptions, ThresholdOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.conformal import Conformal
    from zoobot.shared.metrics import Scorer
    from zoobot.shared.tasks import Task

# Scores as a text to read: the headline numbers, then a row for each class, target or question.


def score_table(
    task: Task, scores: Mapping[str, float], *, heading: str, intervals: Mapping[str, Interval] | None = None
) -> str:
    """The scores of a task as lines of text, columns aligned.

    Args:
        task: What was predicted; says which scores matter.
        scores: As `task.metrics` gives them; a dash stands for NaN. What no galaxy has is left out.
        heading: The first line.
        intervals: Of those scores that have one.
    """
    layout, ends = task.scores, intervals or {}
    names = [name for name in task.score_rows if scores.get(f"n_{name}") != 0]
    headline = [
        [words, *with_interval(scores[name], ends.get(name))]
        for name, words in layout.headline
        if name in scores
    ]
    lines = [heading, "", *aligned(headline)]
    if names:
        rows = [_heads(layout.rows, [words for _, words in layout.columns])]
        for name in names:
            keys = [f"{key}_{name}" for key, _ in layout.columns]
            rows.append([name, *(cell for key in keys for cell in _cells(key, scores.get(key), ends))])
        lines += ["", *aligned(rows)]
    return "\n".join(lines)


def _heads(first: str, columns: Sequence[str]) -> list[str]:
    """The heads of columns, each of which but the first has another beside it, for intervals."""
    return [first, *(head for words in columns for head in (words, ""))]


def _cells(key: str, value: float | None, ends: Mapping[str, Interval]) -> list[str]:
    """A score and its interval; or how many galaxies there are, which is a whole number however few."""
    if key.startswith("n_") and value is not None and value == value:
        return [f"{value:,.0f}", ""]
    return with_interval(value, ends.get(key))


def with_interval(value: float | None, ends: Interval | None) -> list[str]:
    """A score as text, and its interval in brackets; nothing where it has none.

    Example:
        >>> with_interval(0.87, Interval(0.84, 0.9))
        ['0.870', '(0.840–0.900)']
    """
    return [number(value), "" if ends is None else in_brackets(ends)]


def in_brackets(ends: Interval) -> str:
    """An interval as text."""
    low, high = (f"{end:.3f}" for end in ends)
    return f"({low} to {high})" if low.startswith("-") else f"({low}–{high})"


def number(value: float | None) -> str:
    """A score as text: three decimals, a count without any, a dash for NaN."""
    if value is None or value != value:
        return "–"
    return f"{value:,.0f}" if value == int(value) and abs(value) > 1 else f"{value:.3f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right, two spaces apart; empty columns are left out."""
    kept = [column for column in zip(*rows, strict=True) if any(column)]
    widths = [max(len(cell) for cell in column) for column in kept]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in zip(*kept, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class Certainty:
    """How far a model's certainty can be trusted: tables and curves.

    Args:
        tables: Texts to read below the table of scores, from the intervals of scores.
        curves: Reliability curves by name.
        coverage: A tree's coverage table.
    """

    tables: tuple[Callable[[Mapping[str, Interval]], str], ...] = ()
    curves: dict[str, pd.DataFrame] = field(default_factory=dict)
    coverage: pd.DataFrame | None = None

    def to_config(self) -> dict[str, Any]:
        """The curves and the coverage as JSON-ready values, None for NaN."""
        tables = {f"reliability of {name}": curve for name, curve in self.curves.items()}
        if self.coverage is not None:
            tables["coverage"] = self.coverage
        return {name: _records(table) for name, table in tables.items()}

    def pictures(
        self, task: Task, predicted: np.ndarray, labels: np.ndarray, said: Mapping[str, str]
    ) -> dict[str, Callable[..., Figure]]:
        """What draws the picture reliability, and of a tree coverage and question_confusions.

        Args:
            task: What was predicted.
            predicted: (galaxies, outputs); of a tree also (samples, galaxies, answers) for a mixture.
            labels: (galaxies, label columns).
            said: Scores in words by name, with their intervals.
        """
        found: dict[str, Callable[..., Figure]] = {}
        names = {name: name for name in self.curves}
        words = ("predicted probability", "share that is so")
        if task.tree is not None:
            names = dict(zip(task.score_rows, plots.question_titles(task.tree), strict=True))
            words = ("predicted fraction", "volunteers' fraction")
        if any(len(curve) for curve in self.curves.values()):
            titled = {names[name]: curve for name, curve in self.curves.items()}
            notes = {names[name]: said.get(f"ece_{name}", said["ece"]) for name in self.curves}
            x, y = words
            found["reliability"] = partial(plots.reliability_panels, titled, x=x, y=y, notes=notes)
        if task.tree is not None and self.coverage is not None and self.coverage["votes"].notna().any():
            found["coverage"] = partial(plots.coverage_dots, self.coverage, titles=names)
            counts = question_confusions(predicted, labels, task.tree)
            found["question_confusions"] = partial(plots.question_confusions, counts, task.tree)
        return found


def judge_certainty(task: Task, predicted: np.ndarray, labels: np.ndarray) -> Certainty:
    """How far a model's certainty can be trusted, on labelled galaxies.

    Args:
        task: What was predicted.
        predicted: (galaxies, outputs); of a tree also (samples, galaxies, answers) for a mixture.
        labels: (galaxies, label columns).
    """
    curves = reliability_curves(task, predicted, labels)
    if task.tree is None:
        return Certainty(curves=curves)
    errors = {name: expected_calibration_error(curve) for name, curve in curves.items()}
    coverage = coverage_table(predicted, labels, task.tree)
    every, agreed = (
        question_table(predicted, labels, task.tree, confident=confident) for confident in (False, True)
    )
    tables = (
        lambda ends: _question_section("Every galaxy that was asked", every, ends),
        lambda ends: _question_section(
            "Galaxies on which more than 80% of the volunteers agree", agreed, ends, ending="_confident"
        ),
        lambda _: _coverage_section(coverage, errors),
    )
    return Certainty(tables=tables, curves=curves, coverage=coverage)


def every_scorer(task: Task, predicted: np.ndarray, labels: np.ndarray) -> Scorer:
    """What gives all scores of weighted galaxies: those of the task, and how sure a model may be.

    The latter are `ece` (expected calibration error) and `ece_NAME`; of a tree also `precision_QUESTION`,
    `recall_…`, `f1_…` and the same of confident galaxies, `coverage_90_QUESTION` (randomised),
    `coverage_90_plain_QUESTION`, and `challenge_rmse` where the tree holds Galaxy Zoo 2's.

    Args:
        task: What was predicted.
        predicted: (galaxies, outputs); of a tree also (samples, galaxies, answers) for a mixture.
        labels: (galaxies, label columns).
    """
    scorers = [task.scorer(predicted, labels), calibration_scorer(task, predicted, labels)]
    if task.tree is not None:
        scorers += [kind(predicted, labels, task.tree) for kind in (question_scorer, coverage_scorer)]
        if has_challenge_questions(task.tree):
            scorers.append(challenge_scorer(predicted, labels, task.tree))
    return join_scorers(scorers)


def threshold_section(task: Task, choices: Sequence[Choices], options: ThresholdOptions) -> str:
    """What samples by a threshold reach, as a text: at a completeness, and at a purity.

    Args:
        task: What was predicted.
        choices: Of each class, label or answer.
        options: What was to be reached, and what is true.
    """
    of = "expected fraction" if task.tree is not None else "probability"
    lines = [
        f"Samples of the galaxies whose {of} is at least a threshold, which was chosen on these galaxies"
    ]
    if task.tree is not None:
        lines.append(
            f"(true is what more than {100 * options.truth_threshold:g}% of the volunteers say, where "
            f"{options.truth_votes:,} or more were asked)"
        )
    asked = {"completeness": options.at_completeness, "purity": options.at_purity}
    told = [each for each in choices if each.positive]
    for name, share in asked.items():
        rows = [
            _heads(task.noun.partition(" ")[0], ["galaxies", "true", "threshold", "purity", "completeness"])
        ]
        for each in told:
            point = getattr(each, f"at_{name}")
            cells = [f"{each.n:,}", "", f"{each.positive:,}", ""]
            cells += (
                [*("–", "") * 3]
                if point is None
                else [
                    *(_least(point.threshold), ""),
                    *with_interval(point.purity, point.purity_ends),
                    *with_interval(point.completeness, point.completeness_ends),
                ]
            )
            rows.append([each.decision.name, *cells])
        lines += ["", f"At {100 * share:g}% {name}", "", *aligned(rows)]
    if len(told) < len(choices):
        lines.append(f"({len(choices) - len(told)} more, of which there is no true galaxy here)")
    return "\n".join(lines)


def _least(threshold: float) -> str:
    """A threshold as text, rounded down so that its sample stays; with more decimals near 0 and 1.

    Example:
        >>> _least(0.6666), _least(0.99996), _least(1.0)
        ('0.666', '0.999960', '1.000')
    """
    distance = min(threshold, 1 - threshold)
    decimals = max(3, 1 + math.ceil(-math.log10(distance))) if distance > 0 else 3
    unit = 10**decimals
    return f"{math.floor(threshold * unit + 1e-6) / unit:.{decimals}f}"


def threshold_pictures(
    task: Task, choices: Sequence[Choices], ends: Mapping[str, Interval]
) -> dict[str, Callable[..., Figure]]:
    """What draws the pictures thresholds and roc; nothing if no choice has galaxies of both kinds.

    Args:
        task: What was predicted.
        choices: Of each class, label or answer.
        ends: Intervals of scores, of which those of the areas under ROC curves are told.
    """
    if not any(0 < each.positive < each.n for each in choices):
        return {}
    labels = []
    for each in choices:
        interval = ends.get(f"roc_auc_{each.decision.name}")
        area = f"AUC {each.roc_auc:.3f}" + (f" {in_brackets(interval)}" if interval else "")
        labels.append(f"{each.decision.title}: {area}")
    x = "least expected fraction" if task.tree is not None else "least probability"
    return {
        "thresholds": partial(plots.threshold_curves, choices, x=x),
        "roc": partial(plots.roc_curves, choices, labels=labels),
    }


def draws_for(galaxies: Catalog, options: ScoreOptions) -> Resamples:
    """How labelled galaxies are drawn for the intervals of their scores.

    Args:
        galaxies: Those that are scored.
        options: How many times, and what is drawn together.

    Raises:
        CatalogError: If the column of groups is absent, or a galaxy has none.
        ConfigError: If all galaxies are of one group.
    """
    groups = None
    if options.group_col is not None:
        if options.group_col not in galaxies.table:
            there = list(map(str, galaxies.table))
            raise CatalogError(
                f"--group-col: {galaxies.name} has no column {options.group_col!r}; it has {there}"
            )
        values = galaxies.table[options.group_col]
        if values.isna().any():
            first = [galaxies.ids[row] for row in np.flatnonzero(values.isna())[:5]]
            raise CatalogError(
                f"--group-col: every galaxy needs a group, but {int(values.isna().sum()):,} have none in "
                f"column {options.group_col!r} of {galaxies.name}; the first: {first}"
            )
        groups = values.astype(str).to_numpy(dtype=str)
    return Resamples(
        galaxies=len(galaxies),
        count=options.bootstrap,
        percent=options.interval,
        groups=groups,
        seed=options.seed,
    )


_LEVEL = 0.9


def _question_section(
    heading: str, table: pd.DataFrame, ends: Mapping[str, Interval], *, ending: str = ""
) -> str:
    metrics = ("accuracy", "precision", "recall", "f1")
    rows = [_heads("question", ["galaxies", *metrics[:3], "F1"])]
    for row in table[table["n"] > 0].itertuples():
        cells = [
            cell
            for metric in metrics
            for cell in with_interval(getattr(row, metric), ends.get(f"{metric}{ending}_{row.question}"))
        ]
        rows.append([row.question, f"{row.n:,}", "", *cells])
    return "\n".join([heading, "", *aligned(rows)])


def _coverage_section(coverage: pd.DataFrame, errors: dict[str, float]) -> str:
    levels = sorted(set(coverage["level"]))
    by_question = coverage.set_index(["question", "level"])
    titles = [*(f"{100 * level:.0f}%" for level in levels), "90% whole", "90% of fractions", "error"]
    rows = [["question", "galaxies", *titles]]
    for question in dict.fromkeys(coverage["question"][coverage["n"] > 0]):
        at = {level: by_question.loc[(question, level)] for level in levels}
        cells = [at[level]["votes"] for level in levels]
        cells += [at[_LEVEL]["votes_plain"], at[_LEVEL]["fractions"], errors[question]]
        rows.append([question, f"{int(at[_LEVEL]['n']):,}", *(number(float(cell)) for cell in cells)])
    heading = (
        "Share of votes inside predicted intervals, which should be the level. Randomised, since votes are\n"
        "whole: whole intervals hold more. Fractions of few votes scatter out of intervals of the fraction.\n"
        "The error is the mean distance between predicted and observed fractions (expected calibration error)"
    )
    return "\n".join([heading, "", *aligned(rows)])


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = table.to_dict("records")
    return [
        {str(k): None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()} for row in rows
    ]


# Intervals and sets by conformal prediction (`zoobot.shared.conformal`), as texts to read.

_WORDS = {
    "classes": "Sets of classes: how many classes are in them",
    "labels": "Sets of yes and no: how many of the two are in them",
    "numbers": "Intervals: how wide they are",
    "votes": "Intervals of vote fractions: how wide they are",
}


class IntervalScores(NamedTuple):
    """How often a model's intervals or sets hold the truth: nothing of a model that has none.

    Args:
        scores: By name: `held_90` and `size_90` (means over galaxies and targets, labels or answers), and
            `held_90_NAME`, `size_90_NAME`; likewise of the other levels.
        sections: Texts to read.
    """

    scores: dict[str, float]
    sections: tuple[str, ...]


def judge_intervals(
    models: Sequence[Any], predicted: np.ndarray, labels: np.ndarray, *, part: str, n_samples: int = 1
) -> IntervalScores:
    """How often the intervals of a model hold the truth, where it has any: mixtures have none.

    Args:
        models: Trained models of one task.
        predicted: (galaxies, outputs).
        labels: (galaxies, label columns).
        part: "test", "val" or "catalog": what the galaxies are.
        n_samples: How often dropout was sampled.
    """
    conformal = getattr(models[0], "conformal", None)
    if len(models) > 1 or n_samples > 1 or conformal is None:
        return IntervalScores({}, ())
    if changed := conformal.changed(models[0]):
        return IntervalScores({}, (f"Intervals: none, since the model's are of {changed}",))
    task: Task = models[0].task
    table = interval_table(task, conformal, predicted, labels)
    scores: dict[str, float] = {}
    for level, rows in table.groupby("level"):
        known = rows[rows["held"].notna()]
        ending = percent(float(str(level)))
        for column in ("held", "size"):
            if len(known):
                scores[f"{column}_{ending}"] = float(np.average(known[column], weights=known["n"]))
            if len(rows) > 1:
                scores |= {f"{column}_{ending}_{row['name']}": row[column] for _, row in known.iterrows()}
    note = "\n(these galaxies gave the errors, so that it is so by construction)" if part == "val" else ""
    return IntervalScores(scores, (interval_section(task, table, level=_LEVEL, note=note),))


def interval_section(task: Task, table: pd.DataFrame, *, level: float, note: str = "") -> str:
    """The rows of one level as a text to read."""
    rows = [["", "galaxies", "held", "size"]]
    for row in table[(table["level"] == level) & (table["n"] > 0)].itertuples():
        rows.append([str(row.name), f"{int(str(row.n)):,}", number(float(row.held)), number(float(row.size))])
    head = f"{_WORDS[task.predicts]}, and how often they hold the truth, promised {percent(level)}%{note}"
    return "\n".join([head, "", *aligned(rows)])


def size_section(task: Task, conformal: Conformal, predicted: np.ndarray) -> str:
    """How wide the intervals of the galaxies are whose errors made them, as a text to read."""
    levels = defaults.CONFORMAL_LEVELS
    everywhere = np.full((len(predicted), task.num_label_cols), np.nan)
    if task.predicts == "classes":
        everywhere[:] = 0
    columns = []
    for level in levels:
        thresholds = conformal.thresholds(level)
        _, sizes = task.judge_intervals(np.asarray(predicted, np.float64), everywhere, thresholds)
        mean = np.where(np.isnan(thresholds), np.nan, sizes.mean(axis=0))
        columns.append([number(float(value)) for value in mean])
    rows = [["", "galaxies", *(f"{percent(level)}%" for level in levels)]]
    for k, name in enumerate(conformal.names):
        if conformal.n[k]:
            rows.append([name, f"{conformal.n[k]:,}", *(column[k] for column in columns)])
    dash = "\n(–: too few galaxies for that level)" if any("–" in row for row in rows[1:]) else ""
    head = f"{_WORDS[task.predicts]} on average (zoobot predict --intervals 90 writes them){dash}"
    return "\n".join([head, "", *aligned(rows)])
