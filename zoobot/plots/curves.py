"""How training went: losses and scores by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.choosing.label_curves import labels_to_match, lower_is_better, mean_curve, without_relapses
from zoobot.plots.examples import check_one_panel
from zoobot.plots.style import ACCENT, GREY, INK, MAIN, PALE, figure_of, new_figure, tidy
from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Score against labels bought, a line for each way to choose them.

_COLOURS = (MAIN, ACCENT, "#3c8f5a", "#8a5aa8", "#b8a03c", "#3ba5b8")
_MOST_COLUMNS = 3


def label_curves(
    panels: Mapping[str, tuple[pd.DataFrame, str]], *, reference: str = "random", ax: Axes | None = None
) -> Figure:
    """A picture of the mean score of each strategy, with the range of its seeds.

    Where the reference is among the strategies, a dotted line stands at what it reaches in the end, and a
    mark where each of the others gets there.

    Args:
        panels: Title → the curves (a row for each `strategy`, `seed` and round, with `labels` and scores),
            and the score to draw.
        reference: The strategy to compare with; grey.
        ax: Where to draw, instead of a figure of its own; for one panel.

    Returns:
        The figure.

    Raises:
        ConfigError: If there is nothing to draw.
    """
    if not panels or any(curves.empty for curves, _ in panels.values()):
        raise ConfigError("there are no curves to draw")
    grid = _label_panels(len(panels), ax)
    for axes, (title, (curves, score)) in zip(grid, panels.items(), strict=False):
        _draw(axes, curves, score, title, reference)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return figure_of(grid[0])


def _label_panels(count: int, ax: Axes | None) -> Sequence[Axes]:
    if ax is not None:
        check_one_panel(count)
        return [ax]
    columns = min(count, _MOST_COLUMNS)
    rows = -(-count // columns)
    return list(new_figure(4.6 * columns, 3.8 * rows).subplots(rows, columns, squeeze=False).ravel())


def _draw(axes: Axes, curves: pd.DataFrame, score: str, title: str, reference: str) -> None:
    lower = lower_is_better(score)
    names = list(dict.fromkeys(curves["strategy"]))
    others = iter(_COLOURS * len(names))
    target = None
    if reference in names:
        own = mean_curve(curves, reference, score)
        target = float(without_relapses(own["mean"], lower=lower)[-1]) if len(own) else None
    for name in names:
        colour = GREY if name == reference else next(others)
        own = mean_curve(curves, name, score)
        axes.fill_between(own["labels"], own["low"], own["high"], color=colour, alpha=0.13, linewidth=0)
        axes.plot(own["labels"], own["mean"], "o-", color=colour, linewidth=1.6, markersize=3, label=name)
        if target is None or name == reference:
            continue
        rising = without_relapses(own["mean"], lower=lower)
        needed = labels_to_match(own["labels"], rising, target, lower=lower)
        if needed == needed:  # NaN: it never got there
            axes.plot([needed], [target], "D", color=colour, markersize=6, markeredgecolor="white", zorder=5)
    if target is not None:
        axes.axhline(target, color=INK, linewidth=0.8, linestyle=":")
    words = score.replace("_", " ")
    tidy(axes, title=title, x="labels bought", y=f"{words} (lower is better)" if lower else words)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)


_LOSSES = {"training": "train_loss", "validation": "val_loss"}
_WORDS = {
    "f1_macro": "F1 (macro)",
    "roc_auc": "ROC AUC",
    "r2": "R²",
    "accuracy_confident": "accuracy (agreed)",
    "fraction_rmse": "RMSE of fractions",
}
_SCORE_COLOURS = (ACCENT, "#3c8f5a", "#8a5aa8", MAIN)


def training_curves(log: pd.DataFrame, *, scores: Sequence[str] = (), ax: Axes | None = None) -> Figure:
    """A picture of the training and validation loss by epoch, beside the validation scores.

    The epoch of the lowest validation loss, whose weights are kept, is marked.

    Args:
        log: One row for each epoch: `epoch` (from 1; 0 is a head found at once), `train_loss`, `val_loss`,
            and columns `val_<score>`.
        scores: Scores to draw, without the `val_`; those that the log lacks are left out.
        ax: Where to draw, instead of a figure of its own; for the losses alone, without scores.

    Returns:
        The figure.

    Raises:
        ConfigError: If the log has no epochs.

    Example:
        >>> training_curves(pd.read_csv("metrics.csv"), scores=["accuracy"])  # doctest: +SKIP
    """
    if not {"epoch", "val_loss"} <= set(log.columns) or log.empty:
        raise ConfigError(
            f"the training log needs rows with epoch and val_loss, got {len(log)} rows of {list(log.columns)}"
        )
    drawn = [name for name in scores if f"val_{name}" in log and log[f"val_{name}"].notna().any()]
    if ax is not None:
        check_one_panel(2 if drawn else 1)
    axes = (
        [ax]
        if ax is not None
        else new_figure(9.0 if drawn else 5.0, 3.6).subplots(1, 2 if drawn else 1, squeeze=False)[0]
    )
    epochs = log["epoch"].to_numpy()
    losses = {name: column for name, column in _LOSSES.items() if column in log}
    _draw_lines(
        axes[0],
        log,
        epochs,
        losses,
        (GREY, MAIN),
        title="Loss",
        y="loss (mean of galaxies)",
    )
    _mark_best(axes[0], log, epochs)
    if drawn:
        columns = {_WORDS.get(name, name.replace("_", " ")): f"val_{name}" for name in drawn}
        _draw_lines(
            axes[1], log, epochs, columns, _SCORE_COLOURS, title="Scores", y="score on validation galaxies"
        )
    return figure_of(axes[0])


def _draw_lines(
    axes: Axes,
    log: pd.DataFrame,
    epochs: np.ndarray,
    columns: Mapping[str, str],
    colours: Sequence[str],
    *,
    title: str,
    y: str,
) -> None:
    """One line for each column, with its name at its end, in its colour, instead of a legend."""
    from matplotlib.ticker import MaxNLocator

    ends = {}
    for (name, column), colour in zip(columns.items(), colours, strict=False):
        values = log[column].to_numpy(dtype=float)
        axes.plot(epochs, values, color=colour, linewidth=1.8, marker="o", markersize=3)
        if np.isfinite(values[-1]):
            ends[name] = (float(values[-1]), colour)
    tidy(axes, title=title, x="epoch", y=y)
    if len(epochs) == 1:
        axes.margins(y=0.25)  # a name stands beside each point, and what is best above them
    span = max(1.0, float(epochs[-1] - epochs[0]))
    axes.set_xlim(epochs[0] - 0.03 * span, epochs[-1] + 0.3 * span)
    ticks = MaxNLocator(integer=True, nbins=7).tick_values(epochs[0], epochs[-1])
    axes.set_xticks(ticks[(ticks >= epochs[0]) & (ticks <= epochs[-1])])
    for name, height in _apart([(name, value) for name, (value, _) in ends.items()], axes.get_ylim()):
        place: dict[str, Any] = {"xy": (epochs[-1], height), "xytext": (6, 0), "textcoords": "offset points"}
        axes.annotate(name, **place, fontsize=8, color=ends[name][1], va="center", annotation_clip=False)


def _apart(labels: list[tuple[str, float]], limits: tuple[float, float]) -> list[tuple[str, float]]:
    """The labels from the lowest up, each moved up just so far that it does not hide the one below."""
    room = 0.055 * (limits[1] - limits[0])
    placed: list[tuple[str, float]] = []
    for name, height in sorted(labels, key=lambda label: label[1]):
        placed.append((name, max(height, placed[-1][1] + room) if placed else height))
    return placed


def _mark_best(axes: Axes, log: pd.DataFrame, epochs: np.ndarray) -> None:
    """A dotted line at the epoch of the lowest validation loss, if there is one."""
    losses = log["val_loss"].to_numpy(dtype=float)
    if not np.isfinite(losses).any():
        return
    best = int(np.nanargmin(losses))
    axes.axvline(epochs[best], color=GREY, linewidth=0.8, linestyle=":")
    axes.annotate(
        f"best: epoch {epochs[best]}" if epochs[best] else "the best head, found at once",
        (epochs[best], 1),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if best else 4, -2),
        textcoords="offset points",
        fontsize=8,
        color=INK,
        ha="right" if best else "left",
        va="top",
    )


# A score against how much worse images are, a column for each way and a row for each score.


def degradation_curves(
    table: pd.DataFrame, *, names: Mapping[str, str], axes: Mapping[str, str], ax: Axes | None = None
) -> Figure:
    """A picture of each score against the steps of each kind, from mild to severe, beside plain images.

    Args:
        table: Rows of `kind` ("none": images as they are), `step`, `name` of the score, `score`, `low`,
            `high`.
        names: The scores to draw, in words by name, a row for each.
        axes: The kinds to draw, and what their steps are, a column for each.
        ax: Where to draw, instead of a figure of its own; for one score and one kind.

    Returns:
        The figure. The broken line, in its band, is the score of images as they are.

    Raises:
        ConfigError: If there is nothing to draw.
    """
    if not names or not axes or table.empty:
        raise ConfigError("there are no degradations to draw")
    if ax is None:
        figure = new_figure(2.9 * len(axes) + 0.6, 2.6 * len(names))
        grid = figure.subplots(len(names), len(axes), squeeze=False, sharey="row")
    else:
        check_one_panel(len(names) * len(axes))
        grid = np.array([[ax]])
    for row, (name, words) in zip(grid, names.items(), strict=True):
        scores = table[table["name"] == name]
        for own, (kind, what) in zip(row, axes.items(), strict=True):
            _draw_degradation(own, scores[scores["kind"] == "none"], scores[scores["kind"] == kind])
            first_row, first_column = name == next(iter(names)), kind == next(iter(axes))
            tidy(own, title=kind if first_row else "", x=what, y=words if first_column else "")
    return figure_of(grid[0, 0])


def _draw_degradation(axes: Axes, plain: pd.DataFrame, steps: pd.DataFrame) -> None:
    places = np.arange(len(steps))
    axes.axhline(float(plain["score"].iloc[0]), color=GREY, linewidth=1.2, linestyle="--")
    if plain["low"].notna().all():
        axes.axhspan(float(plain["low"].iloc[0]), float(plain["high"].iloc[0]), color=PALE, linewidth=0)
    score, low, high = (steps[column].to_numpy(dtype=float) for column in ("score", "low", "high"))
    axes.plot(places, score, "o-", color=MAIN, linewidth=1.6, markersize=4)
    axes.vlines(places, low, high, color=MAIN, linewidth=1.2)
    axes.set_xticks(places, [f"{step:g}" for step in steps["step"]])
    axes.set_xlim(-0.4, len(steps) - 0.6)
