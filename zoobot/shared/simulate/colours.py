"""Colours of stellar populations and of dust, in three bands from blue to red."""

from __future__ import annotations

import numpy as np

__all__ = ["DUST_OPACITY", "ZERO_POINT", "colour_of", "flux_of"]

ZERO_POINT = 22.5
"""Magnitude of one nanomaggy, the unit of every flux here."""

DUST_OPACITY = np.array([1.25, 1.0, 0.65], dtype=np.float32)
"""How strongly dust absorbs in each band, relative to the middle one."""

_OLD_COLOUR = np.array([0.82, 0.0, -0.66], dtype=np.float32)
_YOUNG_COLOUR = np.array([0.16, 0.0, -0.08], dtype=np.float32)


def flux_of(magnitude: float) -> float:
    """Return the flux of a magnitude, in nanomaggies.

    Example:
        >>> flux_of(20.0)
        10.0
    """
    return float(10 ** (-0.4 * (magnitude - ZERO_POINT)))


def colour_of(youth: float) -> np.ndarray:
    """Return the flux in each band over that in the middle one, for a stellar population.

    Args:
        youth: 0 is an old, red population, 1 a young, blue one.

    Returns:
        Three ratios, bluest band first.
    """
    magnitudes = _OLD_COLOUR + np.float32(youth) * (_YOUNG_COLOUR - _OLD_COLOUR)
    return np.power(np.float32(10), np.float32(-0.4) * magnitudes)
