"""What an encoder makes of every galaxy of a catalog: features, with any engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoobot.shared.catalog import CatalogSource, read_catalog
from zoobot.shared.errors import ConfigError
from zoobot.shared.features.tables import FeatureTable
from zoobot.shared.files.whole import large_array
from zoobot.shared.pixels.first_images import check_first_images
from zoobot.shared.predicting.batches import CatalogPrediction, FailureLimit
from zoobot.shared.predicting.members import FeatureTask, Member, describe_origin
from zoobot.shared.predicting.run import predict_catalog, refuse_nothing, with_bar
from zoobot.shared.predictions import failure_table
from zoobot.shared.tables.part_folder import ShardSource, is_folder_of_parts

if TYPE_CHECKING:
    from zoobot.shared.catalogs.stream import CatalogStream
    from zoobot.shared.preprocessing import Preprocessing

_GALAXIES_AT_ONCE = 4096


class Encoding(NamedTuple):
    """What a member of a prediction run says of itself when it has no head.

    Attributes:
        task: The features that it gives.
        preprocessing: How a file becomes its input.
    """

    task: FeatureTask
    preprocessing: Preprocessing


def represent_catalog(
    catalog: CatalogSource | CatalogStream,
    member: Member,
    *,
    save_loc: str | Path | None,
    root: str | Path | None,
    id_col: str,
    file_col: str | Sequence[str],
    batch_size: int,
    num_workers: int,
    part_rows: int | None,
    shard: ShardSource | None,
    max_failures: float | None,
    progress: bool,
) -> FeatureTable:
    """Encode every readable galaxy of a catalog, in its order, by the machinery that predicts.

    Args:
        catalog: A table of ids and image files.
        member: An encoder: its `model` is an `Encoding`.
        save_loc: Where the table goes, or the folder of its parts; None keeps it in memory.
        root: Folder that `file_loc` is relative to; None is the catalog's own folder.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths, or one for each band.
        batch_size: Galaxies encoded at once.
        num_workers: Threads that read images.
        part_rows: Galaxies in a part, where `save_loc` is a folder.
        shard: Which parts, where `save_loc` is a folder.
        max_failures: How many images may fail, or which fraction of them; None allows any.
        progress: Whether a progress bar is drawn.

    Raises:
        CatalogError: If the catalog can't be used.
        ImageError: If not one image could be read, or more failed than may.
        NonFiniteError: If a feature is NaN or infinite.
        PredictionsError: If they can't be written, or a folder holds those of another run.
    """
    places: dict[str, Any] = {"root": root, "id_col": id_col, "file_col": file_col}
    work: dict[str, Any] = {"batch_size": batch_size, "num_workers": num_workers}
    if save_loc is None:
        return _represent_in_memory(catalog, member, places, work, max_failures, progress=progress)
    found = predict_catalog(
        catalog,
        [member],
        save_loc=save_loc,
        n_samples=1,
        part_rows=part_rows,
        shard=shard,
        max_failures=max_failures,
        decisive={"precision": "float32"},
        progress=progress,
        **places,
        **work,
    )
    failures = None if is_folder_of_parts(save_loc) else found.failures
    return FeatureTable(failures=failures, save_loc=found.save_loc)


def _represent_in_memory(
    catalog: Any,
    member: Member,
    places: dict[str, Any],
    work: dict[str, Any],
    max_failures: float | None,
    *,
    progress: bool,
) -> FeatureTable:
    galaxies = read_catalog(catalog, **places)
    check_first_images(galaxies.paths, member.model.preprocessing)
    limit = FailureLimit(max_failures, len(galaxies))
    run = CatalogPrediction(galaxies, [member], limit=limit, **work)
    try:
        features = large_array((len(galaxies), member.model.task.num_outputs), np.float32)
    except OSError as error:
        msg = f"features of {len(galaxies):,} galaxies need room in the folder of temporary files: {error}; "
        msg += "give a save_loc"
        raise ConfigError(msg) from error
    ids: list[str] = []
    for chunk in with_bar(run, len(galaxies), progress=progress):
        features[len(ids) : len(ids) + len(chunk.ids)] = chunk.values[0]
        ids += chunk.ids
    refuse_nothing(len(ids), run.failures, galaxies)
    origin = describe_origin([member], galaxies, n_samples=1)
    return FeatureTable(ids, features[: len(ids)], origin, failure_table(run.failures))


def in_pieces(features: NDArray) -> Iterator[NDArray]:
    """The features of some galaxies at a time, so that heads of any size predict from any number."""
    for start in range(0, len(features), _GALAXIES_AT_ONCE):
        yield features[start : start + _GALAXIES_AT_ONCE]
