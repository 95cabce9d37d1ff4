"""How the galaxies of an explorer page look: their pictures, and which look alike."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zoobot.shared.catalog import Catalog
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import CatalogError, ConfigError, PredictionsError
from zoobot.shared.explorer import Neighbours, Thumbnails, find_neighbours, make_thumbnails
from zoobot.shared.features.tables import read_features
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.pixels.first_images import read_otherwise
from zoobot.shared.preprocessing import Preprocessing
from zoobot.workflow.member_predictions import represent_galaxies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoobot.shared.config import ExploreOptions
    from zoobot.workflow.found_results import FoundResults

__all__ = ["draw_thumbnails", "find_look_alikes"]

logger = logging.getLogger("zoobot")

_NO_CATALOG = "nothing says where its image is"
_NOT_ASKED_FOR = "no pictures were asked for"


def draw_thumbnails(
    paths: Sequence[str | None], found: FoundResults, options: ExploreOptions, *, has_catalog: bool
) -> Thumbnails:
    """The pictures of galaxies, as the model sees them, or with as much around as was asked for.

    Args:
        paths: Where their images are; None of galaxies that are in no catalog.
        found: Says how the model reads images.
        options: Size, and the part that is shown.
        has_catalog: Whether there is a catalog at all.
    """
    if not options.images:
        return Thumbnails.none(len(paths), _NOT_ASKED_FOR)
    if not has_catalog:
        logger.warning("%s names no catalog: a page without pictures (--catalog)", found.table)
        return Thumbnails.none(len(paths), _NO_CATALOG)
    reading = found.preprocessing or Preprocessing()
    crop = options.crop_fraction or reading.crop_fraction
    changes = {**options.image_changes(), "image_size_pix": options.thumbnail_pix, "crop_fraction": crop}
    reading = reading.with_changes(**changes)
    return make_thumbnails(paths, reading, num_workers=options.num_workers, progress=options.progress)


def find_look_alikes(
    ids: list[str], paths: Sequence[str | None], found: FoundResults, options: ExploreOptions
) -> Neighbours | None:
    """The look-alikes of each galaxy, where there are features, or a model to encode with."""
    if options.encode:
        if found.checkpoint is None:
            msg = f"--encode needs the model, which {found.table} does not name: give it (--checkpoint)"
            raise ConfigError(msg)
        engine = load_engine(options.backend)
        model = engine.checkpoint.load(find_checkpoint(found.checkpoint))
        if found.preprocessing is not None:  # read as they were when they were predicted
            read_otherwise(model, found.preprocessing.to_config())
        read_otherwise(model, options.image_changes())
        galaxies = _catalog_of(ids, paths, found)
        logger.info("Encoding %s galaxies", f"{len(galaxies):,}")
        encoded = represent_galaxies(engine, model, galaxies, options)
        return find_neighbours(ids, encoded.ids, encoded.features, count=options.neighbours)
    if options.features is None:
        return None
    table = read_features(options.features)
    missing = len(set(ids) - set(table.ids))
    if missing == len(ids):
        msg = f"{options.features} has features of none of the {len(ids):,} galaxies"
        raise PredictionsError(msg)
    if missing:
        logger.warning("%s galaxies have no features, and no look-alikes", f"{missing:,}")
    return find_neighbours(ids, table.ids, table.features, count=options.neighbours)


def _catalog_of(ids: Sequence[str], paths: Sequence[str | None], found: FoundResults) -> Catalog:
    """The galaxies whose images someone knows."""
    there = [(galaxy, path) for galaxy, path in zip(ids, paths, strict=True) if path is not None]
    if not there:
        msg = f"--encode needs images, but no catalog has those of {found.table} (--catalog)"
        raise CatalogError(msg)
    names, places = map(list, zip(*there, strict=True))
    return Catalog(names, places, None, (), pd.DataFrame(index=np.arange(len(names))), str(found.table))
