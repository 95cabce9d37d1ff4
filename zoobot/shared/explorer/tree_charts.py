"""What a page shows of a decision tree: its summary as columns, and a chart for each question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.explorer.contents import Bar, Chart, Column, Described
from zoobot.shared.explorer.label_differences import ERROR_NAME, ERROR_TITLE, root_mean_square
from zoobot.shared.plots import question_titles
from zoobot.shared.trees.posterior_tables import summary_table
from zoobot.shared.votes import fractions_from_votes

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from zoobot.shared.posteriors import IntervalKind
    from zoobot.shared.tasks import TreeTask

__all__ = ["describe_tree"]


def describe_tree(
    task: TreeTask, samples: NDArray, labels: NDArray, level: float, kind: IntervalKind
) -> Described:
    """The columns and charts of a tree's predictions.

    Args:
        task: What was predicted.
        samples: Concentrations, (samples, galaxies, answers); a galaxy has a prediction if all are finite
            and above 0.
        labels: Votes, (galaxies, answers), NaN where unknown.
        level: Probability inside the intervals, in (0, 1).
        kind: "equal-tailed" or "highest-density" intervals.

    Raises:
        LabelError: If these are no votes.
    """
    schema = task.schema
    good = (np.isfinite(samples) & (samples > 0)).all(axis=(0, 2))
    table = summary_table(samples[:, good], schema, level=level, kind=kind)
    table = table.set_axis(np.flatnonzero(good)).reindex(np.arange(len(good)))
    observed = fractions_from_votes(labels, schema)
    titles = question_titles(schema)
    has_votes = bool(np.isfinite(observed).any())
    columns: list[Column] = []
    charts: list[Chart] = []
    place: dict[str, tuple[int, int]] = {}
    for number, question in enumerate(schema.questions):
        asked = _add(columns, table, f"{question.text}_asked", f"{titles[number]}: Asked")
        bars: list[Bar] = []
        for answer in question.answers:
            name = f"{answer.label_col}_fraction"
            place[answer.label_col] = (number, len(bars))
            value = _add(columns, table, name, f"{titles[number]}: {answer.pretty}")
            ends = [_add(columns, table, f"{name}_{end}", "", listed=False) for end in ("lower", "upper")]
            label = len(columns) if has_votes else None
            if has_votes:
                column = observed[:, answer.index]
                title = f"{titles[number]}: {answer.pretty}, label"
                columns.append(Column(f"{answer.label_col}_label_fraction", title, column, True, False))
            bars.append(Bar(answer.pretty, value, ends[0], ends[1], label))
        charts.append(Chart(titles[number], bars, asked))
    charts = [
        chart._replace(parents=[place[parent] for parent in question.parents])
        for chart, question in zip(charts, schema.questions, strict=True)
    ]
    if has_votes:
        shown = table[[f"{name}_fraction" for name in schema.label_cols]].to_numpy()
        columns.append(Column(ERROR_NAME, ERROR_TITLE, root_mean_square(shown - observed), True))
    return Described(columns, [], charts)


def _add(columns: list[Column], table: pd.DataFrame, name: str, title: str, *, listed: bool = True) -> int:
    columns.append(Column(name, title, table[name].to_numpy(), is_share=True, is_listed=listed))
    return len(columns) - 1
