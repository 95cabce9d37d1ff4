"""Features of galaxies on common scales and in fewer dimensions, fitted on a sample of them.

Features of an encoder lie on different scales and repeat each other. Standardised, turned to their principal
components and scaled again (whitened), a few dozen numbers say nearly as much, and distances mean more.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import ConfigError, NonFiniteError
from zoobot.shared.features.projections import fit_projection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["check_features", "pieces", "reduce_features", "sample_rows", "share_of_few"]

_ROWS_AT_ONCE = 16_384
_SHOWN = 10


def reduce_features(features: NDArray, sample: NDArray[np.int64], n_components: int) -> NDArray[np.float32]:
    """Features as a few numbers on which galaxies have a spread of 1, (galaxies, components).

    Args:
        features: (galaxies, width).
        sample: Rows of the galaxies that the components are of.
        n_components: Principal components to keep, at most; fewer where galaxies differ in fewer directions,
            and of few galaxies one for five of them: scaled along as many directions as there are, all would
            lie equally far apart. None is left where all are alike.
    """
    known = features[sample]
    if (known == known[0]).all():
        return np.zeros((len(features), 0), np.float32)
    wanted = min(n_components, share_of_few(len(sample)))
    projection = fit_projection([known], components=wanted, whiten=True, at_most=True)
    return np.concatenate([projection.apply(features[rows]) for rows in pieces(len(features))])


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
