"""Galaxies for PyTorch: the shared data module and loader, handing out tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch

from zoobot.shared.feature_loader import FeatureLoader
from zoobot.shared.galaxy_data import GalaxyData
from zoobot.shared.loader import GalaxyLoader

__all__ = ["GalaxyDataModule"]


class GalaxyDataModule(GalaxyData, pl.LightningDataModule):
    """Labelled galaxies as a LightningDataModule.

    Arguments, checks and pixels are those of `zoobot.shared.galaxy_data.GalaxyData`, in either engine; each
    batch is a `TensorBatch`.

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
        model: Any = trainer.lightning_module
        part = model.frozen_part() if name != "test" and trainer.world_size == 1 else None
        if part is None:
            shard = (trainer.global_rank, trainer.world_size)
            return TensorBatches(self.loader(name, preprocessing=model.preprocessing, shard=shard), trainer)
        shows_progress = trainer.progress_bar_callback is not None
        features = self.feature_loader(name, part, preprocessing=model.preprocessing, progress=shows_progress)
        return TensorBatches(features, trainer)


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
    """

    def __init__(self, loader: GalaxyLoader | FeatureLoader, trainer: pl.Trainer | None) -> None:
        self.loader = loader
        self.trainer = trainer
        self._served = 0
        self._first_batch = 0

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[TensorBatch]:
        first, self._first_batch = self._first_batch, 0
        return self._batches(first)

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch were served; Lightning saves it with a run."""
        return {"served": self._served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out of the next epoch what the saved run was served of it."""
        self._first_batch = state["served"]

    def _batches(self, first: int) -> Iterator[TensorBatch]:
        self.loader.set_epoch(self.trainer.current_epoch if self.trainer else 0, first)
        self._served = first
        for images, labels, ids in self.loader:
            self._served += 1
            known = np.empty((len(ids), 0), np.float32) if labels is None else labels
            yield TensorBatch(torch.from_numpy(images), torch.from_numpy(known), ids)
