"""Galaxies that have features, shown: where their images are, and pictures of some."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from zoobot.shared.augment import make_view
from zoobot.shared.catalogs.places import place_arguments
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.errors import CatalogError, ConfigError, ImageError
from zoobot.shared.images import read_image
from zoobot.shared.plots import contact_sheet
from zoobot.shared.preprocessing import Preprocessing
from zoobot.workflow.pictures import attempt_picture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from zoobot.shared.options.finding import ShownGalaxiesOptions

__all__ = ["draw_sheet", "find_images"]

logger = logging.getLogger("zoobot")


def find_images(ids: Sequence[str], options: ShownGalaxiesOptions, origin: Mapping[str, Any]) -> list[str]:
    """Where the images of galaxies are, by their catalog; empty where it has none.

    Args:
        ids: The galaxies.
        options: Their catalog, if it was given.
        origin: Where their features come from: its `place` tells of a catalog, if none was given.

    Raises:
        CatalogError: If the catalog that was given can't be used, or has none of the galaxies.
    """
    galaxies = _open_catalog(options, origin)
    if galaxies is None:
        return [""] * len(ids)
    places = galaxies.find_paths(ids)
    found = [places.get(galaxy, "") for galaxy in ids]
    absent = found.count("")
    if absent == len(ids):
        msg = f"{galaxies.name} has none of the {len(ids):,} galaxies with features, such as {ids[0]!r}"
        raise CatalogError(msg)
    if absent:
        logger.warning("%s has no images of %s galaxies with features", galaxies.name, f"{absent:,}")
    return found


def draw_sheet(
    path: Path,
    file_locs: Sequence[str],
    names: Sequence[str],
    origin: Mapping[str, Any],
    *,
    columns: int = 6,
    marked: Sequence[int] = (),
) -> Path | None:
    """A picture of galaxies, as the network saw them; None where no image is known, or it can't be drawn.

    Args:
        path: The PNG file to write.
        file_locs: Their images; empty where unknown.
        names: What stands above each.
        origin: Where their features come from: its `preprocessing` says how images are read.
        columns: Galaxies side by side.
        marked: Which of them have a frame.

    Raises:
        ConfigError: If that is no record of preprocessing.
    """
    if not any(file_locs):
        return None
    preprocessing = _preprocessing(origin)
    views = [_view(place, preprocessing) for place in file_locs]
    return attempt_picture(contact_sheet, path, views, names, columns=columns, marked=marked)


def _open_catalog(options: ShownGalaxiesOptions, origin: Mapping[str, Any]) -> CatalogStream | None:
    """The catalog that was given, or else that which the features are of, if it is still there."""
    if options.catalog is not None:
        return CatalogStream(options.catalog, **options.catalog_arguments())
    place = origin.get("place")
    if place is None:
        return None
    try:
        return CatalogStream(place["catalog"], **place_arguments(place))
    except CatalogError as error:
        logger.warning("The catalog of these features can't be read any more; give --catalog: %s", error)
        return None


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
