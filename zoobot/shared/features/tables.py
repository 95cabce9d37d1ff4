"""Tables of features: what an encoder makes of galaxies, in memory or on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import parquet

from zoobot.shared.catalog import CatalogSource, read_catalog
from zoobot.shared.catalogs.columns import IdHashes
from zoobot.shared.checkpoint import NeutralCheckpoint
from zoobot.shared.errors import ConfigError, NonFiniteError, PredictionsError
from zoobot.shared.files.whole import large_array
from zoobot.shared.models.weights import hash_model
from zoobot.shared.pixels.first_images import check_first_images, with_views
from zoobot.shared.predicting.batches import CatalogPrediction, FailureLimit
from zoobot.shared.predicting.members import FeatureTask, Member, describe_origin
from zoobot.shared.predicting.run import (
    CatalogKeywords,
    Device,
    check_request,
    choose_batch_size,
    predict_catalog,
    refuse_nothing,
    with_bar,
)
from zoobot.shared.predictions import (
    Parts,
    Results,
    failure_table,
    intact_table,
    read_prediction_chunks,
    read_prediction_metadata,
)
from zoobot.shared.tables.destination import Destination

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from zoobot.shared.catalogs.stream import CatalogStream
    from zoobot.shared.preprocessing import Preprocessing

_ROWS_AT_ONCE = 4096
_SHOWN = 10


class FeatureTable(Results):
    """Features of galaxies, in the order of their catalog.

    Args:
        ids: The galaxies that could be read.
        features: What the encoder makes of each, (galaxies, width). More than a gigabyte of them lies in a
            temporary file, not in memory.
        origin: Where they come from: `task` (the block), `preprocessing`, `catalog`, `zoobot`; empty of a
            CSV, which can't say.
        failures: The galaxies without features, as for `Results`.
        save_loc: The table, or the folder of its parts, that they are in; then they are read when first
            looked at.

    Raises:
        PredictionsError: If there are neither features nor a table.
    """

    def __init__(
        self,
        ids: list[str] | None = None,
        features: NDArray | None = None,
        origin: dict[str, Any] | None = None,
        failures: pd.DataFrame | None = None,
        save_loc: str | Path | None = None,
    ) -> None:
        if (ids is None or features is None) and save_loc is None:
            msg = "a table of features needs ids and features, or the save_loc that they were written to"
            raise PredictionsError(msg)
        super().__init__(failures, save_loc)
        self._ids, self._features, self._origin = ids, features, origin

    @property
    def ids(self) -> list[str]:
        """The galaxies."""
        return self._read()[0]

    @property
    def features(self) -> NDArray[np.float32]:
        """Their features, (galaxies, width), float32."""
        return self._read()[1]

    @property
    def origin(self) -> dict[str, Any]:
        """Where the features come from."""
        if self._origin is None:
            self._origin = {} if self.save_loc is None else read_prediction_metadata(self.save_loc)
        return self._origin

    def _read(self) -> tuple[list[str], NDArray[np.float32]]:
        if self._ids is None or self._features is None:
            self._ids, self._features = _read_all(str(self.save_loc))
        return self._ids, self._features

    def __len__(self) -> int:
        """How many galaxies there are."""
        return len(self.ids)

    def __repr__(self) -> str:
        if self._ids is None:
            return f"FeatureTable(in {str(self.save_loc)!r})"
        return f"FeatureTable({len(self):,} galaxies, {self.features.shape[1]:,} features)"


def read_features(path: str | Path) -> FeatureTable:
    """The features that `zoobot represent` wrote, or those of any table with a column for each.

    Args:
        path: A folder of parts, which must be complete, or a .parquet, .csv, .hdf5 or .fits file: `id_str`,
            then the features.

    Raises:
        PredictionsError: If there is no such table, a galaxy stands in it twice, or it has several samples of
            each galaxy.
        NonFiniteError: If a feature is missing, NaN or infinite; the message names the galaxies.

    Example:
        >>> table = read_features("results/features")  # doctest: +SKIP
        >>> table.ids[:2], table.features.shape  # doctest: +SKIP
        (['J0001', 'J0002'], (1000000, 1280))
    """
    table = FeatureTable(save_loc=Path(path).expanduser())
    _ = table.features, table.origin  # faults of the table are found here, not later
    return table


def read_feature_chunks(
    path: str | Path, *, rows: int = _ROWS_AT_ONCE
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Ids, and features, (galaxies, width), float32, of so many galaxies at a time, at constant memory.

    Args:
        path: As for `read_features`.
        rows: Most galaxies at a time.

    Raises:
        PredictionsError: If there is no such table, it has several samples of each galaxy, or, once all is
            read, if a galaxy stands in it twice.
        NonFiniteError: If a feature is missing, NaN or infinite; the message names the galaxies.
    """
    hashes = IdHashes()
    for chunk in read_prediction_chunks(path, rows=rows):
        ids, features = _checked(chunk, path)
        hashes.add(ids)
        yield ids, features
    if not len(hashes):
        raise PredictionsError(f"{str(path)!r} has no galaxies")
    repeated = hashes.repeated(
        lambda: ([str(one) for one in chunk["id_str"]] for chunk in read_prediction_chunks(path, rows=rows))
    )
    if repeated:
        raise PredictionsError(f"{str(path)!r} has galaxies more than once; the first: {repeated[:_SHOWN]}")


