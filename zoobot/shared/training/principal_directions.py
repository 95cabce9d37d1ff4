"""Features standardised and turned into the directions in which galaxies differ most."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["PrincipalDirections"]

FloatArray: TypeAlias = NDArray[np.float64]

#: A feature is standardised by its own scatter, but at least by this part of the median of all.
_LEAST_SCATTER = 0.3

#: Directions in which galaxies differ less than by this part of the largest scatter are rounding.
_ROUNDING = 1e-7


class PrincipalDirections(NamedTuple):
    """What turns features into (features - mean) * scale @ directions.

    Attributes:
        mean: (features,).
        scale: (features,), 0 for one that never varies.
        directions: Orthonormal, (features, directions); all that the galaxies span.
    """

    mean: FloatArray
    scale: FloatArray
    directions: FloatArray

    @classmethod
    def of(cls, features: NDArray) -> PrincipalDirections:
        """Those of some galaxies' features, (galaxies, features)."""
        mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
        # a feature that hardly varies here may do so elsewhere: blown up, it would rule predictions there
        varying = std > 1e-6 * std.max(initial=0.0)
        floor = _LEAST_SCATTER * np.median(std[varying]) if varying.any() else 1.0
        scale = np.where(varying, 1 / np.maximum(std, floor), 0.0)
        return cls(mean, scale, _spanned((features - mean) * scale))

    def apply(self, features: NDArray) -> FloatArray:
        """Features, (galaxies, features), along the directions, (galaxies, directions)."""
        return ((features - self.mean) * self.scale) @ self.directions

    def head_on_features(self, weight: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The head on features as they are that gives what a head gives on the directions.

        Args:
            weight: (outputs, directions).
            bias: (outputs,).

        Returns:
            Weights, (outputs, features), and biases, (outputs,).
        """
        raw = (weight @ self.directions.T) * self.scale
        return raw, bias - raw @ self.mean


def _spanned(standardised: FloatArray) -> FloatArray:
    """The directions that galaxies span, (features, directions), from the smaller of two square matrices."""
    galaxies, width = standardised.shape
    wide = galaxies < width
    squares, vectors = np.linalg.eigh(
        standardised @ standardised.T if wide else standardised.T @ standardised
    )
    sizes = np.sqrt(np.maximum(squares, 0))
    kept = sizes > _ROUNDING * sizes.max(initial=0.0)
    return standardised.T @ (vectors[:, kept] / sizes[kept]) if wide else vectors[:, kept]
