"""Figures of a run: training curves, galaxies with their predictions, predictions against the truth.

Every function returns a Matplotlib `Figure`, which a notebook shows; where there is one panel, it can be
drawn into axes of your own, `ax=`. `save_figure` writes a figure as PNG, PDF or SVG. Matplotlib is imported
only when something is drawn, and never its pyplot: no window, no global state, no display is needed.
"""

from zoobot.plots.calibration import coverage_dots, reliability_panels
from zoobot.plots.comparisons import (
    Difference,
    confusion_matrix,
    fractions_scatter,
    purity_completeness,
    question_confusions,
    regression_scatter,
    score_differences,
)
from zoobot.plots.curves import degradation_curves, label_curves, training_curves
from zoobot.plots.examples import Bar, contact_sheet, example_galaxies
from zoobot.plots.saliency import explained_galaxy
from zoobot.plots.style import question_titles, save_figure
from zoobot.plots.thresholds import roc_curves, threshold_curves

__all__ = [
    "Bar",
    "Difference",
    "confusion_matrix",
    "contact_sheet",
    "coverage_dots",
    "degradation_curves",
    "example_galaxies",
    "explained_galaxy",
    "fractions_scatter",
    "label_curves",
    "purity_completeness",
    "question_confusions",
    "question_titles",
    "regression_scatter",
    "reliability_panels",
    "roc_curves",
    "save_figure",
    "score_differences",
    "threshold_curves",
    "training_curves",
]
