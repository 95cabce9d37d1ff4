"""How training went: losses and scores by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import ConfigError
from zoobot.shared.plots.style import ACCENT, GREY, INK, MAIN, new_figure, save, tidy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["training_curves"]

_SCORE_COLOURS = (ACCENT, "#3c8f5a", "#8a5aa8", MAIN)


def training_curves(log: pd.DataFrame, path: str | Path, *, scores: Sequence[str] = ()) -> Path:
    """A picture of the training and validation loss by epoch, beside the validation scores.

    The epoch of the lowest validation loss, whose weights are kept, is marked.

    Args:
        log: One row for each epoch: `epoch`, `train_loss`, `val_loss`, and columns named `val_<score>`.
        path: The PNG file to write.
        scores: Scores to draw, without the `val_`; those that the log lacks are left out.

    Returns:
        The path of the picture.

    Raises:
        ConfigError: If the log has no epochs.

    Example:
        >>> training_curves(pd.read_csv("metrics.csv"), "curves.png", scores=["accuracy"])  # doctest: +SKIP
    """
    if not {"epoch", "val_loss"} <= set(log.columns) or log.empty:
        msg = (
            f"the training log needs rows with epoch and val_loss, got {len(log)} rows of {list(log.columns)}"
        )
        raise ConfigError(msg)
    drawn = [name for name in scores if f"val_{name}" in log and log[f"val_{name}"].notna().any()]
    figure = new_figure(9.0 if drawn else 5.0, 3.6)
    axes = figure.subplots(1, 2 if drawn else 1, squeeze=False)[0]
    epochs = log["epoch"].to_numpy() + 1
    best = _best_epoch(log)
    _draw_losses(axes[0], log, epochs, best)
    if drawn:
        for name, colour in zip(drawn, _SCORE_COLOURS, strict=False):
            values = log[f"val_{name}"].to_numpy(dtype=float)
            axes[1].plot(epochs, values, color=colour, linewidth=1.8, marker="o", markersize=3)
            _label_end(axes[1], epochs[-1], values[-1], name.replace("_", " "), colour)
        tidy(axes[1], title="Validation scores", x="epoch")
        _room_for_labels(axes[1], epochs)
    return save(figure, path)


def _best_epoch(log: pd.DataFrame) -> int | None:
    """The row of the lowest validation loss, if there is one."""
    losses = log["val_loss"].to_numpy(dtype=float)
    return int(np.nanargmin(losses)) if np.isfinite(losses).any() else None


def _draw_losses(axes: Axes, log: pd.DataFrame, epochs: np.ndarray, best: int | None) -> None:
    for column, name, colour in (("train_loss", "training", GREY), ("val_loss", "validation", MAIN)):
        if column not in log:
            continue
        values = log[column].to_numpy(dtype=float)
        axes.plot(epochs, values, color=colour, linewidth=1.8, marker="o", markersize=3)
        _label_end(axes, epochs[-1], values[-1], name, colour)
    if best is not None:
        axes.axvline(epochs[best], color=GREY, linewidth=0.8, linestyle=":")
        axes.annotate(
            f"best: epoch {epochs[best]}",
            (epochs[best], 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4, -2),
            textcoords="offset points",
            fontsize=8,
            color=INK,
            ha="right" if best > 0 else "left",
            va="top",
        )
    tidy(axes, title="Loss", x="epoch")
    _room_for_labels(axes, epochs)


def _label_end(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """A line's name at its end, in its colour, instead of a legend."""
    if np.isfinite(y):
        axes.annotate(text, (x, y), (6, 0), textcoords="offset points", fontsize=8, color=colour, va="center")


def _room_for_labels(axes: Axes, epochs: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    span = max(1.0, float(epochs[-1] - epochs[0]))
    axes.set_xlim(epochs[0] - 0.03 * span, epochs[-1] + 0.28 * span)
