"""Features of galaxies on common scales and in fewer dimensions, fitted on a sample of them.

Features of an encoder lie on different scales and repeat each other. Standardised, turned to their principal
components and scaled again (whitened), a few dozen numbers say nearly as much, and distances mean more.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zoobot.shared.errors import ConfigError, NonFiniteError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["FeatureSpace", "check_features", "pieces", "sample_rows", "share_of_few"]

_ROWS_AT_ONCE = 16_384
_SHOWN = 10
# Of float32 features, a spread below this share of the value is what rounding leaves of a constant.
_ROUNDING = 1e-6


class FeatureSpace(NamedTuple):
    """How features are standardised and reduced.

    Attributes:
        mean: What is subtracted of each feature, (width,).
        scale: What each is divided by: its standard deviation, infinite where it is constant, (width,).
        axes: Directions of the standardised features on which galaxies have a spread of 1, the widest
            first, (components, width).
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    axes: NDArray[np.float64]

    @classmethod
    def fit(cls, features: ArrayLike, n_components: int) -> FeatureSpace:
        """The space of a sample of galaxies; features that do not vary count for nothing.

        Args:
            features: (galaxies, width).
            n_components: Principal components to keep, at most; of few galaxies one for five of them, for
                scaled along as many axes as there are, all would lie equally far apart.
        """
        from sklearn.decomposition import PCA

        sample = np.asarray(features, np.float64)
        mean, spread = sample.mean(axis=0), sample.std(axis=0)
        scale = np.where(spread > _ROUNDING * np.abs(mean), spread, np.inf)
        most = min(n_components, share_of_few(len(sample)), int(np.isfinite(scale).sum()))
        if most < 1 or len(sample) < 2:
            return cls(mean, scale, np.zeros((0, len(mean))))
        found = PCA(most, svd_solver="full").fit((sample - mean) / scale)
        wide = found.explained_variance_ > _ROUNDING * found.explained_variance_[0]
        axes = found.components_[wide] / np.sqrt(found.explained_variance_[wide])[:, None]
        return cls(mean, scale, axes)

    def apply(self, features: ArrayLike) -> NDArray[np.float32]:
        """Features in this space, (galaxies, components), worked out a piece at a time.

        Raises:
            ConfigError: If they are not as wide as those it was fitted on.
        """
        table = np.asarray(features)
        if table.ndim != 2 or table.shape[1] != len(self.mean):
            msg = f"expected features that are {len(self.mean)} wide, (galaxies, width), got {table.shape}"
            raise ConfigError(msg)
        reduced = np.empty((len(table), len(self.axes)), np.float32)
        for rows in pieces(len(table)):
            reduced[rows] = ((table[rows] - self.mean) / self.scale) @ self.axes.T
        return reduced


def check_features(ids: Sequence[str], features: ArrayLike) -> NDArray:
    """Features as (galaxies, width), once found usable: finite, a row for each galaxy, no galaxy twice.

    Raises:
        ConfigError: If the shape is another, or an id is repeated.
        NonFiniteError: If a feature is NaN or infinite; the message names the galaxies.
    """
    table = np.asarray(features)
    if table.ndim != 2 or 0 in table.shape or len(table) != len(ids):
        msg = f"expected the features of {len(ids):,} galaxies, (galaxies, width), got {table.shape}"
        raise ConfigError(msg)
    if len(set(ids)) < len(ids):
        order = sorted(ids)
        twice = sorted({one for one, next_one in pairwise(order) if one == next_one})
        msg = f"every galaxy must come once, but {len(twice):,} ids are repeated: {twice[:_SHOWN]}"
        raise ConfigError(msg)
    bad = [
        rows.start + row
        for rows in pieces(len(table))
        for row in np.flatnonzero(~np.isfinite(table[rows]).all(axis=1))
    ]
    if bad:
        named = [ids[row] for row in bad[:_SHOWN]]
        msg = f"the features of {len(bad):,} galaxies are not finite: {named}"
        raise NonFiniteError(msg)
    return table


def share_of_few(count: int) -> int:
    """A fifth of them, one at least: as many components or neighbours as few galaxies bear."""
    return max(1, count // 5)


def sample_rows(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """At most `most` of `count` rows, at random, in their order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def pieces(count: int, size: int = _ROWS_AT_ONCE) -> Iterator[slice]:
    """Slices that cover `count` rows, some at a time."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
