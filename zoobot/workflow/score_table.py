"""Scores as a text to read: the headline numbers, then a row for each class, target or question."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from zoobot.shared.tasks import ClassificationTask, TreeTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoobot.shared.tasks import Task

__all__ = ["aligned", "number", "score_table"]


class _Layout(NamedTuple):
    """Which scores are shown, as (name in the scores, words for the reader)."""

    rows: str
    headline: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, str], ...]


_RANKING = (
    ("average_precision", "average precision"),
    ("roc_auc", "ROC AUC"),
    ("purity_at_90_completeness", "purity at 90% completeness"),
)
_ERROR = ("ece", "calibration error")
_ERROR_BEFORE = ("ece_uncalibrated", "the same without calibration")
_LAYOUTS = {
    "classification": _Layout(
        "class",
        (("accuracy", "accuracy"), ("balanced_accuracy", "balanced accuracy"),
         ("f1_macro", "F1 (mean of classes)"), ("log_loss", "log loss (nats)"), _ERROR, _ERROR_BEFORE,
         *_RANKING),
        (("n", "galaxies"), ("precision", "purity"), ("recall", "completeness"), ("f1", "F1")),
    ),
    "multi-label": _Layout(
        "label",
        (("accuracy", "accuracy"), ("f1_macro", "F1 (mean of labels)"), _ERROR, _ERROR_BEFORE,
         *_RANKING),
        (("n", "galaxies"), ("accuracy", "accuracy"), ("f1", "F1"), *_RANKING[:2]),
    ),
    "regression": _Layout(
        "target",
        (("rmse", "RMSE"), ("mae", "mean absolute error"), ("r2", "R²")),
        (("n", "galaxies"), ("rmse", "RMSE"), ("mae", "MAE"), ("r2", "R²")),
    ),
    "tree": _Layout(
        "question",
        (("fraction_rmse", "RMSE of vote fractions"), ("accuracy", "accuracy (mean of questions)"),
         ("accuracy_confident", "accuracy where volunteers agree"), ("nll", "loss (nats a galaxy)"), _ERROR,
         ("challenge_rmse", "RMSE of the Galaxy Challenge")),
        (("n", "galaxies"), ("fraction_rmse", "RMSE"), ("accuracy", "accuracy"),
         ("accuracy_confident", "agreed")),
    ),
}  # fmt: skip


def score_table(task: Task, scores: Mapping[str, float], *, heading: str) -> str:
    """The scores of a task as lines of text, columns aligned.

    Args:
        task: What was predicted; says which scores matter.
        scores: As `task.metrics` gives them; a dash stands for NaN. What no galaxy has is left out.
        heading: The first line.
    """
    layout = _LAYOUTS[task.kind]
    names = [name for name in _row_names(task) if scores.get(f"n_{name}") != 0]
    headline = [[words, number(scores[name])] for name, words in layout.headline if name in scores]
    lines = [heading, "", *aligned(headline)]
    if names:
        rows = [[layout.rows, *(words for _, words in layout.columns)]]
        rows += [
            [name, *(_cell(key, scores.get(f"{key}_{name}")) for key, _ in layout.columns)] for name in names
        ]
        lines += ["", *aligned(rows)]
    return "\n".join(lines)


def _row_names(task: Task) -> Sequence[str]:
    if isinstance(task, ClassificationTask):
        return task.class_names
    if isinstance(task, TreeTask):
        return [question.text for question in task.schema.questions]
    return task.label_cols if len(task.label_cols) > 1 else ()


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
