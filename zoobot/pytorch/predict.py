"""Predict over a catalog with a trained PyTorch model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch

from zoobot.pytorch import checkpoint
from zoobot.pytorch.finetune import FinetuneableZoobot
from zoobot.shared import defaults
from zoobot.shared.galaxy_data import CatalogSource
from zoobot.shared.prediction_run import Member, as_members, check_request, predict_catalog
from zoobot.shared.predictions import Predictions

__all__ = ["predict"]


def predict(
    catalog: CatalogSource,
    model: FinetuneableZoobot | str | Path | Sequence[FinetuneableZoobot | str | Path],
    *,
    save_loc: str | Path | None = None,
    n_samples: int = 1,
    root: str | Path | None = None,
    id_col: str = "id_str",
    file_col: str = "file_loc",
    batch_size: int = defaults.BATCH_SIZE,
    num_workers: int = defaults.NUM_WORKERS,
    seed: int = defaults.SEED,
    progress: bool = True,
) -> Predictions:
    """Predictions for every galaxy of a catalog, in its order: a table and the images that failed.

    Images are read as the model's checkpoint says, without augmentation, so the same call gives the same
    numbers. Memory holds a few batches, whatever the size of the catalog, when `save_loc` is given.

    Args:
        catalog: A table of ids and image files; labels are not needed.
        model: A trained model, or the folder of its checkpoint; or a list of these, of one task, for an
            ensemble: a row for each galaxy and member, numbered through in `sample`.
        save_loc: Write the table there (.parquet, .csv, .hdf5) as predictions come.
        n_samples: More than 1 samples the head's dropout (MC dropout): a row for each galaxy and `sample`.
            Of an ensemble, every member is sampled so often.
        root: Folder that `file_loc` is relative to; None is the catalog's own folder.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths.
        batch_size: Galaxies predicted at once.
        num_workers: Threads that read images.
        seed: Seeds dropout where `n_samples` is more than 1.
        progress: Whether a progress bar is drawn.

    Returns:
        Probabilities for classes, concentrations for trees, values in the targets' units for regression.

    Raises:
        ConfigError: If the models of a list predict different things.
        CatalogError: If the catalog can't be used.
        ImageError: If not one image could be read.
        NonFiniteError: If a prediction is NaN or infinite.

    Example:
        >>> predict("new.csv", "results/rings/checkpoint").table  # doctest: +SKIP
    """
    check_request(save_loc, n_samples)
    models = [checkpoint.load(m) if isinstance(m, (str, Path)) else m for m in as_members(model)]
    device = _best_device()
    members = [Member(m, _predict_batch(m, device, n_samples)) for m in models]
    with ExitStack() as stack:
        for m in models:
            stack.enter_context(_ready_on(device, m))
        stack.enter_context(torch.random.fork_rng())
        torch.manual_seed(seed)
        return predict_catalog(
            catalog,
            members,
            save_loc=save_loc,
            n_samples=n_samples,
            root=root,
            id_col=id_col,
            file_col=file_col,
            batch_size=batch_size,
            num_workers=num_workers,
            progress=progress,
        )


def _predict_batch(
    model: FinetuneableZoobot, device: torch.device, n_samples: int
) -> Callable[[np.ndarray], np.ndarray]:
    def predict_batch(images: np.ndarray) -> np.ndarray:
        return model.predict_images(torch.from_numpy(images).to(device), n_samples=n_samples).cpu().numpy()

    return predict_batch


@contextmanager
def _ready_on(device: torch.device, model: FinetuneableZoobot) -> Iterator[None]:
    """Have a model predict on a device for a while, then leave it as and where it was."""
    home, was_training = next(model.parameters()).device, model.training
    model.to(device).eval()
    try:
        yield
    finally:
        model.to(home).train(was_training)


def _best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
