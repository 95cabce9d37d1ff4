"""Galaxies for PyTorch: the shared data module and loader, handing out tensors."""

from __future__ import annotations

from collections.abc import Iterator

import pytorch_lightning as pl
import torch

from zoobot.shared.galaxy_data import GalaxyData
from zoobot.shared.loader import Batch, GalaxyLoader

__all__ = ["GalaxyDataModule"]


class GalaxyDataModule(GalaxyData, pl.LightningDataModule):
    """Labelled galaxies as a LightningDataModule.

    Arguments, checks and pixels are those of `zoobot.shared.galaxy_data.GalaxyData`, in either engine. A batch
    is a `zoobot.shared.loader.Batch` whose images are a uint8 or float32 tensor,
    (batch, height, width, channels), and whose labels are float32, (batch, label columns).

    Example:
        >>> galaxies = GalaxyDataModule("rings.csv", label_cols=["ring"])  # doctest: +SKIP
        >>> galaxies.setup(); len(galaxies.train_galaxies)  # doctest: +SKIP
        307
    """

    def train_dataloader(self) -> TensorBatches:
        """Shuffled, augmented batches; each epoch has its own order and warps."""
        return self._batches("train")

    def val_dataloader(self) -> TensorBatches:
        """Batches in catalog order, never augmented."""
        return self._batches("val")

    def test_dataloader(self) -> TensorBatches:
        """Batches in catalog order, never augmented."""
        return self._batches("test")

    def _batches(self, name: str) -> TensorBatches:
        trainer = self.trainer
        if trainer is None:
            return TensorBatches(self.loader(name), None)
        preprocessing = trainer.lightning_module.preprocessing
        shard = (trainer.global_rank, trainer.world_size)
        return TensorBatches(self.loader(name, preprocessing=preprocessing, shard=shard), trainer)


class TensorBatches:
    """A shared loader whose batches hold tensors, and whose order follows the trainer's epoch.

    Args:
        loader: The shared loader.
        trainer: Tells the epoch; None stays in the first.
    """

    def __init__(self, loader: GalaxyLoader, trainer: pl.Trainer | None) -> None:
        self.loader = loader
        self.trainer = trainer

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        self.loader.set_epoch(self.trainer.current_epoch if self.trainer else 0)
        for images, labels, ids in self.loader:
            yield Batch(torch.from_numpy(images), None if labels is None else torch.from_numpy(labels), ids)
