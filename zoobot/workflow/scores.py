"""Scores of a run as tables to read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoobot import plots
from zoobot.certainty.coverage import coverage_table, expected_calibration_error, reliability_curves
from zoobot.certainty.tree_scores import (
    challenge_from_concentrations,
    challenge_from_votes,
    challenge_rmse,
    has_challenge_questions,
    question_confusions,
    question_table,
)
from zoobot.workflow.pictures import attempt_picture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoobot.shared.tasks import Task

# Scores as a text to read: the headline numbers, then a row for each class, target or question.


def score_table(task: Task, scores: Mapping[str, float], *, heading: str) -> str:
    """The scores of a task as lines of text, columns aligned.

    Args:
        task: What was predicted; says which scores matter.
        scores: As `task.metrics` gives them; a dash stands for NaN. What no galaxy has is left out.
        heading: The first line.
    """
    layout = task.scores
    names = [name for name in task.score_rows if scores.get(f"n_{name}") != 0]
    headline = [[words, number(scores[name])] for name, words in layout.headline if name in scores]
    lines = [heading, "", *aligned(headline)]
    if names:
        rows = [[layout.rows, *(words for _, words in layout.columns)]]
        rows += [
            [name, *(_cell(key, scores.get(f"{key}_{name}")) for key, _ in layout.columns)] for name in names
        ]
        lines += ["", *aligned(rows)]
    return "\n".join(lines)


def _cell(key: str, value: float | None) -> str:
    """A score, or how many galaxies there are, which is a whole number however few."""
    return f"{value:,.0f}" if key == "n" and value is not None and value == value else number(value)


def number(value: float | None) -> str:
    """A score as text: three decimals, a count without any, a dash for NaN."""
    if value is None or value != value:
        return "–"
    return f"{value:,.0f}" if value == int(value) and abs(value) > 1 else f"{value:.3f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right, two spaces apart."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


@dataclass(frozen=True, kw_only=True)
class Certainty:
    """Scores of how sure a model is, and the tables behind them.

    Args:
        scores: By name: `ece` (expected calibration error) and `ece_NAME`; of a tree also
            `precision_QUESTION`, `recall_…`, `f1_…` and the same of confident galaxies,
            `coverage_90_QUESTION` (randomised), `coverage_90_plain_QUESTION`, and `challenge_rmse` where the
            tree holds Galaxy Zoo 2's.
        sections: Texts to read below the table of scores.
        curves: Reliability curves by name.
        coverage: A tree's coverage table.
    """

    scores: dict[str, float]
    sections: tuple[str, ...] = ()
    curves: dict[str, pd.DataFrame] = field(default_factory=dict)
    coverage: pd.DataFrame | None = None

    def to_config(self) -> dict[str, Any]:
        """The curves and the coverage as JSON-ready values, None for NaN."""
        tables = {f"reliability of {name}": curve for name, curve in self.curves.items()}
        if self.coverage is not None:
            tables["coverage"] = self.coverage
        return {name: _records(table) for name, table in tables.items()}

    def draw(
        self, task: Task, predicted: np.ndarray, labels: np.ndarray, folder: Path, formats: Sequence[str]
    ) -> None:
        """Write the picture reliability, and of a tree coverage and question_confusions.

        Args:
            task: What was predicted.
            predicted: (galaxies, outputs); of a tree also (samples, galaxies, answers) for a mixture.
            labels: (galaxies, label columns).
            folder: Where the pictures go.
            formats: What they are written as: the endings of their names.
        """
        names = {name: name for name in self.curves}
        words = ("predicted probability", "share that is so")
        if task.tree is not None:
            names = dict(zip(task.score_rows, plots.question_titles(task.tree), strict=True))
            words = ("predicted fraction", "volunteers' fraction")
        if any(len(curve) for curve in self.curves.values()):
            titled = {names[name]: curve for name, curve in self.curves.items()}
            options = {"x": words[0], "y": words[1]}
            attempt_picture(folder / "reliability", formats, plots.reliability_panels, titled, **options)
        if task.tree is not None and self.coverage is not None and self.coverage["votes"].notna().any():
            place = folder / "coverage"
            attempt_picture(place, formats, plots.coverage_dots, self.coverage, titles=names)
            counts = question_confusions(predicted, labels, task.tree)
            place = folder / "question_confusions"
            attempt_picture(place, formats, plots.question_confusions, counts, task.tree)


def judge_certainty(task: Task, predicted: np.ndarray, labels: np.ndarray) -> Certainty:
    """How far a model's certainty can be trusted, on labelled galaxies.

    Args:
        task: What was predicted.
        predicted: (galaxies, outputs); of a tree also (samples, galaxies, answers) for a mixture.
        labels: (galaxies, label columns).
    """
    curves = reliability_curves(task, predicted, labels)
    errors = {name: expected_calibration_error(curve) for name, curve in curves.items()}
    mean = _mean_known(errors)
    scores = {} if np.isnan(mean) else {"ece": mean}
    if len(errors) > 1:
        scores |= {f"ece_{name}": error for name, error in errors.items()}
    if task.tree is None:
        return Certainty(scores=scores, curves=curves)
    tables = {
        ending: question_table(predicted, labels, task.tree, confident=bool(ending))
        for ending in ("", "_confident")
    }
    for ending, table in tables.items():
        for metric in ("precision", "recall", "f1"):
            scores |= {
                f"{metric}{ending}_{q}": v for q, v in zip(table["question"], table[metric], strict=True)
            }
    coverage = coverage_table(predicted, labels, task.tree)
    for ending, column in (("", "votes"), ("_plain", "votes_plain")):
        at = coverage[coverage["level"] == _LEVEL]
        scores |= {f"coverage_90{ending}_{q}": v for q, v in zip(at["question"], at[column], strict=True)}
    if has_challenge_questions(task.tree):
        expected = challenge_from_concentrations(predicted, task.tree)
        scores["challenge_rmse"] = challenge_rmse(expected, challenge_from_votes(labels, task.tree))
    sections = (
        _question_section("Every galaxy that was asked", tables[""]),
        _question_section("Galaxies on which more than 80% of the volunteers agree", tables["_confident"]),
        _coverage_section(coverage, errors),
    )
    return Certainty(scores=scores, sections=sections, curves=curves, coverage=coverage)


def mean_calibration_error(task: Task, predicted: np.ndarray, labels: np.ndarray) -> float:
    """The expected calibration error, as a mean over labels or questions; NaN without any.

    Args:
        task: What was predicted.
        predicted: (galaxies, outputs); of a tree also (samples, galaxies, answers) for a mixture.
        labels: (galaxies, label columns).
    """
    curves = reliability_curves(task, predicted, labels)
    return _mean_known({name: expected_calibration_error(curve) for name, curve in curves.items()})


def _mean_known(errors: dict[str, float]) -> float:
    known = [error for error in errors.values() if not np.isnan(error)]
    return float(np.mean(known)) if known else float("nan")


_LEVEL = 0.9


def _question_section(heading: str, table: pd.DataFrame) -> str:
    metrics = ("accuracy", "precision", "recall", "f1")
    rows = [["question", "galaxies", *metrics[:3], "F1"]]
    for row in table[table["n"] > 0].itertuples():
        rows.append([row.question, f"{row.n:,}", *(number(getattr(row, metric)) for metric in metrics)])
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
