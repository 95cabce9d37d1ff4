"""How far predictions are from what people say, in a number for each galaxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ERROR_NAME", "ERROR_TITLE", "root_mean_square"]

ERROR_NAME = "label_difference"
ERROR_TITLE = "Difference from the label"


def root_mean_square(differences: NDArray) -> NDArray:
    """Of what is known of each galaxy, from (galaxies, outputs); NaN where nothing is."""
    known = np.isfinite(differences)
    total = np.where(known, differences, 0.0) ** 2
    count = known.sum(axis=1)
    return np.sqrt(np.divide(total.sum(axis=1), count, out=np.full(len(count), np.nan), where=count > 0))
