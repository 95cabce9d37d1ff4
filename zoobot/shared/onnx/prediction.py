"""Predict over a catalog with exported models alone: no PyTorch, no TensorFlow, the same table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.catalog import CatalogSource
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.models.weights import hash_file
from zoobot.shared.onnx.model import OnnxModel, is_onnx_file
from zoobot.shared.predicting.members import Member, as_members
from zoobot.shared.predicting.run import check_request, choose_batch_size, predict_catalog
from zoobot.shared.predictions import Predictions
from zoobot.shared.tables.part_folder import ShardSource

__all__ = ["is_exported", "onnx_member", "predict"]


def is_exported(model: object) -> bool:
    """Whether a model is an exported one, or the file of one, and no engine's."""
    return isinstance(model, OnnxModel) or is_onnx_file(model)


def onnx_member(model: Any, n_samples: int, views: int | None = None) -> Member:
    """An exported model as a member of a prediction run.

    Args:
        model: An `OnnxModel`, or its file.
        n_samples: How many dropout samples are asked for.
        views: How many views of each image are; None is as many as the file was exported with.

    Raises:
        CheckpointError: If the file can't be used.
        ConfigError: If samples are asked for, which a file can't give, or another number of views.
    """
    exported = model if isinstance(model, OnnxModel) else OnnxModel(model)
    exported.check_samples(n_samples)
    exported.check_views(exported.preprocessing.views if views is None else views)

    def start(images: np.ndarray, _: int) -> Callable[[], np.ndarray]:
        predictions = exported.predict_images(images)[None]
        return lambda: predictions

    return Member(exported, start, "onnxruntime", lambda: hash_file(exported.path))


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

    Args:
        catalog: A table of ids and image files.
        model: An .onnx file that was exported, or several for an ensemble.
        save_loc: Write the table there (.parquet, .csv, .hdf5, .fits) as predictions come. A name without
            such an ending is a folder, for any number of galaxies: see `part_rows`.
        n_samples: Must be 1: dropout is not part of such a file.
        root: Folder that `file_loc` is relative to; None is the catalog's own folder.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths, or one for each band.
        batch_size: Galaxies predicted at once; None is 32.
        num_workers: Threads that read images.
        part_rows: Galaxies in a file, where `save_loc` is a folder, as in an engine's `predict`.
        shard: "1/8" to "8/8" share the parts of such a folder among eight processes.
        max_failures: How many images may fail, or, below 1, which fraction of them; None allows any.
        progress: Whether a progress bar is drawn.

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
    parts: dict[str, Any] = {"part_rows": part_rows, "shard": shard, "max_failures": max_failures}
    check_request(save_loc, n_samples, **parts)
    return predict_catalog(
        catalog,
        [onnx_member(m, n_samples) for m in as_members(model)],
        save_loc=save_loc,
        n_samples=n_samples,
        root=root,
        id_col=id_col,
        file_col=file_col,
        batch_size=choose_batch_size(batch_size, on_gpu=False),
        num_workers=num_workers,
        progress=progress,
        decisive={},
        **parts,
    )
