"""How far two ways to compute the same predictions lie apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["largest_difference"]


def largest_difference(found: NDArray, expected: NDArray) -> float:
    """The largest difference between predictions, relative where they are above 1 (concentrations, values).

    A NaN on one side or both makes it NaN, and another shape makes it infinite.

    Args:
        found: Predictions of any shape.
        expected: Those to compare with.

    Example:
        >>> largest_difference(np.array([0.5, 96.0]), np.array([0.5, 64.0]))
        0.5
    """
    if found.shape != expected.shape:
        return float("inf")
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    return float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected)), initial=0))
