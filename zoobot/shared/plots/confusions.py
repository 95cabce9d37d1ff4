"""Which answer is taken for which, question by question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import ConfigError
from zoobot.shared.plots.panels import Panels
from zoobot.shared.plots.style import INK, question_titles, save, tidy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from zoobot.shared.schemas import Question, Schema

__all__ = ["question_confusions"]

_MOST_PANELS = 12
_LONGEST_NAME = 14


def question_confusions(counts: Sequence[np.ndarray], schema: Schema, path: str | Path) -> Path:
    """A picture of the confusion matrix of each question, up to the twelve with most galaxies.

    Args:
        counts: For each question, galaxies of each true answer (rows) given each answer (columns), as
            `zoobot.shared.trees.question_tables.question_confusions` gives them.
        schema: The decision tree.
        path: The PNG file to write.

    Returns:
        The path of the picture. Colours and numbers are shares of the true answer, in percent.

    Raises:
        ConfigError: If no question has a galaxy.
    """
    titles = question_titles(schema)
    asked = [place for place, matrix in enumerate(counts) if matrix.sum() and len(matrix) > 1]
    if not asked:
        msg = f"no question of {schema.name} has votes to compare with"
        raise ConfigError(msg)
    drawn = sorted(sorted(asked, key=lambda place: -counts[place].sum())[:_MOST_PANELS])
    panels = Panels(len(drawn), side_inch=3.1, most=_MOST_PANELS)
    for axes, place in zip(panels.axes, drawn, strict=True):
        _draw_matrix(axes, counts[place], schema.questions[place])
        tidy(
            axes,
            title=f"{titles[place]} ({counts[place].sum():,} galaxies)",
            x="answer predicted with most votes",
            y="answer with most votes (galaxies)",
            grid=False,
        )
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=7)
    note = "Numbers: of the galaxies of each row, the percentage that is predicted so"
    panels.figure.supxlabel(note, fontsize=8, color=INK)
    return save(panels.figure, path)


def _draw_matrix(axes: Axes, counts: np.ndarray, question: Question) -> None:
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        if counts[row].sum():
            colour = "white" if shares[row, column] > 0.55 else INK
            text = f"{100 * shares[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
    names = [_shorten(answer.pretty.lower()) for answer in question.answers]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    sizes = counts.sum(axis=1)
    axes.set_yticks(range(len(names)), [f"{name} ({n:,})" for name, n in zip(names, sizes, strict=True)])


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
