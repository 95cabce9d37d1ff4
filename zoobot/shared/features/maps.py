"""A map of features in two or three dimensions, in which galaxies that are alike lie side by side."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["draw_map"]

_FEWEST = 4


def draw_map(
    features: NDArray, *, dimensions: int = 2, neighbours: int = 15, seed: int = defaults.SEED
) -> NDArray[np.float32]:
    """The places of galaxies on a map, (galaxies, dimensions), by UMAP: one thread, so that a seed decides.

    Distances on it mean little; who is near whom does. It is of these galaxies alone: nothing is kept with
    which others could be placed on it.

    Args:
        features: (galaxies, width); some tens of principal components are enough.
        dimensions: Of the map.
        neighbours: How many galaxies near each are to stay near.
        seed: Seeds all that is drawn.

    Raises:
        ConfigError: If there are too few galaxies.
        MissingPackageError: If umap-learn is not installed.

    References:
        McInnes, Healy & Melville 2018, arXiv:1802.03426.
    """
    with _without("tensorflow"):
        umap = import_optional("umap", needed_for="a map of features (UMAP)", package="umap-learn")
    if len(features) < max(_FEWEST, dimensions + 2):
        msg = f"a map takes {max(_FEWEST, dimensions + 2)} galaxies or more, got {len(features)}"
        raise ConfigError(msg)
    mapper = umap.UMAP(
        n_components=dimensions,
        n_neighbors=min(neighbours, len(features) - 1),
        random_state=seed,
        n_jobs=1,
    )
    return np.asarray(mapper.fit_transform(features), np.float32)


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Have a package seem absent for a while, unless it is loaded.

    umap-learn loads TensorFlow for a kind of map that is not drawn here; after it torch, which Keras may then
    load, ends the process (`zoobot.shared.import_order`).
    """
    modules: dict[str, Any] = sys.modules
    if package in modules:
        yield
        return
    modules[package] = None
    try:
        yield
    finally:
        del modules[package]
