"""Which galaxies look like each galaxy of a page: the nearest by an encoder's features."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Neighbours", "find_neighbours"]


class Neighbours(NamedTuple):
    """The galaxies most like each.

    Attributes:
        rows: Their places, the nearest first, (galaxies, neighbours); -1 where there is none.
        distances: How far they are, (galaxies, neighbours); NaN where there is none.
    """

    rows: NDArray[np.int32]
    distances: NDArray[np.float32]


def find_neighbours(ids: Sequence[str], known: Sequence[str], features: NDArray, *, count: int) -> Neighbours:
    """The nearest galaxies of each by standardised features, exactly.

    Args:
        ids: The galaxies of the page.
        known: The galaxies with features.
        features: (galaxies with features, features), finite.
        count: Most neighbours of each.

    Example:
        >>> features = np.array([[9.0], [0.0], [1.0]])
        >>> found = find_neighbours(["a", "b", "c"], ["c", "a", "b"], features, count=1)
        >>> found.rows.tolist()
        [[1], [0], [1]]
    """
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    row = {galaxy: row for row, galaxy in enumerate(known)}
    there = np.array([place for place, galaxy in enumerate(ids) if galaxy in row], dtype=np.int32)
    rows = np.full((len(ids), count), -1, np.int32)
    distances = np.full((len(ids), count), np.nan, np.float32)
    most = min(count, len(there) - 1)
    if most < 1:
        return Neighbours(rows, distances)
    own = StandardScaler().fit_transform(np.asarray(features, np.float32)[[row[ids[k]] for k in there]])
    search = NearestNeighbors(n_neighbors=most, algorithm="brute").fit(own)
    far, near = search.kneighbors()  # without points of its own, no galaxy is its own neighbour
    rows[there, :most] = there[near]
    distances[there, :most] = far
    return Neighbours(rows, distances)
