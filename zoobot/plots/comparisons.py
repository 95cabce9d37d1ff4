"""Predictions against the truth, one picture for each kind of task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoobot.plots.examples import Panels
from zoobot.plots.style import (
    ACCENT,
    GREY,
    INK,
    MAIN,
    figure_of,
    new_figure,
    own_or_new,
    question_titles,
    tidy,
    wrap_title,
)
from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zoobot.shared.schemas import Question, Schema

# Which answer is taken for which, question by question.

_MOST_MATRICES = 12
_LONGEST_NAME = 14


def question_confusions(counts: Sequence[np.ndarray], schema: Schema, *, ax: Axes | None = None) -> Figure:
    """A picture of the confusion matrix of each question, up to the twelve with most galaxies.

    Args:
        counts: For each question, galaxies of each true answer (rows) given each answer (columns), as
            `zoobot.certainty.tree_scores.question_confusions` gives them.
        schema: The decision tree.
        ax: Where to draw, instead of a figure of its own; for one question.

    Returns:
        The figure. Colours and numbers are shares of the true answer, in percent.

    Raises:
        ConfigError: If no question has a galaxy.
    """
    titles = question_titles(schema)
    asked = [place for place, matrix in enumerate(counts) if matrix.sum() and len(matrix) > 1]
    if not asked:
        raise ConfigError(f"no question of {schema.name} has votes to compare with")
    drawn = sorted(sorted(asked, key=lambda place: -counts[place].sum())[:_MOST_MATRICES])
    panels = Panels(len(drawn), side_inch=3.1, most=_MOST_MATRICES, ax=ax)
    for axes, place in zip(panels.axes, drawn, strict=True):
        _draw_matrix(axes, counts[place], schema.questions[place])
        tidy(
            axes,
            title=f"{titles[place]} ({counts[place].sum():,} galaxies)",
            x="answer predicted with most votes",
            y="answer with most votes (galaxies)",
            grid=False,
        )
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=7)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_fontsize(7.5)  # as wide as a panel: larger ones would be cut
    note = "Numbers: of the galaxies of each row, the percentage that is predicted so"
    panels.note(note)
    return panels.figure


def _draw_matrix(axes: Axes, counts: np.ndarray, question: Question) -> None:
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        if counts[row].sum():
            colour = "white" if shares[row, column] > 0.55 else INK
            text = f"{100 * shares[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
    names = [_shorten(answer.pretty.lower()) for answer in question.answers]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    sizes = counts.sum(axis=1)
    axes.set_yticks(range(len(names)), [f"{name} ({n:,})" for name, n in zip(names, sizes, strict=True)])


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


_MOST_PANELS = 9
_MOST_ANNOTATED_CLASSES = 12
_DENSE = 2000
_MOST_INTERVALS = 150


def confusion_matrix(
    counts: np.ndarray, class_names: Sequence[str], *, note: str = "", ax: Axes | None = None
) -> Figure:
    """A picture of how often each true class is taken for each class.

    Args:
        counts: Galaxies of each true class (rows) taken for each class (columns), as
            `zoobot.shared.metrics.confusion_matrix` gives them.
        class_names: One name for each class.
        note: What stands behind the number of galaxies, such as a score.
        ax: Where to draw, instead of a figure of its own.

    Returns:
        The figure. Colours are shares of the true class, numbers are galaxies.
    """
    classes = len(class_names)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    side = 2.4 + 0.62 * min(classes, 16)
    axes = own_or_new(ax, side + 0.8, side)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= _MOST_ANNOTATED_CLASSES:
        for row, column in np.ndindex(classes, classes):
            colour = "white" if shares[row, column] > 0.55 else INK
            text = f"{counts[row, column]:,}\n{100 * shares[row, column]:.0f}%"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    title = f"{int(counts.sum()):,} galaxies" + (f", {note}" if note else "")
    tidy(axes, title=title, x="predicted class", y="true class", grid=False)
    axes.set_xticks(range(classes), class_names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(classes), class_names)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure_of(axes)


def regression_scatter(
    predicted: np.ndarray,
    targets: np.ndarray,
    names: Sequence[str],
    *,
    notes: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A picture of predicted against true values, one panel for each target (the first nine).

    Args:
        predicted: (galaxies, targets).
        targets: (galaxies, targets), NaN where unknown.
        names: One name for each target.
        notes: What stands behind a name; by default the RMSE.
        ax: Where to draw, instead of a figure of its own; for one target.

    Returns:
        The figure.
    """
    panels = Panels(len(names), side_inch=3.4, most=_MOST_PANELS, ax=ax)
    for axes, name, column in zip(panels.axes, names, range(len(names)), strict=False):
        known = np.isfinite(targets[:, column])
        truth, guess = targets[known, column], predicted[known, column]
        limits = _common_limits(truth, guess)
        _draw_cloud(axes, truth, guess, limits)
        error = float(np.sqrt(np.mean((guess - truth) ** 2))) if len(truth) else float("nan")
        note = (notes or {}).get(name, f"RMSE {error:.3g}")
        tidy(axes, title=f"{name}   {note}", x="true", y="predicted")
        axes.legend(fontsize=7, frameon=False, loc="upper left", labelcolor=INK)
    return panels.figure


