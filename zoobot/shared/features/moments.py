"""Mean, spread and covariance of any number of features, exact, from a few galaxies at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FeatureMoments"]


class FeatureMoments:
    """Adds up what standardising and principal components need; memory is that of one covariance matrix.

    Pieces are joined by the formulas for means and centred sums, so that digits are lost neither to large
    means nor to many galaxies.

    Args:
        width: How many features there are.
        covariance: Whether the covariance is needed; means and spreads alone are had much sooner.

    References:
        Chan, Golub & LeVeque 1979, Stanford STAN-CS-79-773.

    Example:
        >>> moments = FeatureMoments(2)
        >>> moments.add(np.array([[1.0, 0.0], [3.0, 2.0]]))
        >>> moments.add(np.array([[5.0, 4.0]]))
        >>> moments.mean.tolist(), moments.covariance().tolist()
        ([3.0, 2.0], [[4.0, 4.0], [4.0, 4.0]])
    """

    def __init__(self, width: int, *, covariance: bool = True) -> None:
        self.count = 0
        self.mean: NDArray[np.float64] = np.zeros(width)
        self._squares: NDArray[np.float64] = np.zeros(width)
        self._products: NDArray[np.float64] | None = np.zeros((width, width)) if covariance else None

    def add(self, features: NDArray) -> None:
        """Take in the features of some more galaxies, (galaxies, width)."""
        count = len(features)
        if not count:
            return
        values = np.asarray(features, np.float64)
        mean = values.mean(axis=0)
        centred = values - mean
        shift = mean - self.mean
        total = self.count + count
        weight = self.count * count / total
        self._squares += (centred**2).sum(axis=0) + weight * shift**2
        if self._products is not None:
            self._products += centred.T @ centred + weight * np.outer(shift, shift)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    def spread(self) -> NDArray[np.float64]:
        """The standard deviation of each feature, (width,), which divides by one galaxy less.

        Raises:
            ConfigError: If there are fewer than two galaxies.
        """
        return np.sqrt(self._squares / self._degrees())

    def covariance(self) -> NDArray[np.float64]:
        """The covariance matrix, (width, width).

        Raises:
            ConfigError: If there are fewer than two galaxies.
        """
        if self._products is None:
            msg = "these moments were made without a covariance"
            raise ConfigError(msg)
        return self._products / self._degrees()

    def _degrees(self) -> int:
        if self.count < 2:
            msg = f"a spread takes two galaxies or more, got {self.count}"
            raise ConfigError(msg)
        return self.count - 1
