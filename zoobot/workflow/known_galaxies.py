"""Galaxies whose labels are known, encoded once, for loops that pretend not to know them yet."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot.shared.catalog import Catalog
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.files.safe import replacing
from zoobot.shared.models.origin import tell_pixels
from zoobot.workflow.galaxies import select_galaxies
from zoobot.workflow.member_predictions import represent_galaxies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoobot.shared.config import LoopOptions
    from zoobot.shared.engine import Engine

__all__ = ["KnownGalaxies", "encode_known", "read_known", "split_held_out"]

logger = logging.getLogger("zoobot")


class KnownGalaxies(NamedTuple):
    """Some galaxies with features and labels.

    Attributes:
        ids: Their names.
        features: (galaxies, features), float32.
        labels: (galaxies, label columns).
    """

    ids: list[str]
    features: NDArray[np.float32]
    labels: NDArray[np.float64]

    def select(self, rows: NDArray) -> KnownGalaxies:
        """Some of them, in the order asked for."""
        return KnownGalaxies([self.ids[row] for row in rows], self.features[rows], self.labels[rows])


def split_held_out(galaxies: Catalog, options: LoopOptions) -> NDArray[np.bool_]:
    """Which galaxies are scored on and never learned from, (galaxies,).

    Raises:
        CatalogError: If no galaxy has the value of --held-out, or too few are left to choose from.
    """
    if options.held_out is not None:
        chosen = set(select_galaxies(galaxies, options.held_out).ids)
        held_out = np.array([galaxy in chosen for galaxy in galaxies.ids])
    else:
        order = np.random.default_rng(options.seed).permutation(len(galaxies))
        held_out = np.zeros(len(galaxies), bool)
        held_out[order[: max(1, round(options.held_out_fraction * len(galaxies)))]] = True
    left, wanted = int((~held_out).sum()), options.start + options.rounds * options.per_round
    if left < wanted:
        msg = (
            f"the loop would label {wanted:,} galaxies (start + rounds * per_round), but {galaxies.name} has "
            f"{left:,} that are not held out"
        )
        raise CatalogError(msg)
    return held_out


def encode_known(
    engine: Engine, model: Any, galaxies: Catalog, options: LoopOptions, folder: Path
) -> tuple[KnownGalaxies, pd.DataFrame]:
    """The galaxies with features, encoded now, or by the run that is resumed; and those that can't be read.

    Args:
        engine: The engine of the model.
        model: Its encoder is used.
        galaxies: With labels.
        options: Batch size, threads, progress.
        folder: Where features are kept, as features.npz.
    """
    place = folder / "features.npz"
    if options.resume and place.is_file():
        ids, features = read_known(place, galaxies.ids)
        failures = pd.DataFrame(columns=["id_str", "file_loc", "reason"])
    else:
        logger.info("Encoding %s galaxies of %s, once for all", f"{len(galaxies):,}", galaxies.name)
        tell_pixels(model)
        encoded = represent_galaxies(engine, model, galaxies, options)
        ids, features, failures = encoded.ids, encoded.features, encoded.failures
        with replacing(place) as draft, draft.open("wb") as file:
            np.savez(file, ids=np.array(ids), features=features)
    row = {galaxy: row for row, galaxy in enumerate(galaxies.ids)}
    labels = np.asarray(galaxies.labels)[[row[galaxy] for galaxy in ids]]
    return KnownGalaxies(ids, features, labels), failures


def read_known(place: Path, known: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
    """The galaxies and their features in a file that `encode_known` wrote.

    Args:
        place: The file.
        known: The galaxies of the catalog.

    Raises:
        ConfigError: If it is damaged, was not written by it, or is of other galaxies.
    """
    try:
        with zipfile.ZipFile(place) as archive:
            is_packed = any(member.compress_type for member in archive.infolist())
        with np.load(place) as kept:  # ours are as large as what they hold
            arrays = [] if is_packed else [kept["ids"], kept["features"]]
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, SyntaxError) as error:
        reason = str(error) or type(error).__name__
        msg = f"{place} is damaged ({reason}): start the run anew, with overwrite"
        raise ConfigError(msg) from error
    if not arrays or not _are_features(arrays[0], arrays[1], known):
        msg = f"{place} holds no features of these galaxies: start the run anew, with overwrite"
        raise ConfigError(msg)
    return arrays[0].tolist(), arrays[1]


def _are_features(ids: NDArray, features: NDArray, known: Sequence[str]) -> bool:
    is_shaped = features.ndim == 2 and features.shape[:1] == ids.shape and features.dtype == np.float32
    return is_shaped and ids.dtype.kind == "U" and len(set(ids.tolist()) & set(known)) == len(ids)