def fractions_scatter(
    fractions: np.ndarray,
    votes: np.ndarray,
    schema: Schema,
    *,
    intervals: tuple[np.ndarray, np.ndarray] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A picture of predicted vote fractions against volunteers' vote fractions, for up to nine answers.

    For each question the answer whose volunteers' fraction varies most is drawn, and of the questions those
    that most galaxies were asked.

    Args:
        fractions: Expected fraction of each answer within its question, (galaxies, answers).
        votes: Volunteers' votes, (galaxies, answers), NaN where a question was not asked.
        schema: The decision tree.
        intervals: Lower and upper ends of the fractions' 90 % intervals, (galaxies, answers) each; drawn
            where few enough galaxies are there to see them.
        ax: Where to draw, instead of a figure of its own; for one question.

    Returns:
        The figure.

    Raises:
        ConfigError: If no question has votes of two galaxies.
    """
    drawn = []
    for question, title in zip(schema.questions, question_titles(schema), strict=True):
        counts = np.nan_to_num(votes[:, question.slice])
        asked = counts.sum(axis=1) > 0
        if asked.sum() < 2 or len(question.answers) < 2:
            continue
        observed = counts[asked] / counts[asked].sum(axis=1, keepdims=True)
        place = int(np.argmax(observed.std(axis=0)))
        panel = f"{title}: {question.answers[place].pretty.lower()}"
        column = question.slice.start + place
        ends = None if intervals is None else np.stack([end[asked, column] for end in intervals])
        drawn.append((int(asked.sum()), panel, observed[:, place], fractions[asked, column], ends))
    if not drawn:
        msg = f"no question of {schema.name} has two galaxies with votes: nothing to compare with"
        raise ConfigError(msg)
    drawn = sorted(drawn, key=lambda panel: -panel[0])[:_MOST_PANELS]
    panels = Panels(len(drawn), side_inch=2.9, most=_MOST_PANELS, ax=ax)
    for axes, (galaxies, title, observed, expected, ends) in zip(panels.axes, drawn, strict=False):
        _draw_cloud(axes, observed, expected, (0.0, 1.0))
        if ends is not None and galaxies <= _MOST_INTERVALS:
            axes.vlines(observed, *ends, color=MAIN, alpha=0.25, linewidth=0.8, zorder=1.5)
        error = float(np.sqrt(np.mean((expected - observed) ** 2)))
        tidy(axes, title=title, x=f"volunteers' fraction ({galaxies:,} galaxies)", y="predicted fraction")
        axes.text(0.03, 0.95, f"RMSE {error:.2f}", transform=axes.transAxes, fontsize=8, color=INK, va="top")
    note = "Thin lines: 90% intervals of the model, if galaxies are few\nOrange: median, 68% of galaxies"
    panels.note(note, fontsize=7)
    return panels.figure


def purity_completeness(
    probabilities: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    *,
    notes: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A picture of the purity of a sample against its completeness as its probability threshold falls.

    Args:
        probabilities: (galaxies, labels).
        labels: (galaxies, labels), 1, 0 or NaN.
        names: One name for each label; the first nine are drawn.
        notes: What stands below a name, such as a score.
        ax: Where to draw, instead of a figure of its own.

    Returns:
        The figure.
    """
    from sklearn import metrics  # late: it takes a second

    axes = own_or_new(ax, 5.2, 4.0)
    for column, name in list(enumerate(names))[:_MOST_PANELS]:
        known = np.isfinite(labels[:, column])
        truth = labels[known, column]
        if truth.min(initial=1) == truth.max(initial=0):
            continue  # only one answer among these galaxies: purity says nothing
        purity, completeness, _ = metrics.precision_recall_curve(truth, probabilities[known, column])
        label = f"{name} ({100 * truth.mean():.0f}% of galaxies)"
        label += f"\n{notes[name]}" if notes and name in notes else ""
        axes.plot(completeness, purity, linewidth=1.8, label=label, drawstyle="steps-post")
    tidy(axes, title="Samples by falling probability", x="completeness", y="purity")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
    if axes.lines:
        axes.legend(fontsize=8, frameon=False, loc="lower left", labelcolor=INK)
    return figure_of(axes)


def _common_limits(truth: np.ndarray, guess: np.ndarray) -> tuple[float, float]:
    values = np.concatenate([truth, guess])
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _draw_cloud(axes: Axes, truth: np.ndarray, guess: np.ndarray, limits: tuple[float, float]) -> None:
    """Points, or their density where they would hide each other, over the line of perfect prediction."""
    axes.plot(limits, limits, color=GREY, linewidth=1, zorder=1, label="predicted = true")
    if len(truth) > _DENSE:
        options: dict[str, Any] = {
            "gridsize": 45,
            "mincnt": 1,
            "bins": "log",
            "cmap": "Blues",
            "linewidths": 0.1,
        }
        axes.hexbin(truth, guess, extent=(*limits, *limits), **options)
    else:
        size = float(np.clip(3000 / max(1, len(truth)), 5, 20))
        axes.scatter(truth, guess, s=size, color=MAIN, alpha=0.55, linewidths=0, zorder=2)
    _draw_running_median(axes, truth, guess)
    axes.set(xlim=limits, ylim=limits, aspect="equal")


def _draw_running_median(axes: Axes, truth: np.ndarray, guess: np.ndarray) -> None:
    """Median prediction in eight bins of the truth: shows a bias that a cloud hides."""
    if len(truth) < 80:
        return
    edges = np.unique(np.quantile(truth, np.linspace(0, 1, 9)))
    if len(edges) < 4:
        return
    which = np.clip(np.digitize(truth, edges[1:-1]), 0, len(edges) - 2)
    bins = [which == b for b in range(len(edges) - 1) if (which == b).any()]
    x, y = ([float(np.median(values[b])) for b in bins] for values in (truth, guess))
    low, high = ([float(np.quantile(guess[b], tail)) for b in bins] for tail in (0.16, 0.84))
    axes.fill_between(x, low, high, color=ACCENT, alpha=0.18, linewidth=0, zorder=1.5)
    label = "median, and 68% of galaxies"
    axes.plot(x, y, color=ACCENT, linewidth=1.6, marker="o", markersize=3.5, zorder=3, label=label)


# One model against others, score by score.


class Difference(NamedTuple):
    """By how much a score differs from another model's.

    Args:
        score: Which one, in words.
        rival: The other model, as a letter.
        value: The difference.
        ends: Its interval, if it has one.
        text: What is written beside it.
        lower_is_better: Whether a negative difference is good.
    """

    score: str
    rival: str
    value: float
    ends: tuple[float, float] | None
    text: str
    lower_is_better: bool = False


_ROW_INCH = 0.42


def score_differences(rows: Sequence[Difference], *, names: Mapping[str, str]) -> Figure:
    """A picture of how a model's scores differ from those of others: right of the line it is better.

    Args:
        rows: The differences; those of one score follow each other, and have one scale.
        names: What each letter stands for; the first is the model.

    Returns:
        The figure: points with their intervals, coloured where these do not reach the line.

    Raises:
        ConfigError: If there is nothing to draw.
    """
    if not rows:
        raise ConfigError("there are no differences of scores to draw")
    scores = list(dict.fromkeys(row.score for row in rows))
    heights = [sum(row.score == score for row in rows) for score in scores]
    title = wrap_title("\n".join(f"{letter}  {name}" for letter, name in names.items()), 90)
    figure = new_figure(7.6, 0.8 + 0.16 * title.count("\n") + _ROW_INCH * (len(rows) + 0.4 * len(scores)))
    grid = figure.subplots(len(scores), 1, squeeze=False, height_ratios=[n + 0.4 for n in heights])[:, 0]
    for axes, score in zip(grid, scores, strict=True):
        _draw_score(axes, [row for row in rows if row.score == score], with_rivals=len(names) > 2)
    figure.suptitle(title, fontsize=9, color=INK, x=0.012, ha="left")
    figure.supxlabel(
        "A is worse  ←  difference of scores, each on a scale of its own  →  A is better",
        fontsize=8,
        color=INK,
    )
    return figure


def _draw_score(axes: Axes, rows: Sequence[Difference], *, with_rivals: bool) -> None:
    reach = 1.1 * max(abs(end) for row in rows for end in (row.value, *(row.ends or ()))) or 1.0
    axes.axvline(0, color=GREY, linewidth=1)
    for height, row in enumerate(rows):
        is_told = row.ends is not None and not row.ends[0] <= 0 <= row.ends[1]
        is_better = (row.value > 0) != row.lower_is_better
        colour = (MAIN if is_better else ACCENT) if is_told else GREY
        if row.ends is not None:
            axes.hlines(height, *row.ends, color=colour, linewidth=2)
        axes.scatter([row.value], [height], s=28, color=colour, zorder=3)
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8}
        text = f"{row.rival}  {row.text}" if with_rivals else row.text
        axes.annotate(text, (1.02, height), color=INK, annotation_clip=False, **place)
    first, last = (reach, -reach) if rows[0].lower_is_better else (-reach, reach)
    axes.set(xlim=(first, last), ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks([(len(rows) - 1) / 2], [rows[0].score])
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    axes.spines[:].set_visible(False)
