"""What a page shows of the predictions of each kind of task: its columns, and the charts drawn of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoobot.explorer.contents import Bar, Chart, Column, Described, Text
from zoobot.plots import question_titles
from zoobot.shared.posteriors import IntervalKind, check_level
from zoobot.shared.predicting.posterior_tables import summary_table
from zoobot.shared.votes import fractions_from_votes

if TYPE_CHECKING:
    import pandas as pd

    from zoobot.shared.tasks import Task
    from zoobot.shared.trees.tree import Schema


# How far predictions are from what people say, in a number for each galaxy.

ERROR_NAME = "label_difference"
ERROR_TITLE = "Difference from the label"


def root_mean_square(differences: NDArray) -> NDArray:
    """Of what is known of each galaxy, from (galaxies, outputs); NaN where nothing is."""
    known = np.isfinite(differences)
    total = np.where(known, differences, 0.0) ** 2
    count = known.sum(axis=1)
    return np.sqrt(np.divide(total.sum(axis=1), count, out=np.full(len(count), np.nan), where=count > 0))


# What a page shows of a decision tree: its summary as columns, and a chart for each question.


def describe_tree(
    schema: Schema, samples: NDArray, labels: NDArray, level: float, kind: IntervalKind
) -> Described:
    """The columns and charts of a tree's predictions.

    Args:
        schema: The tree.
        samples: Concentrations, (samples, galaxies, answers); a galaxy has a prediction if all are finite
            and above 0.
        labels: Votes, (galaxies, answers), NaN where unknown.
        level: Probability inside the intervals, in (0, 1).
        kind: "equal-tailed" or "highest-density" intervals.

    Raises:
        LabelError: If these are no votes.
    """
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


#: The page shows this against the first prediction, where it is there.
RANK_NAME = "predicted_rank"


def describe_predictions(
    task: Task, samples: NDArray, labels: NDArray, *, level: float, kind: IntervalKind = "equal-tailed"
) -> Described:
    """The columns and charts of predictions.

    A tree has those of its summary (`posterior_tables.summary_table`): blank where a question is unlikely to
    be asked. Other tasks have the mean of the samples, and, of two or more samples, the equal-tailed interval
    that holds a share of them.

    Args:
        task: What was predicted.
        samples: (samples, galaxies, outputs); a galaxy with NaN has no prediction.
        labels: (galaxies, label columns), NaN where unknown.
        level: Probability inside the intervals, in (0, 1).
        kind: "equal-tailed" or "highest-density" intervals, of a tree.

    Raises:
        ConfigError: If the level is not in (0, 1).
        LabelError: If the labels are none of this task.
    """
    check_level(level)
    if task.tree is not None:
        return describe_tree(task.tree, samples, labels, level, kind)
    describe = _DESCRIBE[task.predicts]
    return describe(task, *_mean_and_interval(samples, level), labels)


def _classes(task: Task, mean: NDArray, ends: NDArray | None, labels: NDArray) -> Described:
    classes = task.groups[0].answers
    columns, bars = _columns_with_ends(task.output_columns, classes, mean, ends, is_share=True)
    if len(classes) == 2:  # one probability is all there is to say: against its rank it can be seen
        columns.append(Column(RANK_NAME, f"Rank of {classes[0]}", _rank(mean[:, 0])))
    title = task.label_cols[0] if task.label_cols else "Class"
    known = np.isfinite(mean).all(axis=1)
    likely = np.where(known[:, None], mean, 0.0).argmax(axis=1)
    texts = [
        Text(
            "predicted_class",
            "Predicted",
            [classes[k] if ok else "" for k, ok in zip(likely, known, strict=True)],
        )
    ]
    is_labelled = np.isfinite(labels[:, 0])
    if not is_labelled.any():
        return Described(columns, texts, [Chart(title, bars)])
    codes = np.where(is_labelled, labels[:, 0], 0).astype(int)
    names = [classes[k] if ok else "" for k, ok in zip(codes, is_labelled, strict=True)]
    texts.append(Text("label", "Label", names))
    error = np.where(is_labelled, 1 - mean[np.arange(len(mean)), codes], np.nan)
    columns.append(Column(ERROR_NAME, ERROR_TITLE, error, True))
    return Described(columns, texts, [Chart(title, bars, label=len(texts) - 1)])


def _rank(values: NDArray) -> NDArray:
    """1 for the highest value, 2 for the next …; NaN where there is none."""
    ranks = np.full(len(values), np.nan)
    order = np.argsort(-values, kind="stable")[: int(np.isfinite(values).sum())]
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks


def _yes_or_no(task: Task, mean: NDArray, ends: NDArray | None, labels: NDArray) -> Described:
    names = task.label_cols or tuple(map(str, range(task.num_outputs)))
    columns, bars = _columns_with_ends(task.output_columns, names, mean, ends, is_share=True)
    if np.isfinite(labels).any():
        bars = _with_labels(columns, bars, names, labels, is_share=True)
        columns.append(Column(ERROR_NAME, ERROR_TITLE, root_mean_square(mean - labels), True))
    return Described(columns, [], [Chart("Labels", bars)])


def _numbers(task: Task, mean: NDArray, ends: NDArray | None, labels: NDArray) -> Described:
    names = task.label_cols or tuple(map(str, range(task.num_outputs)))
    columns, bars = _columns_with_ends(task.output_columns, names, mean, ends, is_share=False)
    if np.isfinite(labels).any():
        bars = _with_labels(columns, bars, names, labels, is_share=False)
        for number, name in enumerate(names):
            error = np.abs(mean[:, number] - labels[:, number])
            columns.append(Column(f"{name}_{ERROR_NAME}", f"{name}: difference from the label", error))
    charts = []
    for name, bar in zip(names, bars, strict=True):
        drawn = [columns[k].values for k in (bar.value, bar.lower, bar.upper, bar.label) if k is not None]
        charts.append(Chart(name, [bar._replace(title="Predicted")], scale=_range(np.concatenate(drawn))))
    return Described(columns, [], charts)


_DESCRIBE: dict[str, Callable[..., Described]] = {
    "classes": _classes,
    "labels": _yes_or_no,
    "numbers": _numbers,
}


def _mean_and_interval(samples: NDArray, level: float) -> tuple[NDArray, NDArray | None]:
    """The mean of samples, and the ends that hold a share of them, (2, galaxies, outputs), of several."""
    mean = samples.mean(axis=0)
    mean = np.where(np.isfinite(mean), mean, np.nan)
    if len(samples) == 1:
        return mean, None
    tail = (1 - level) / 2
    ends = np.quantile(np.where(np.isfinite(mean), samples, np.nan), [tail, 1 - tail], axis=0)
    return mean, ends


def _columns_with_ends(
    names: list[str], titles: tuple[str, ...], mean: NDArray, ends: NDArray | None, *, is_share: bool
) -> tuple[list[Column], list[Bar]]:
    columns: list[Column] = []
    bars = []
    for number, (name, title) in enumerate(zip(names, titles, strict=True)):
        bar = Bar(title, len(columns))
        columns.append(Column(name, title, mean[:, number], is_share))
        if ends is not None:
            bar = bar._replace(lower=len(columns), upper=len(columns) + 1)
            for end, values in zip(("lower", "upper"), ends, strict=True):
                columns.append(Column(f"{name}_{end}", "", values[:, number], is_share, is_listed=False))
        bars.append(bar)
    return columns, bars


def _with_labels(
    columns: list[Column], bars: list[Bar], names: tuple[str, ...], labels: NDArray, *, is_share: bool
) -> list[Bar]:
    """The bars, with a further column each of what people say."""
    marked = [bar._replace(label=len(columns) + number) for number, bar in enumerate(bars)]
    for number, name in enumerate(names):
        columns.append(Column(f"{name}_label", f"{name}: label", labels[:, number], is_share))
    return marked


def _range(values: NDArray) -> tuple[float, float]:
    """The smallest and the largest of some numbers, never the same."""
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)
