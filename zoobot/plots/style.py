"""The common look of the pictures, and the one place that saves them."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared.files.whole import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zoobot.shared.schemas import Schema

INK = "#1d2733"  # text
GREY = "#8a96a3"  # secondary text, guide lines
PALE = "#e9edf2"  # backgrounds of bars, grids
MAIN = "#2f6db3"  # what the model says
ACCENT = "#e0782f"  # what people say: labels, volunteers


def new_figure(width_inch: float, height_inch: float) -> Figure:
    """An empty figure that lays itself out and needs no display."""
    from matplotlib.figure import Figure  # late: it takes half a second

    return Figure(figsize=(width_inch, height_inch), layout="constrained", facecolor="white")


def tidy(axes: Axes, *, title: str = "", x: str = "", y: str = "", grid: bool = True) -> None:
    """Name the axes and take away the ink that says nothing."""
    axes.set_title(title, fontsize=10, color=INK, loc="left", pad=6)
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=GREY, labelcolor=INK, length=3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    if grid:
        axes.grid(visible=True, color=PALE, linewidth=0.8)
        axes.set_axisbelow(True)


def question_titles(schema: Schema) -> list[str]:
    """What each question is called in a picture: without the survey's suffix where all share one."""
    endings = {question.text.rpartition("-")[2] for question in schema.questions}
    shared = len(schema.questions) > 1 and len(endings) == 1
    ending = f" {next(iter(endings))}" if shared else ""
    return [question.pretty.removesuffix(ending) for question in schema.questions]


def wrap_title(text: str, letters: int) -> str:
    r"""The text in lines of at most so many letters, so that a picture cuts none; its own lines stay.

    Example:
        >>> wrap_title("1. J0001\nexpected: a ring", 12).splitlines()
        ['1. J0001', 'expected: a', 'ring']
    """
    return "\n".join(textwrap.fill(line, letters) for line in text.splitlines())


def save(figure: Figure, path: str | Path, *, dpi: int = 150, **options: Any) -> Path:
    """Write the figure as PNG, whole or not at all, make its folder if needed, and return its path.

    Raises:
        WriteError: If it can't be written; an older picture stays.
    """
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=dpi, **options)
    return Path(path)
