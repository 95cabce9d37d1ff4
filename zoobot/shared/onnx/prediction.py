"""Predict over a catalog with exported models alone: no PyTorch, no TensorFlow, the same table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoobot.shared import defaults
from zoobot.shared.catalog import CatalogSource
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.onnx.model import OnnxModel, onnx_member
from zoobot.shared.predicting.members import as_members
from zoobot.shared.predicting.run import check_request, predict_catalog
from zoobot.shared.predictions import Predictions
from zoobot.shared.tables.part_folder import ShardSource


def predict(
    catalog: CatalogSource | CatalogStream,
    model: OnnxModel | str | Path | Sequence[OnnxModel | str | Path],
    *,
    save_loc: str | Path | None = None,
    n_samples: int = 1,
    root: str | Path | None = None,
    id_col: str = "id_str",
    file_col: str | Sequence[str] = "file_loc",
    batch_size: int | None = None,
    num_workers: int = defaults.NUM_WORKERS,
    part_rows: int | None = None,
    shard: ShardSource | None = None,
    max_failures: float | None = None,
    progress: bool = True,
) -> Predictions:
    """Predictions for every galaxy of a catalog, as an engine's `predict`, by ONNX Runtime.

    The model is an .onnx file that was exported, or several for an ensemble. Dropout is no part of such a
    file, so `n_samples` must be 1; 32 galaxies are predicted at once unless told otherwise.

    Raises:
        CheckpointError: If a file holds no exported model.
        ConfigError: If samples are asked for, or the models predict different things.
        CatalogError: If the catalog can't be used.
        ImageError: If not one image could be read, or more failed than may.
        NonFiniteError: If a prediction is NaN or infinite.
        PredictionsError: If they can't be written, or a folder holds those of another run.

    Example:
        >>> predict("new.csv", "rings.onnx").table  # doctest: +SKIP
    """
    check_request(n_samples, save_loc=save_loc, part_rows=part_rows, shard=shard, max_failures=max_failures)
    return predict_catalog(
        catalog,
        [onnx_member(one, n_samples) for one in as_members(model)],
        n_samples=n_samples,
        decisive={},
        save_loc=save_loc,
        root=root,
        id_col=id_col,
        file_col=file_col,
        batch_size=batch_size,
        num_workers=num_workers,
        part_rows=part_rows,
        shard=shard,
        max_failures=max_failures,
        progress=progress,
    )
