"""What an encoder makes of every galaxy of a catalog: features, with any engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot.shared.catalog import read_catalog
from zoobot.shared.errors import ImageError
from zoobot.shared.feature_loader import FeatureLoader, FrozenPart
from zoobot.shared.loader import GalaxyLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from zoobot.shared.galaxy_data import CatalogSource
    from zoobot.shared.preprocessing import Preprocessing

__all__ = ["Representation", "in_pieces", "represent_catalog"]

_GALAXIES_AT_ONCE = 4096


class Representation(NamedTuple):
    """Features of galaxies.

    Attributes:
        ids: The galaxies that could be read, in the order of the catalog.
        features: What the encoder makes of each, (galaxies, features), float32.
        failures: The galaxies that could not be read: `id_str`, `file_loc`, `reason`.
    """

    ids: list[str]
    features: NDArray[np.float32]
    failures: pd.DataFrame


def represent_catalog(
    catalog: CatalogSource,
    encode: Callable[[NDArray], NDArray],
    preprocessing: Preprocessing,
    *,
    width: int,
    root: str | Path | None,
    id_col: str,
    file_col: str,
    batch_size: int,
    num_workers: int,
    progress: bool,
) -> Representation:
    """Encode every readable galaxy of a catalog, in its order.

    Args:
        catalog: A table of ids and image files.
        encode: From images, (batch, height, width, channels), to features, (batch, width).
        preprocessing: How a file becomes the network's input.
        width: How many features there are.
        root: Folder that `file_loc` is relative to; None is the catalog's own folder.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths.
        batch_size: Galaxies encoded at once.
        num_workers: Threads that read images.
        progress: Whether a progress bar is drawn.

    Raises:
        CatalogError: If the catalog can't be used.
        ImageError: If not one image could be read.
        NonFiniteError: If a feature is NaN or infinite.
    """
    galaxies = read_catalog(catalog, root=root, id_col=id_col, file_col=file_col)
    loader = GalaxyLoader(
        galaxies, preprocessing, batch_size=batch_size, num_workers=num_workers, max_failed_fraction=1.0
    )
    encoded = FeatureLoader(loader, FrozenPart(encode, width), progress=progress)
    failures: Any = pd.DataFrame(encoded.failures, columns=["id_str", "file_loc", "reason"])
    known = encoded.is_known[0]
    if not known.any():
        first = failures.iloc[0]
        msg = f"not one of {len(galaxies)} images could be read; the first: {first.file_loc}: {first.reason}"
        raise ImageError(msg)
    features = encoded.features[0] if known.all() else encoded.features[0][known]
    return Representation(encoded.known_ids(), features, failures)


def in_pieces(features: NDArray) -> Iterator[NDArray]:
    """The features of some galaxies at a time, so that heads of any size predict from any number."""
    for start in range(0, len(features), _GALAXIES_AT_ONCE):
        yield features[start : start + _GALAXIES_AT_ONCE]
