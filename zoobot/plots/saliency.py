"""A galaxy beside the pixels that made a model say what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from zoobot.plots.examples import displayable
from zoobot.plots.style import ACCENT, INK, MAIN, new_figure, wrap_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from zoobot.shared.explaining.explanations import Explanation

_SIDE_INCH = 3.4
_HEAT = "inferno"
_CAPTION_LETTERS = 46
_TITLE_LETTERS = 26  # for each panel; the legend stands beside

#: Single pixels mean little and are hard to see: their light is spread, by a share of what the model sees.
_SPREAD = 0.011

#: The share of pixels above which all are drawn as strongest, so that one alone does not darken the others.
_STRONGEST = 0.995


def explained_galaxy(explanation: Explanation, *, title: str, captions: Sequence[str] = ()) -> Figure:
    """A picture of a galaxy's image, and of each of its maps over the same image in grey.

    What a model sees is framed. Integrated gradients are orange where pixels speak for the answer, and blue
    where they speak against it; Grad-CAM glows where something speaks for it.

    Args:
        explanation: The galaxy, its maps, and what the model sees.
        title: What stands above everything.
        captions: What stands below each panel: the image, then the maps.

    Returns:
        The figure.
    """
    image = displayable(explanation.image)
    grey = image if image.ndim == 2 else image.mean(axis=-1)
    figure = new_figure(_SIDE_INCH * (1 + len(explanation.maps)), _SIDE_INCH + 0.65)
    panels = figure.subplots(1, 1 + len(explanation.maps), squeeze=False)[0]
    panels[0].imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="lanczos")
    for panel, (method, values) in zip(panels[1:], explanation.maps.items(), strict=True):
        over = _over_grey if method == "integrated-gradients" else _glow
        panel.imshow(over(grey, values, explanation.seen.side), interpolation="bilinear")
    for panel, words in zip(panels, captions, strict=False):
        caption = wrap_title(words, _CAPTION_LETTERS)
        panel.set_title(caption, fontsize=8.5, color=INK, y=-0.03, va="top", linespacing=1.4)
    for panel in panels:
        _frame(panel, explanation)
    title = wrap_title(title, _TITLE_LETTERS * len(panels))
    figure.suptitle(title, fontsize=11, color=INK, x=0.012, ha="left")
    _draw_legend(figure, list(explanation.maps))
    return figure


def _over_grey(grey: NDArray, attributions: NDArray, side: float) -> NDArray[np.float64]:
    """A grey image with what speaks for an answer, and against it, in two colours."""
    values = _spread(attributions.sum(axis=-1), _SPREAD * side)
    strongest = np.quantile(np.abs(values[values != 0]), _STRONGEST) if values.any() else 1.0
    values = np.clip(values / strongest, -1, 1)[..., None]
    opacity = np.abs(values) ** 0.6
    colour = np.where(values > 0, _rgb(ACCENT), _rgb(MAIN))
    return np.clip(0.8 * grey[..., None] * (1 - opacity) + _bright(colour) * opacity, 0, 1)


def _glow(grey: NDArray, heat: NDArray, side: float) -> NDArray[np.float64]:
    """A grey image under a light where an answer comes from."""
    from matplotlib import colormaps  # late: whoever draws nothing needs none

    colours = colormaps[_HEAT]
    share = heat / heat.max() if heat.max() > 0 else heat
    return np.clip(0.65 * grey[..., None] + 0.65 * colours(share)[..., :3], 0, 1)


def _spread(values: NDArray, sigma: float) -> NDArray:
    return cv2.GaussianBlur(values.astype(np.float32), (0, 0), max(sigma, 0.3))


def _bright(colour: NDArray) -> NDArray:
    """As bright as it can be in its hue."""
    return colour / colour.max(axis=-1, keepdims=True)


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])


def _frame(panel: Axes, explanation: Explanation) -> None:
    """The part that the model sees, unless it is everything."""
    from matplotlib.patches import Rectangle

    panel.set_axis_off()
    height, width = explanation.image.shape[:2]
    left, top, side = explanation.seen
    if side < max(height, width) - 1:
        corner = (left, top)
        panel.add_patch(Rectangle(corner, side, side, fill=False, color="white", alpha=0.45, linewidth=0.8))
    panel.set_xlim(-0.5, width - 0.5)
    panel.set_ylim(height - 0.5, -0.5)


def _draw_legend(figure: Figure, methods: list[Any]) -> None:
    if "integrated-gradients" not in methods:
        return
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=tuple(_bright(_rgb(colour))), label=label)
        for colour, label in ((ACCENT, "speaks for it"), (MAIN, "speaks against it"))
    ]
    figure.legend(handles=handles, loc="upper right", ncols=2, fontsize=8, frameon=False, labelcolor=INK)
