"""Encoder features over a catalog with a trained PyTorch model, and heads that are fitted to features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from zoobot.pytorch import checkpoint
from zoobot.pytorch.devices import best_device, ready_on
from zoobot.pytorch.head_start import head_in_engine
from zoobot.pytorch.learner import FinetuneableZoobot
from zoobot.shared import defaults
from zoobot.shared.galaxy_data import CatalogSource
from zoobot.shared.head_start import fit_best_head
from zoobot.shared.prediction_run import choose_batch_size
from zoobot.shared.representations import Representation, in_pieces, represent_catalog

__all__ = ["fit_head", "predict_features", "represent"]


def represent(
    catalog: CatalogSource,
    model: FinetuneableZoobot | str | Path,
    *,
    root: str | Path | None = None,
    id_col: str = "id_str",
    file_col: str = "file_loc",
    batch_size: int | None = None,
    num_workers: int = defaults.NUM_WORKERS,
    progress: bool = True,
) -> Representation:
    """What a model's encoder makes of every galaxy of a catalog: ids, features, and the images that failed.

    Images are read as for prediction. The features are those from which the model's head predicts, in
    float32; more than a gigabyte of them lies in a temporary file, not in memory.

    Args:
        catalog: A table of ids and image files; labels are not needed.
        model: A model, or the folder of its checkpoint.
        root: Folder that `file_loc` is relative to; None is the catalog's own folder.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths.
        batch_size: Galaxies encoded at once; None is 32 on a CPU and 256 on a GPU.
        num_workers: Threads that read images.
        progress: Whether a progress bar is drawn.

    Raises:
        CheckpointError: If a folder holds no model.
        CatalogError: If the catalog can't be used.
        ImageError: If not one image could be read.
        NonFiniteError: If a feature is NaN or infinite.

    Example:
        >>> represent("new.csv", "results/rings/checkpoint").features.shape  # doctest: +SKIP
        (1000, 1280)
    """
    if isinstance(model, (str, Path)):
        model = checkpoint.load(model)
    device = best_device()
    with ready_on(device, model):
        return represent_catalog(
            catalog,
            model.encode_images,
            model.preprocessing,
            width=model.encoder.num_features,
            root=root,
            id_col=id_col,
            file_col=file_col,
            batch_size=choose_batch_size(batch_size, on_gpu=device.type != "cpu"),
            num_workers=num_workers,
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
    device = best_device()
    with ready_on(device, model), torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = [
            model.predict_features(torch.tensor(some, device=device), n_samples=n_samples)
            for some in in_pieces(features)
        ]
        return torch.cat(parts, dim=1).cpu().numpy()


def fit_head(
    features: NDArray,
    labels: NDArray,
    model: FinetuneableZoobot,
    *,
    decay: float | None = None,
    seed: int = defaults.SEED,
) -> float:
    """Give a model the best head for the features of labelled galaxies; what its head had learned is lost.

    Args:
        features: As `represent` gives them, (galaxies, features).
        labels: What the model's task needs, (galaxies, label columns).
        model: The model whose encoder made the features.
        decay: The weight decay, as returned for labels like these; None chooses it by cross-validation.
        seed: Seeds the folds of the cross-validation.

    Raises:
        LabelError: If a label is not what the task needs.

    Returns:
        The weight decay.
    """
    return fit_best_head(model, head_in_engine, features, labels, decay=decay, seed=seed)
