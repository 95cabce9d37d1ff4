"""Which galaxies look like each galaxy of a page: the nearest by an encoder's features."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zoobot.shared.similarity.building import unit_vectors
from zoobot.shared.similarity.exact import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Neighbours", "find_neighbours"]

_QUERIES_AT_ONCE = 512


class Neighbours(NamedTuple):
    """The galaxies most like each.

    Attributes:
        rows: Their places, the nearest first, (galaxies, neighbours); -1 where there is none.
        similarities: The cosine of the angle between the two, 1 at most, (galaxies, neighbours); NaN where
            there is none.
    """

    rows: NDArray[np.int32]
    similarities: NDArray[np.float32]


def find_neighbours(ids: Sequence[str], known: Sequence[str], features: NDArray, *, count: int) -> Neighbours:
    """The galaxies most like each, as `zoobot.shared.similarity` tells: by angles of centred features.

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
    row = {galaxy: row for row, galaxy in enumerate(known)}
    there = np.array([place for place, galaxy in enumerate(ids) if galaxy in row], dtype=np.int32)
    rows = np.full((len(ids), count), -1, np.int32)
    similarities = np.full((len(ids), count), np.nan, np.float32)
    most = min(count, len(there) - 1)
    if most < 1:
        return Neighbours(rows, similarities)
    own = np.asarray(features, np.float32)[[row[ids[place]] for place in there]]
    vectors = unit_vectors(own - own.mean(axis=0))
    for start in range(0, len(vectors), _QUERIES_AT_ONCE):
        queries = vectors[start : start + _QUERIES_AT_ONCE]
        near, alike = nearest(vectors, queries, most + 1)
        for place, some, values in zip(there[start:], near, alike, strict=False):
            others = there[some] != place  # a galaxy is not its own neighbour
            rows[place, :most] = there[some][others][:most]
            similarities[place, :most] = values[others][:most]
    return Neighbours(rows, similarities)
