"""Many galaxies at a glance, each with a line or two above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoobot.shared.errors import ConfigError
from zoobot.shared.plots.examples import displayable
from zoobot.shared.plots.style import ACCENT, GREY, INK, PALE, new_figure, save, wrap_title

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

__all__ = ["contact_sheet"]

_PANEL_INCH = 1.75
_LINE_INCH = 0.12
_TITLE_LETTERS = 27


def contact_sheet(
    path: str | Path,
    images: Sequence[np.ndarray | None],
    names: Sequence[str],
    *,
    columns: int = 6,
    marked: Sequence[int] = (),
) -> Path:
    """A picture of galaxies in rows, in reading order.

    Args:
        path: The PNG file to write.
        images: (height, width, channels) each, uint8 or float in [0, 1]; None where it can't be read.
        names: What stands above each; a place without image and name stays empty.
        columns: Galaxies side by side.
        marked: Which of them, counted from 0, have a frame.

    Returns:
        The path of the picture.

    Raises:
        ConfigError: If there are no galaxies, or not one name for each.

    Example:
        >>> contact_sheet("strange.png", [np.zeros((32, 32, 3))], ["1. J0001"])  # doctest: +SKIP
    """
    if not len(images) or len(images) != len(names):
        msg = f"expected one or more images and as many names, got {len(images)} and {len(names)}"
        raise ConfigError(msg)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    titles = [wrap_title(name, _TITLE_LETTERS) for name in names]
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
    return save(figure, path)