def _checked(chunk: pd.DataFrame, path: str | Path) -> tuple[list[str], NDArray[np.float32]]:
    columns = list(chunk.columns[1:])
    if "sample" in columns or not columns:
        found = "several samples of each galaxy" if columns else "no features"
        raise PredictionsError(f"{str(path)!r} has {found}: expected id_str, and a column for each feature")
    other = [name for name in columns if getattr(chunk[name].dtype, "kind", "O") not in "fiu"]
    if other:
        msg = f"{str(path)!r}: features must be numbers, but these columns are not: {other[:_SHOWN]}"
        raise PredictionsError(msg)
    ids = [str(galaxy) for galaxy in chunk["id_str"]]
    features = chunk[columns].to_numpy(dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        named = [ids[row] for row in bad[:_SHOWN]]
        msg = f"{str(path)!r}: features must be finite, but those of some galaxies are not: {named}"
        raise NonFiniteError(msg)
    return ids, features


def _read_all(path: str) -> tuple[list[str], NDArray[np.float32]]:
    """All ids and features, these straight into the place where they stay, if their number is known."""
    total = _count_rows(path)
    ids: list[str] = []
    pieces: list[NDArray[np.float32]] = []
    table: NDArray[np.float32] | None = None
    for some, features in read_feature_chunks(path):
        if total is not None and table is None:
            table = _room_for((total, features.shape[1]), path)
        if table is None:
            pieces.append(features)
        elif len(ids) + len(some) <= len(table) and features.shape[1] == table.shape[1]:
            table[len(ids) : len(ids) + len(some)] = features
        ids += some
    if table is not None and len(ids) != len(table):
        msg = f"{path!r} changed while it was read: {len(table):,} galaxies, then {len(ids):,}; ask again"
        raise PredictionsError(msg)
    return ids, np.concatenate(pieces) if table is None else table


def _room_for(shape: tuple[int, int], path: str) -> NDArray[np.float32]:
    try:
        return large_array(shape, np.float32)
    except OSError as error:
        size = shape[0] * shape[1] * 4 / 1e9
        msg = f"{path!r}: {size:.1f} GB of features need room in the folder of temporary files: "
        msg += f"{error.strerror or error}; set TMPDIR to a folder on another disk"
        raise PredictionsError(msg) from error


def _count_rows(path: str) -> int | None:
    """The rows of a table, where its format says so without reading them."""
    folder = Path(path)
    if folder.is_dir():
        return Parts(folder).count_rows()
    if folder.suffix.lower() != ".parquet" or not folder.is_file():
        return None
    with intact_table(folder):
        return int(parquet.read_metadata(folder).num_rows)


# What an encoder makes of every galaxy of a catalog: features, with any engine.

_GALAXIES_AT_ONCE = 4096


class Encoding(NamedTuple):
    """What a member of a prediction run says of itself when it has no head.

    Attributes:
        task: The features that it gives.
        preprocessing: How a file becomes its input.
        conformal: None: features are of no truth that they could be off.
    """

    task: FeatureTask
    preprocessing: Preprocessing
    conformal: None = None


class _BlockFeatures(Protocol):
    block: str
    width: int

    def __call__(self, images: Any) -> Any: ...


def represent_with(
    device: Device,
    catalog: CatalogSource | CatalogStream,
    model: Any,
    *,
    load: Callable[[str | Path], Any],
    features_of: Callable[[Any, str | int | None], _BlockFeatures],
    fields_of: Callable[[Any], dict[str, Any]],
    block: str | int | None,
    views: int | None,
    dtype: str,
    **run: Unpack[CatalogKeywords],
) -> FeatureTable:
    """What `represent` of any engine does: an encoder is loaded and made ready, and encodes the catalog.

    Args:
        device: Where the engine computes.
        catalog: The galaxies.
        model: A model, an encoder, or the name of one.
        load: Gives the encoder of a name.
        features_of: From an encoder and a block to what gives that block's features of a batch.
        fields_of: What a checkpoint says of an encoder, its weights included.
        block: Which block's features; None is the top.
        views: How many views of each image are looked at; None is what the encoder's record says.
        dtype: What tables keep features as.
        **run: All of `CatalogKeywords`.
    """
    check_request(1, **run)
    encoder = load(model) if isinstance(model, (str, Path)) else getattr(model, "encoder", model)
    with with_views(encoder, views), device.ready(encoder):
        features = features_of(encoder, block)
        task = FeatureTask(width=features.width, block=features.block, dtype=dtype)
        member = Member(
            Encoding(task, encoder.preprocessing),
            device.start(lambda images, _: features(images)[None]),
            device.engine,
            lambda: hash_model(NeutralCheckpoint(**fields_of(encoder))),
        )
        batch_size = run["batch_size"] = choose_batch_size(run["batch_size"], on_gpu=device.on_gpu)
        if run["save_loc"] is None:
            return _represent_in_memory(catalog, member, run, batch_size)
        found = predict_catalog(catalog, [member], n_samples=1, decisive={"precision": "float32"}, **run)
    failures = None if Destination.of(run["save_loc"]).is_parts else found.failures
    return FeatureTable(failures=failures, save_loc=found.save_loc)


def _represent_in_memory(catalog: Any, member: Member, run: CatalogKeywords, batch_size: int) -> FeatureTable:
    galaxies = read_catalog(catalog, root=run["root"], id_col=run["id_col"], file_col=run["file_col"])
    check_first_images(galaxies.paths, member.model.preprocessing)
    work = CatalogPrediction(
        galaxies,
        [member],
        batch_size=batch_size,
        num_workers=run["num_workers"],
        limit=FailureLimit(run["max_failures"], len(galaxies)),
    )
    try:
        features = large_array((len(galaxies), member.model.task.num_outputs), np.float32)
    except OSError as error:
        msg = f"features of {len(galaxies):,} galaxies need room in the folder of temporary files: {error}; "
        msg += "give a save_loc"
        raise ConfigError(msg) from error
    ids: list[str] = []
    for chunk in with_bar(work, len(galaxies), progress=run["progress"]):
        features[len(ids) : len(ids) + len(chunk.ids)] = chunk.values[0]
        ids += chunk.ids
    refuse_nothing(len(ids), work.failures, galaxies)
    origin = describe_origin([member], galaxies, n_samples=1)
    return FeatureTable(ids, features[: len(ids)], origin, failure_table(work.failures))


def in_pieces(features: NDArray) -> Iterator[NDArray]:
    """The features of some galaxies at a time, so that heads of any size predict from any number."""
    for start in range(0, len(features), _GALAXIES_AT_ONCE):
        yield features[start : start + _GALAXIES_AT_ONCE]
