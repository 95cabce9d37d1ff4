"""Example galaxies beside what the model says of them, and what people say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoobot.plots.style import ACCENT, GREY, INK, MAIN, PALE, figure_of, new_figure, wrap_title
from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A grid of small panels of one size.


class Panels:
    """Square panels in a grid, as square as it can be, without empty ones.

    Args:
        count: How many are wanted.
        side_inch: Side of a panel.
        most: How many there may be at most.
        ax: The one panel, if it was given to draw into.

    Raises:
        ConfigError: If one was given, and it is not one that is wanted.
    """

    def __init__(self, count: int, *, side_inch: float, most: int = 9, ax: Axes | None = None) -> None:
        count = min(count, most)
        self.figure: Figure
        self.axes: list[Axes]
        self._is_whole = ax is None
        if ax is not None:
            check_one_panel(count)
            self.figure, self.axes = figure_of(ax), [ax]
            return
        columns = min(3 if count <= 9 else 4, count)
        rows = -(-count // columns)
        self.figure = new_figure(side_inch * columns + 0.2, side_inch * rows)
        grid = self.figure.subplots(rows, columns, squeeze=False).flatten()
        for unused in grid[count:]:
            unused.remove()
        self.axes = list(grid[:count])

    def note(self, text: str, *, fontsize: float = 8) -> None:
        """Lines below all panels of a figure that is ours; below one that was given there is no room."""
        if self._is_whole:
            letters = int(self.figure.get_figwidth() * 72 / (0.6 * fontsize))
            self.figure.supxlabel(wrap_title(text, letters), fontsize=fontsize, color=INK)


def check_one_panel(count: int) -> None:
    """Raise a ConfigError unless there is one panel, where one was given to draw into."""
    if count != 1:
        raise ConfigError(f"ax= takes one panel, but there are {count} to draw: leave it out, or draw one")


# Many galaxies at a glance, each with a line or two above it.

_PANEL_INCH = 1.75
_LINE_INCH = 0.12
_CAPTION_LETTERS = 27


def contact_sheet(
    images: Sequence[np.ndarray | None],
    names: Sequence[str],
    *,
    columns: int = 6,
    marked: Sequence[int] = (),
) -> Figure:
    """A picture of galaxies in rows, in reading order.

    Args:
        images: (height, width, channels) each, uint8 or float in [0, 1]; None where it can't be read.
        names: What stands above each; a place without image and name stays empty.
        columns: Galaxies side by side.
        marked: Which of them, counted from 0, have a frame.

    Returns:
        The figure.

    Raises:
        ConfigError: If there are no galaxies, or not one name for each.

    Example:
        >>> contact_sheet([np.zeros((32, 32, 3))], ["1. J0001"])  # doctest: +SKIP
    """
    if not len(images) or len(images) != len(names):
        msg = f"expected one or more images and as many names, got {len(images)} and {len(names)}"
        raise ConfigError(msg)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    titles = [wrap_title(name, _CAPTION_LETTERS) for name in names]
    title_inch = _LINE_INCH * (1 + max(title.count("\n") for title in titles)) + 0.06
    figure = new_figure(_PANEL_INCH * columns + 0.1, (_PANEL_INCH + title_inch) * rows + 0.1)
    for axes in figure.subplots(rows, columns, squeeze=False).flatten()[len(images) :]:
        axes.remove()
    for place, (axes, image, name) in enumerate(zip(figure.axes, images, titles, strict=True)):
        if image is None and not name:
            axes.set_axis_off()
            continue
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=place in marked, color=ACCENT, linewidth=2.5)
        axes.set_title(name, fontsize=7, color=INK, pad=2)
        if image is None:
            axes.set(facecolor=PALE, aspect="equal")
            axes.text(0.5, 0.5, "no image", fontsize=8, color=GREY, ha="center", transform=axes.transAxes)
        else:
            axes.imshow(displayable(image), cmap="gray", vmin=0, vmax=1, interpolation="lanczos")
    return figure


_MOST_ROWS = 10
_TITLE_LETTERS = 62  # above an image and its bars
_HEADING_LETTERS = 40
_FEWEST_ROWS = 6


class Bar(NamedTuple):
    """One line beside a galaxy.

    Args:
        text: What it is about.
        predicted: Length of the bar, in [0, 1]; None makes the line a heading.
        observed: Where labels or volunteers put it, in [0, 1]; None draws no mark.
        value: What is written at the end; by default the prediction in percent.
    """

    text: str
    predicted: float | None = None
    observed: float | None = None
    value: str | None = None


def example_galaxies(
    images: Sequence[np.ndarray],
    bars: Sequence[Sequence[Bar]],
    *,
    names: Sequence[str] = (),
    columns: int = 3,
    legend: tuple[str, str] = ("model", "label"),
) -> Figure:
    """A picture of galaxies, each beside its predictions as bars.

    Args:
        images: (height, width, channels) each, uint8 or float in [0, 1].
        bars: For each galaxy, the lines beside it; only the first ten are drawn.
        names: A name for each galaxy.
        columns: Galaxies side by side.
        legend: What the bars and the marks are called.

    Returns:
        The figure.

    Raises:
        ConfigError: If there are no galaxies, or not one list of bars for each.

    Example:
        >>> images = [np.zeros((32, 32, 3))]  # doctest: +SKIP
        >>> example_galaxies(images, [[Bar("ring", 0.9, 1.0)]])  # doctest: +SKIP
    """
    if not len(images) or len(images) != len(bars):
        msg = f"expected one or more images and as many lists of bars, got {len(images)} and {len(bars)}"
        raise ConfigError(msg)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    titles = [wrap_title(name, _TITLE_LETTERS) for name in names] if names else [""] * len(images)
    title_inch = _LINE_INCH * max(1 + title.count("\n") for title in titles)
    figure = new_figure(4.1 * columns, (1.9 + title_inch) * rows + 0.4)
    figure.get_layout_engine().set(h_pad=0.18)  # type: ignore[union-attr, call-arg]  # titles of several lines
    grid = figure.add_gridspec(rows, 2 * columns, width_ratios=[1.0, 1.15] * columns)
    for place, (image, lines) in enumerate(zip(images, bars, strict=True)):
        row, column = divmod(place, columns)
        _draw_image(figure.add_subplot(grid[row, 2 * column]), image, titles[place])
        _draw_bars(figure.add_subplot(grid[row, 2 * column + 1]), list(lines)[:_MOST_ROWS])
    _draw_legend(figure, legend, marks=any(b.observed is not None for lines in bars for b in lines))
    return figure


def displayable(image: np.ndarray) -> np.ndarray:
    """The image as Matplotlib shows it: (height, width) for grey, (height, width, 3) for colour, in [0, 1].

    Of more bands the first three stand for red, green and blue; of two, the first is shown.
    """
    scaled = image.astype(np.float32) / 255 if image.dtype == np.uint8 else image
    shown = scaled[..., :3] if scaled.shape[-1] >= 3 else scaled[..., 0]
    return np.clip(shown, 0, 1)


def _draw_image(axes: Axes, image: np.ndarray, name: str) -> None:
    axes.imshow(displayable(image), cmap="gray", vmin=0, vmax=1, interpolation="lanczos")
    axes.set(xticks=[], yticks=[])  # of an axis that is off the layout would not count the title
    axes.spines[:].set_visible(False)
    if name:
        # it may be wider than the image, and there is room above the bars
        axes.set_title(name, fontsize=7, color=GREY, pad=3, loc="left")


def _draw_bars(axes: Axes, lines: list[Bar]) -> None:
    """Lines from the top; each has its text on the bar, its mark across it, and its value to the right."""
    axes.set_xlim(0, 1.2)
    axes.set_ylim(max(len(lines), _FEWEST_ROWS) - 0.4, -0.6)
    axes.set_axis_off()
    for height, line in enumerate(lines):
        if line.predicted is None:
            text = line.text if line.value is None else f"{line.text}  {line.value}"
            text = wrap_title(text, _HEADING_LETTERS)
            axes.text(0, height + 0.1, text, fontsize=7.5, color=INK, fontweight="bold", va="center")
            continue
        axes.barh(height, 1, height=0.74, color=PALE, linewidth=0)
        axes.barh(height, line.predicted, height=0.74, color=MAIN, alpha=0.45, linewidth=0)
        if line.observed is not None:
            place = min(max(line.observed, 0.008), 0.992)  # a mark at the very edge would be cut in half
            axes.vlines(place, height - 0.37, height + 0.37, color=ACCENT, linewidth=2.4)
        value = f"{100 * line.predicted:.0f}%" if line.value is None else line.value
        axes.text(0.025, height, line.text, fontsize=7.5, color=INK, va="center", zorder=4)
        axes.text(1.03, height, value, fontsize=7.5, color=INK, va="center")


def _draw_legend(figure: Figure, legend: tuple[str, str], *, marks: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(facecolor=MAIN, alpha=0.45, label=legend[0])]
    if marks:
        handles.append(
            Line2D(
                [],
                [],
                color=ACCENT,
                marker="|",
                markersize=9,
                markeredgewidth=2.4,
                linewidth=0,
                label=legend[1],
            )
        )
    figure.legend(
        handles=handles, loc="outside lower right", ncols=2, fontsize=8, frameon=False, labelcolor=INK
    )
