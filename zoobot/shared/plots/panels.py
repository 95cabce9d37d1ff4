"""A grid of small panels of one size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoobot.shared.plots.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Panels"]


class Panels:
    """Square panels in a grid, as square as it can be, without empty ones.

    Args:
        count: How many are wanted.
        side_inch: Side of a panel.
        most: How many there may be at most.
    """

    def __init__(self, count: int, *, side_inch: float, most: int = 9) -> None:
        count = min(count, most)
        columns = min(3 if count <= 9 else 4, count)
        rows = -(-count // columns)
        self.figure = new_figure(side_inch * columns + 0.2, side_inch * rows)
        grid = self.figure.subplots(rows, columns, squeeze=False).flatten()
        for unused in grid[count:]:
            unused.remove()
        self.axes: list[Axes] = list(grid[:count])
