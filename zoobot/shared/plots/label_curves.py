"""Score against labels bought, a line for each way to choose them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoobot.shared.choosing.label_curves import labels_to_match, lower_is_better, mean_curve, without_relapses
from zoobot.shared.errors import ConfigError
from zoobot.shared.plots.style import ACCENT, GREY, INK, MAIN, new_figure, save, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["label_curves"]

_COLOURS = (MAIN, ACCENT, "#3c8f5a", "#8a5aa8", "#b8a03c", "#3ba5b8")
_MOST_COLUMNS = 3


def label_curves(
    panels: Mapping[str, tuple[pd.DataFrame, str]], path: str | Path, *, reference: str = "random"
) -> Path:
    """A picture of the mean score of each strategy, with the range of its seeds.

    Where the reference is among the strategies, a dotted line stands at what it reaches in the end, and a
    mark where each of the others gets there.

    Args:
        panels: Title → the curves (a row for each `strategy`, `seed` and round, with `labels` and scores),
            and the score to draw.
        path: The PNG file to write.
        reference: The strategy to compare with; grey.

    Returns:
        The path of the picture.

    Raises:
        ConfigError: If there is nothing to draw.
    """
    if not panels or any(curves.empty for curves, _ in panels.values()):
        msg = "there are no curves to draw"
        raise ConfigError(msg)
    columns = min(len(panels), _MOST_COLUMNS)
    rows = -(-len(panels) // columns)
    figure = new_figure(4.6 * columns, 3.8 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (title, (curves, score)) in zip(grid, panels.items(), strict=False):
        _draw(axes, curves, score, title, reference)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return save(figure, path)


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
