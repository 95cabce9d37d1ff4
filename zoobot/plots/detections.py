"""A tile with an ellipse on each source that was found in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobot.plots.style import ACCENT, INK, MAIN, new_figure, tidy

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_SIDE_INCH = 8.0
_ODD = "#c2263f"  # flagged
_FAINTEST, _BRIGHTEST = -2.0, 30.0  # in noise of a pixel of the picture


def detections(
    picture: NDArray, table: pd.DataFrame, *, step: int = 1, point_compactness: float, title: str = ""
) -> Figure:
    """A tile with its sources: galaxies, point sources and flagged ones in three colours.

    Args:
        picture: (height, width), without background, NaN where there is no value.
        table: A row for each source: x, y, a, b, theta, kron_pix, compactness and the flags.
        step: How many pixels of the tile one of the picture stands for.
        point_compactness: What is more compact is a point source.
        title: What stands above.

    Example:
        >>> detections(found.picture, found.table, point_compactness=0.8)  # doctest: +SKIP
    """
    from matplotlib.collections import EllipseCollection
    from matplotlib.lines import Line2D

    height, width = picture.shape
    figure = new_figure(*(_SIDE_INCH * side / max(height, width) + 0.6 for side in (width, height)))
    axes = figure.add_subplot()
    there = picture[np.isfinite(picture)]
    noise = 1.4826 * float(np.median(np.abs(there - np.median(there)))) or float(there.std()) or 1.0
    low, high = np.arcsinh(_FAINTEST), np.arcsinh(_BRIGHTEST)
    shown = np.arcsinh(picture / noise)
    edges = (-0.5, width * step - 0.5, -0.5, height * step - 0.5)
    axes.set_facecolor("#d9c7a8")  # where there is no value
    axes.imshow(
        shown, cmap="gray_r", vmin=low, vmax=high, origin="lower", extent=edges, interpolation="nearest"
    )
    odd = (table[["masked", "saturated", "truncated"]] > 0).any(axis=1)
    points = ~odd & (table["compactness"] > point_compactness)
    kinds = (
        ("galaxies" if table["compactness"].notna().any() else "galaxies or stars", MAIN, ~odd & ~points),
        ("point sources", ACCENT, points),
        ("masked, saturated or truncated", _ODD, odd),
    )
    handles = []
    for name, colour, chosen in kinds:
        some = table[chosen]
        kron, a, b, theta = (some[name].to_numpy(float) for name in ("kron_pix", "a", "b", "theta"))
        least = width * step / 150
        ellipses = EllipseCollection(
            np.maximum(2 * kron, least),
            np.maximum(2 * kron * b / a, least),
            np.degrees(theta),
            units="xy",
            offsets=some[["x", "y"]].to_numpy(),
            offset_transform=axes.transData,
            facecolors="none",
            edgecolors=colour,
            linewidths=0.9,
        )
        axes.add_collection(ellipses)
        if len(some):
            handles.append(Line2D([], [], color=colour, label=f"{len(some):,} {name}"))
    axes.set_xlim(*edges[:2])
    axes.set_ylim(*edges[2:])
    tidy(axes, title=title, x="x (pixels from 0)", y="y (pixels from 0)", grid=False)
    if handles:
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=len(kinds),
            fontsize=8,
            labelcolor=INK,
            frameon=False,
        )
    return figure
