"""Galaxies for PyTorch: the shared data module and loader, handing out tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch

from zoobot.pytorch.devices import pinned_for
from zoobot.shared.galaxy_data import GalaxyData
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.pixels.turned import Turn
from zoobot.shared.training.feature_loader import FeatureLoader

__all__ = ["GalaxyDataModule"]


class GalaxyDataModule(GalaxyData, pl.LightningDataModule):
    """Labelled galaxies as a LightningDataModule.

    Arguments, checks and pixels are those of `zoobot.shared.galaxy_data.GalaxyData`, in either
    engine; each batch is a `TensorBatch`.

    Example:
        >>> galaxies = GalaxyDataModule("rings.csv", label_cols=["ring"])  # doctest: +SKIP
        >>> galaxies.setup(); len(galaxies.train_galaxies)  # doctest: +SKIP
        307
    """

    def _batches(self, name: str) -> TensorBatches:
        trainer = self.trainer
        if trainer is None:
            return TensorBatches(self.loader(name), None)
        model: Any = trainer.lightning_module
        self.settle(model)
        part = model.frozen_part() if name != "test" and trainer.world_size == 1 else None
        if part is None:
            shard = (trainer.global_rank, trainer.world_size)
            loader = self.loader(name, preprocessing=model.preprocessing, shard=shard)
            return TensorBatches(loader, trainer, goes_on=name == "train")
        shows_progress = trainer.progress_bar_callback is not None
        features = self.feature_loader(name, part, preprocessing=model.preprocessing, progress=shows_progress)
        return TensorBatches(features, trainer, goes_on=name == "train")


class TensorBatch(NamedTuple):
    """A few galaxies as tensors.

    Attributes:
        images: (batch, height, width, channels), uint8, or float32 in [0, 1]; or what the frozen
            part of the encoder made of them, (batch, width).
        labels: (batch, label columns), float32, NaN where missing; empty, (batch, 0), without labels.
        ids: Ids of the galaxies, in order.
    """

    images: torch.Tensor
    labels: torch.Tensor
    ids: list[str]


class TensorBatches:
    """A shared loader whose batches hold tensors, and whose order follows the trainer's epoch.

    Args:
        loader: The shared loader.
        trainer: Tells the epoch; None stays in the first.
        goes_on: Whether the trainer also tells the batch to begin with, where a run was resumed in an epoch.
    """

    def __init__(
        self, loader: GalaxyLoader | FeatureLoader, trainer: Any = None, *, goes_on: bool = False
    ) -> None:
        self.loader = loader
        self.trainer = trainer
        self.goes_on = goes_on

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[TensorBatch]:
        trainer = self.trainer
        # Lightning restores how many batches were done, but not always a loader's own state
        goes_on = self.goes_on and trainer is not None and trainer.training
        first = trainer.fit_loop.batch_idx + 1 if goes_on else 0
        self.loader.set_epoch(trainer.current_epoch if trainer else 0, first)
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        for images, labels, ids in self.loader:
            known = np.empty((len(ids), 0), np.float32) if labels is None else labels
            # Lightning has them copied to the device; from pinned memory nobody waits for that
            pixels, targets = (pinned_for(device, torch.from_numpy(array)) for array in (images, known))
            yield TensorBatch(pixels, targets, ids)


def network_input(images: torch.Tensor) -> torch.Tensor:
    """Images as the loader gives them → float in [0, 1], (batch, channels, height, width).

    What a frozen part made of them, (batch, width), stays as it is.
    """
    if images.ndim == 2:
        return images
    planes = images.permute(0, 3, 1, 2)
    return planes.float().div_(255) if images.dtype == torch.uint8 else planes.float()


def turned(images: torch.Tensor, turn: Turn, *, rows: int = 1) -> torch.Tensor:
    """Square images turned, as `zoobot.shared.pixels.turned.turned` does.

    Args:
        images: As the loader gives them, or with the channels before the rows.
        turn: How.
        rows: Which axis is that of the rows; the next is that of the columns.
    """
    images = images.transpose(rows, rows + 1) if turn.transposes else images
    return images.flip(turn.reversed_axes(rows))
