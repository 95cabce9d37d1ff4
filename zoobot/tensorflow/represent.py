"""Encoder features over a catalog with a trained Keras model, and heads that are fitted to features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoobot.shared import defaults
from zoobot.shared.catalog import CatalogSource
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.features.tables import FeatureTable, in_pieces, represent_with
from zoobot.shared.tables.part_folder import ShardSource
from zoobot.shared.training.head_start import fit_best_head
from zoobot.tensorflow.blocks import BlockFeatures
from zoobot.tensorflow.callbacks import head_in_engine
from zoobot.tensorflow.devices import BestDevice
from zoobot.tensorflow.encoders import Encoder, load_encoder
from zoobot.tensorflow.finetune import FinetuneableZoobot
from zoobot.tensorflow.weights import encoder_fields

__all__ = ["fit_head", "predict_features", "represent"]


def represent(
    catalog: CatalogSource | CatalogStream,
    model: FinetuneableZoobot | Encoder | str | Path,
    *,
    block: str | int | None = None,
    views: int | None = None,
    save_loc: str | Path | None = None,
    dtype: str = "float32",
    root: str | Path | None = None,
    id_col: str = "id_str",
    file_col: str | Sequence[str] = "file_loc",
    batch_size: int | None = None,
    num_workers: int = defaults.NUM_WORKERS,
    part_rows: int | None = None,
    shard: ShardSource | None = None,
    max_failures: float | None = None,
    progress: bool = True,
) -> FeatureTable:
    """What an encoder makes of every galaxy of a catalog: ids, features, and the images that failed.

    All is as told in `zoobot.pytorch.represent.represent`.

    Example:
        >>> represent("new.csv", "results/rings/checkpoint").features.shape  # doctest: +SKIP
        (1000, 1280)
    """
    return represent_with(
        BestDevice(),
        catalog,
        model,
        load=load_encoder,
        features_of=BlockFeatures,
        fields_of=encoder_fields,
        block=block,
        views=views,
        dtype=dtype,
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


def predict_features(
    features: NDArray, model: FinetuneableZoobot, *, n_samples: int = 1, seed: int = defaults.SEED
) -> NDArray[np.float32]:
    """What a model predicts of galaxies from their features, as `zoobot.pytorch.represent` tells."""
    with model.seeded_dropout(seed):
        parts = [
            model.predict_features(tf.convert_to_tensor(some), n_samples=n_samples)
            for some in in_pieces(features)
        ]
        return tf.concat(parts, axis=1).numpy()


def fit_head(
    features: NDArray,
    labels: NDArray,
    model: FinetuneableZoobot,
    *,
    decay: float | None = None,
    weights: NDArray | None = None,
    seed: int = defaults.SEED,
) -> float:
    """Give a model the best head for features of labelled galaxies, as `zoobot.pytorch.represent` tells."""
    return fit_best_head(model, head_in_engine, features, labels, decay=decay, weights=weights, seed=seed)
