"""Pictures of a run: training curves, galaxies with their predictions, predictions against the truth.

Every function writes one PNG file. Matplotlib is imported only when a picture is drawn, through its `Figure`
objects: no window, no global state, safe on a machine without a display.
"""

from zoobot.plots.calibration import coverage_dots, reliability_panels
from zoobot.plots.comparisons import (
    confusion_matrix,
    fractions_scatter,
    purity_completeness,
    question_confusions,
    regression_scatter,
)
from zoobot.plots.curves import label_curves, training_curves
from zoobot.plots.examples import Bar, contact_sheet, example_galaxies
from zoobot.plots.saliency import explained_galaxy
from zoobot.plots.style import question_titles

__all__ = [
    "Bar",
    "confusion_matrix",
    "contact_sheet",
    "coverage_dots",
    "example_galaxies",
    "explained_galaxy",
    "fractions_scatter",
    "label_curves",
    "purity_completeness",
    "question_confusions",
    "question_titles",
    "regression_scatter",
    "reliability_panels",
    "training_curves",
]
