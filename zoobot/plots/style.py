"""The common look of the figures, and the one place that writes them."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared.defaults import FIGURE_FORMATS
from zoobot.shared.errors import ConfigError
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
    """An empty figure that lays itself out, needs no display, and shows in a notebook."""
    from zoobot.plots.figures import ShownFigure  # late: Matplotlib takes half a second

    return ShownFigure(figsize=(width_inch, height_inch), layout="constrained", facecolor="white")


def own_or_new(ax: Axes | None, width_inch: float, height_inch: float) -> Axes:
    """The axes that were given to draw into, or those of a new figure."""
    return new_figure(width_inch, height_inch).add_subplot() if ax is None else ax


def figure_of(axes: Axes) -> Figure:
    """The whole figure that axes are in."""
    return axes.figure.figure  # of a subfigure that it is part of


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
    return schema.titles


def wrap_title(text: str, letters: int) -> str:
    r"""The text in lines of at most so many letters, so that a picture cuts none; its own lines stay.

    Example:
        >>> wrap_title("1. J0001\nexpected: a ring", 12).splitlines()
        ['1. J0001', 'expected: a', 'ring']
    """
    return "\n".join(textwrap.fill(line, letters) for line in text.splitlines())


def check_figure_path(path: str | Path) -> str:
    """What a figure is written as at this path, one of `FIGURE_FORMATS`; call it before drawing takes long.

    Raises:
        ConfigError: If the name ends otherwise.

    Example:
        >>> check_figure_path("results/Curves.PDF")
        'pdf'
    """
    kind = Path(path).suffix[1:].lower()
    if kind not in FIGURE_FORMATS:
        msg = f"figures are written as .{', .'.join(FIGURE_FORMATS)}, got {str(path)!r}"
        raise ConfigError(msg)
    return kind


def save_figure(figure: Figure, path: str | Path, *, dpi: int = 150, **options: Any) -> Path:
    """Write a figure, whole or not at all, make its folder if needed, and return its path.

    Args:
        figure: Any figure of Matplotlib's.
        path: Its ending says the format: .png, .pdf or .svg.
        dpi: Pixels of an inch, in a PNG, and in what is drawn of pixels elsewhere.
        **options: More of Matplotlib's `savefig`.

    Raises:
        ConfigError: If the name has another ending.
        WriteError: If it can't be written; an older picture stays.

    Example:
        >>> figure = confusion_matrix(counts, ["smooth", "featured"])  # doctest: +SKIP
        >>> save_figure(figure, "confusions.pdf")  # doctest: +SKIP
    """
    from matplotlib import rc_context  # late: it takes half a second

    kind = check_figure_path(path)
    # journals refuse PDFs with bitmap fonts; and the same picture is the same file, without today's date
    told = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    with replacing(path) as draft, rc_context({"pdf.fonttype": 42, "svg.hashsalt": "zoobot"}):
        figure.savefig(draft, format=kind, dpi=dpi, **{"metadata": told, **options})
    return Path(path)
