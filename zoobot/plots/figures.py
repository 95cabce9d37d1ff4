"""The figure that every picture is; it is imported with Matplotlib, when one is drawn."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

_DPI = 150


class ShownFigure(Figure):
    r"""A figure that a notebook shows, though pyplot, which keeps all of its own, never heard of it.

    Example:
        >>> figure = ShownFigure(figsize=(1, 1))
        >>> data, size = figure._repr_png_()
        >>> data[:4], size
        (b'\x89PNG', {'width': 100, 'height': 100})
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The picture and how large to show it: sharp on a screen of twice as many pixels."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=_DPI)
        width, height = (round(100 * float(inches)) for inches in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}
