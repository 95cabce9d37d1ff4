"""How far a model's own certainty can be trusted: reliability curves and the coverage of its intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.certainty.coverage import expected_calibration_error
from zoobot.plots.examples import Panels
from zoobot.plots.style import ACCENT, GREY, INK, MAIN, PALE, figure_of, own_or_new, tidy
from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Steps with fewer predictions are hollow, and no line is drawn to them.
_FEWEST = 10

_LEVEL_COLOURS = ("#8a5aa8", "#3c8f5a", MAIN, ACCENT)


def reliability_panels(
    curves: Mapping[str, pd.DataFrame],
    *,
    x: str = "predicted",
    y: str = "observed",
    notes: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A picture of reliability curves, a panel for each of the twelve with most predictions.

    Args:
        curves: By title, as `zoobot.certainty.coverage` gives them.
        x: What was predicted.
        y: What was seen.
        notes: By title, the calibration error in words; by default its number.
        ax: Where to draw, instead of a figure of its own; for one curve.

    Returns:
        The figure. On the diagonal predictions come true; columns are how many there are of
        each, lines how far off by chance a point may be (68 %). Points of few predictions are hollow.

    Raises:
        ConfigError: If no curve has a point.
    """
    filled = {name: curve for name, curve in curves.items() if len(curve)}
    if not filled:
        raise ConfigError("there are no predictions with labels to draw a reliability curve of")
    panels = Panels(len(filled), side_inch=2.9, most=12, ax=ax)
    order = sorted(filled, key=lambda name: -filled[name]["n"].sum())[: len(panels.axes)]
    for axes, name in zip(panels.axes, [n for n in filled if n in order], strict=True):
        error = f"{expected_calibration_error(filled[name]):.3f}"
        _draw_reliability(axes, filled[name], (notes or {}).get(name, error))
        tidy(axes, title=name, x=x, y=y)
    return panels.figure


def _draw_reliability(axes: Axes, curve: pd.DataFrame, error: str) -> None:
    predicted, observed, n = (curve[name].to_numpy(dtype=float) for name in ("predicted", "observed", "n"))
    axes.bar(predicted, 0.25 * n / n.max(), width=0.06, color=PALE, linewidth=0, zorder=0)
    axes.plot((0, 1), (0, 1), color=GREY, linewidth=1, zorder=1)
    low, high = _ends(observed, n)
    axes.vlines(predicted, low, high, color=MAIN, linewidth=1, alpha=0.7, zorder=2)
    told = n >= _FEWEST
    axes.scatter(predicted[~told], observed[~told], s=16, facecolors="white", edgecolors=MAIN, zorder=3)
    axes.scatter(predicted[told], observed[told], s=18, color=MAIN, zorder=3)
    for first in np.flatnonzero(told[:-1] & told[1:]):
        ends = slice(first, first + 2)
        axes.plot(predicted[ends], observed[ends], color=MAIN, linewidth=1.6, zorder=3)
    axes.text(0.03, 0.95, f"error {error}", transform=axes.transAxes, fontsize=8, color=INK, va="top")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")


def _ends(shares: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the true share lies with 68 %, after so many cases (Wilson 1927, J. Am. Stat. Assoc. 22, 209)."""
    middle = (shares + 0.5 / n) / (1 + 1 / n)
    reach = np.sqrt(shares * (1 - shares) / n + 0.25 / n**2) / (1 + 1 / n)
    return np.clip(middle - reach, 0, 1), np.clip(middle + reach, 0, 1)


def coverage_dots(
    table: pd.DataFrame, *, titles: Mapping[str, str] | None = None, ax: Axes | None = None
) -> Figure:
    """A picture of how many votes the intervals of each level hold, a line for each question.

    Args:
        table: As `zoobot.certainty.coverage.coverage_table` gives it.
        titles: What each question is called; by default its own text.
        ax: Where to draw, instead of a figure of its own.

    Returns:
        The figure: filled dots should lie on the line of their colour; hollow ones, of whole
        intervals, to the right of it.

    Raises:
        ConfigError: If no question has a coverage.
    """
    known = table[table["votes"].notna()]
    if known.empty:
        raise ConfigError("no question has votes to measure coverage on")
    questions = list(dict.fromkeys(known["question"]))
    levels = sorted(set(known["level"]))
    axes = own_or_new(ax, 7.2, 1.3 + 0.3 * len(questions))
    for level, colour in zip(levels, _colours(len(levels)), strict=True):
        rows = known[known["level"] == level]
        heights = [questions.index(question) for question in rows["question"]]
        axes.axvline(level, color=colour, linewidth=1, alpha=0.6, zorder=1)
        axes.scatter(rows["votes_plain"], heights, s=26, facecolors="white", edgecolors=colour, zorder=2)
        axes.scatter(rows["votes"], heights, s=30, color=colour, zorder=3)
        label: dict[str, Any] = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
        above = (level, 1)
        text = f"{100 * level:.0f}%"
        axes.annotate(text, above, xycoords=("data", "axes fraction"), **label, fontsize=8, color=colour)
    counts = known.drop_duplicates("question").set_index("question")["n"]
    names = [f"{(titles or {}).get(q, q)}  ({counts[q]:,})" for q in questions]
    tidy(axes, x="share of votes inside the interval  (● randomised, ○ whole)")
    axes.set_yticks(range(len(questions)), names)
    lowest = min(float(known["votes"].min()), levels[0])
    axes.set(xlim=(max(0.0, lowest - 0.05), 1.01), ylim=(len(questions) - 0.5, -0.5))
    return figure_of(axes)


def _colours(count: int) -> list[str]:
    places = np.linspace(0, len(_LEVEL_COLOURS) - 1, count).round().astype(int)
    return [_LEVEL_COLOURS[place] for place in places]
