"""Galaxies that have features, shown: where their images are, and pictures of some."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from zoobot.shared.augment import make_view
from zoobot.shared.errors import CatalogError, ConfigError, ImageError
from zoobot.shared.images import read_image
from zoobot.shared.plots import contact_sheet
from zoobot.shared.preprocessing import Preprocessing
from zoobot.workflow.galaxies import read_galaxies

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from zoobot.shared.options.finding import ShownGalaxiesOptions

__all__ = ["draw_sheet", "find_images"]

logger = logging.getLogger("zoobot")


def find_images(ids: Sequence[str], options: ShownGalaxiesOptions) -> list[str]:
    """Where the images of galaxies are, by their catalog; empty where it has none.

    Raises:
        CatalogError: If the catalog can't be used, or has none of the galaxies.
    """
    if options.catalog is None:
        return [""] * len(ids)
    galaxies = read_galaxies(options.catalog, options)  # type: ignore[arg-type]  # it has a catalog
    places = dict(zip(galaxies.ids, galaxies.paths, strict=True))
    found = [places.get(galaxy, "") for galaxy in ids]
    absent = found.count("")
    if absent == len(ids):
        msg = f"{galaxies.name} has none of the {len(ids):,} galaxies with features, such as {ids[0]!r}"
        raise CatalogError(msg)
    if absent:
        logger.warning("%s has no images of %s galaxies with features", galaxies.name, f"{absent:,}")
    return found


def draw_sheet(
    path: Path, file_locs: Sequence[str], names: Sequence[str], origin: Mapping[str, Any]
) -> Path | None:
    """A picture of galaxies, as the network saw them; None where it is not known where any image is.

    Args:
        path: The PNG file to write.
        file_locs: Their images; empty where unknown.
        names: What stands above each.
        origin: Where their features come from: its `preprocessing` says how images are read.

    Raises:
        ConfigError: If that is no record of preprocessing.
    """
    if not any(file_locs):
        return None
    preprocessing = _preprocessing(origin)
    return contact_sheet(path, [_view(place, preprocessing) for place in file_locs], names)


def _preprocessing(origin: Mapping[str, Any]) -> Preprocessing:
    """How images are read; as plain colour where the features do not say."""
    config = origin.get("preprocessing")
    if config is None:
        return Preprocessing(colour="to-rgb")
    if not isinstance(config, dict):
        msg = f"the features say they come from the preprocessing {config!r}, which is none"
        raise ConfigError(msg)
    return Preprocessing.from_config(config)


def _view(place: str, preprocessing: Preprocessing) -> np.ndarray | None:
    if not place:
        return None
    try:
        return make_view(read_image(place, preprocessing), preprocessing)
    except ImageError as error:
        logger.warning("%s", error)
        return None
