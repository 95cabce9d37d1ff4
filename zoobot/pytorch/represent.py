"""Encoder features over a catalog with a trained PyTorch model, and heads that are fitted to features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from zoobot.pytorch.blocks import BlockFeatures
from zoobot.pytorch.callbacks import head_in_engine
from zoobot.pytorch.devices import BestDevice
from zoobot.pytorch.encoders import Encoder, load_encoder
from zoobot.pytorch.learner import FinetuneableZoobot
from zoobot.pytorch.weights import encoder_fields
from zoobot.shared import defaults
from zoobot.shared.catalog import CatalogSource
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.features.tables import FeatureTable, in_pieces, represent_with
from zoobot.shared.tables.part_folder import ShardSource
from zoobot.shared.training.head_start import fit_best_head

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

    Images are read as for prediction, and the network computes in float32 on any device. Memory holds a few
    batches, whatever the size of the catalog, when `save_loc` is given; without it, more than a gigabyte of
    features lies in a temporary file.

    Args:
        catalog: Whatever `predict` takes; labels are not needed.
        model: A model, an encoder, the folder of a checkpoint, or any name that `load_encoder` takes.
        block: Which block's features: a name, or a number from 0 at the bottom, or from -1 at the top. None
            is the top: those from which the model's head predicts. Of other blocks they are means over the
            positions in the image of what the block hands on.
        views: In how many turned copies each image is looked at: 1, 2, 4 (right angles) or 8 (mirrored, too);
            features are means over them. The time grows as their number. None is what the encoder's record
            says.
        save_loc: Write the table there (.parquet, .csv, .hdf5, .fits) as features come: `id_str`,
            `feature_0000`, … A name without such an ending is a folder, for any number of galaxies.
        dtype: What a .parquet or a folder keeps features as: "float32", or "float16", which halves the space
            and keeps three digits.
        root: Folder that `file_loc` is relative to; None is the catalog's own folder.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths, or one for each band.
        batch_size: Galaxies encoded at once; None is 32 on a CPU and 256 on a GPU.
        num_workers: Threads that read images.
        part_rows: Where `save_loc` is a folder: galaxies in each part, as for `predict`. The same call goes
            on after a kill.
        shard: Where `save_loc` is a folder: "1/8" to "8/8" share its parts among eight processes.
        max_failures: How many images may fail, or, below 1, which fraction of them; None allows any.
        progress: Whether a progress bar is drawn.

    Returns:
        The features; those that were written are read when first looked at.

    Raises:
        EncoderError: If a name or folder gives no encoder.
        ConfigError: If there is no such block, or an option can't work.
        CatalogError: If the catalog can't be used.
        ImageError: If not one image could be read, or more failed than may.
        NonFiniteError: If a feature is NaN, infinite, or too large for float16.
        PredictionsError: If a folder holds those of another run.
        WriteError: If they can't be written.

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
    """What a model predicts of galaxies from their features: (samples, galaxies, outputs).

    Args:
        features: As `represent` gives them, (galaxies, features).
        model: The model whose encoder made them.
        n_samples: More than 1 samples the head's dropout (MC dropout).
        seed: Seeds dropout.
    """
    place = BestDevice()
    with place.ready(model), torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = [
            model.predict_features(torch.tensor(some, device=place.device), n_samples=n_samples)
            for some in in_pieces(features)
        ]
        return torch.cat(parts, dim=1).cpu().numpy()


def fit_head(
    features: NDArray,
    labels: NDArray,
    model: FinetuneableZoobot,
    *,
    decay: float | None = None,
    weights: NDArray | None = None,
    seed: int = defaults.SEED,
) -> float:
    """Give a model the best head for the features of labelled galaxies; what its head had learned is lost.

    Args:
        features: As `represent` gives them, (galaxies, features).
        labels: What the model's task needs, (galaxies, label columns).
        model: The model whose encoder made the features.
        decay: The weight decay, as returned for labels like these; None chooses it by cross-validation.
        weights: How much the loss of each galaxy counts, (galaxies,); None counts all alike.
        seed: Seeds the folds of the cross-validation.

    Raises:
        LabelError: If a label is not what the task needs.
        ConfigError: If the weights are not one for each galaxy, from 0.

    Returns:
        The weight decay.
    """
    return fit_best_head(model, head_in_engine, features, labels, decay=decay, weights=weights, seed=seed)
