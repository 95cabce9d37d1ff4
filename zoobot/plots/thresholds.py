"""Purity and completeness of samples by their threshold, and ROC curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobot.plots.examples import Panels
from zoobot.plots.style import ACCENT, GREY, INK, MAIN, figure_of, own_or_new, tidy, wrap_title
from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zoobot.certainty.thresholds import Choices

_MOST_PANELS = 12
_MOST_LINES = 9
_TITLE_LETTERS = 28


def threshold_curves(
    choices: Sequence[Choices], *, x: str = "least probability", ax: Axes | None = None
) -> Figure:
    """A picture of purity and completeness against the threshold, a panel for each class, label or answer.

    Args:
        choices: As `zoobot.certainty.thresholds.choose_thresholds` gives them. Of more than twelve those are
            drawn of which most galaxies are on either side of the truth.
        x: What the threshold is of.
        ax: Where to draw, instead of a figure of its own; for one of them.

    Returns:
        The figure. Dotted lines are the thresholds of the completeness and of the purity that were asked.

    Raises:
        ConfigError: If of none there are galaxies that are so, and galaxies that are not.
    """
    from sklearn.metrics import precision_recall_curve  # late: it takes a second

    drawn = _telling(choices, _MOST_PANELS)
    panels = Panels(len(drawn), side_inch=2.7, most=_MOST_PANELS, ax=ax)
    for axes, each in zip(panels.axes, drawn, strict=True):
        scores, truth = each.decision.known()
        purity, completeness, thresholds = precision_recall_curve(truth, scores)
        axes.plot(thresholds, purity[:-1], color=MAIN, linewidth=1.6, drawstyle="steps-pre", label="purity")
        axes.plot(
            thresholds,
            completeness[:-1],
            color=ACCENT,
            linewidth=1.6,
            drawstyle="steps-pre",
            label="completeness",
        )
        for point, colour in ((each.at_completeness, ACCENT), (each.at_purity, MAIN)):
            if point is not None:
                axes.axvline(point.threshold, color=colour, linewidth=1, linestyle=":")
        title = wrap_title(f"{each.decision.title}\n({each.positive:,} of {each.n:,})", _TITLE_LETTERS)
        tidy(axes, title=title, x=x, y="purity, completeness")
        axes.title.set_fontsize(8.5)
        axes.set(xlim=(0, 1), ylim=(0, 1.03))
    panels.axes[0].legend(fontsize=7.5, frameon=False, loc="lower left", labelcolor=INK)
    panels.note(
        "Dotted: the thresholds of the completeness (orange) and of the purity (blue) that were asked"
    )
    return panels.figure


def roc_curves(choices: Sequence[Choices], *, labels: Sequence[str] = (), ax: Axes | None = None) -> Figure:
    """A picture of the completeness of samples against the share of all other galaxies that they hold.

    Args:
        choices: As for `threshold_curves`; of more than nine those are drawn that are drawn there first.
        labels: What stands in the legend for each of `choices`; by default its title and area.
        ax: Where to draw, instead of a figure of its own.

    Returns:
        The figure: ROC curves, with the areas under them.

    Raises:
        ConfigError: As for `threshold_curves`.
    """
    from sklearn.metrics import roc_curve  # late: it takes a second

    drawn = _telling(choices, _MOST_LINES)
    words = dict(zip(map(id, choices), labels, strict=False))
    axes = own_or_new(ax, 6.4, 4.2)
    axes.plot((0, 1), (0, 1), color=GREY, linewidth=1)
    for each in drawn:
        scores, truth = each.decision.known()
        false, true, _ = roc_curve(truth, scores)
        default = f"{each.decision.title} (AUC {each.roc_auc:.3f})"
        axes.plot(false, true, linewidth=1.6, label=wrap_title(words.get(id(each), default), 48))
    tidy(axes, title="ROC", x="false positive rate", y="completeness (true positive rate)")
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.02))
    axes.legend(fontsize=7.5, frameon=False, loc="lower right", labelcolor=INK)
    return figure_of(axes)


def _telling(choices: Sequence[Choices], most: int) -> list[Choices]:
    """In their order, those that have galaxies on both sides; of too many, those with most on the rarer."""
    rarer = np.array([min(each.positive, each.n - each.positive) for each in choices])
    kept = np.flatnonzero(rarer > 0).tolist()
    if not kept:
        raise ConfigError("thresholds need galaxies that are so and galaxies that are not; nothing has both")
    best = sorted(kept, key=lambda place: -rarer[place])[:most]
    return [choices[place] for place in sorted(best)]
