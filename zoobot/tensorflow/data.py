"""Galaxies for TensorFlow: the shared data module and loader, handing out tensors."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from zoobot.shared.errors import ZoobotError
from zoobot.shared.galaxy_data import GalaxyData
from zoobot.shared.pixels.turned import Turn
from zoobot.shared.training.feature_loader import FeatureLoader
from zoobot.shared.training.steps import STEPS_BETWEEN_CHECKS

if TYPE_CHECKING:
    from zoobot.shared.loader import Batch, GalaxyLoader

__all__ = ["GalaxyDataModule"]

#: Steps, at most, whose batches TensorFlow has asked for before it takes them.
_STEPS_AHEAD = 16


class GalaxyDataModule(GalaxyData):
    """Labelled galaxies as batches of tensors, or as a `tf.data.Dataset`.

    Arguments, checks and pixels are those of `zoobot.shared.galaxy_data.GalaxyData`, in either
    engine; each batch is a `TensorBatch`.

    Example:
        >>> galaxies = GalaxyDataModule("rings.csv", label_cols=["ring"])  # doctest: +SKIP
        >>> galaxies.setup(); len(galaxies.train_galaxies)  # doctest: +SKIP
        307
    """

    #: Set while a trainer fits: it tells the epoch and the model's record of its pixels.
    trainer: Any = None

    def _batches(self, name: str) -> TensorBatches:
        if self.trainer is None:
            return TensorBatches(self.loader(name))
        model = self.trainer.model
        self.settle(model)
        pixels = model.preprocessing
        part = model.frozen_part() if name != "test" and not self.trainer.strategy else None
        if part is not None:
            features = self.feature_loader(name, part, preprocessing=pixels, progress=self.trainer.progress)
            return TensorBatches(features, self.trainer, goes_on=name == "train")
        shards = self.trainer.shards if name == "train" else [(0, 1)]
        loaders = [self.loader(name, preprocessing=pixels, shard=shard) for shard in shards]
        loader = loaders[0] if len(loaders) == 1 else InTurn(loaders)
        return TensorBatches(loader, self.trainer, goes_on=name == "train")


class TensorBatch(NamedTuple):
    """A few galaxies as tensors, as told in `zoobot.pytorch.data.TensorBatch`."""

    images: tf.Tensor
    labels: tf.Tensor
    ids: list[str]


class InTurn:
    """The loaders of several devices as one: the first batch of each, then the second of each, and so on.

    Args:
        loaders: One for each device, in order.
    """

    def __init__(self, loaders: Sequence[GalaxyLoader]) -> None:
        self._loaders = loaders
        self.num_devices, self.batch_size = len(loaders), loaders[0].batch_size
        self.preprocessing, self.catalog = loaders[0].preprocessing, loaders[0].catalog

    def __len__(self) -> int:
        """Steps in an epoch, in which every device has a batch."""
        return len(self._loaders[0])

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Choose the epoch that the next iteration serves, and the step that it begins with."""
        for loader in self._loaders:
            loader.set_epoch(epoch, first_batch)

    def __iter__(self) -> Iterator[Batch]:
        for batches in zip(*self._loaders, strict=False):
            yield from batches


class TensorBatches:
    """A shared loader whose batches hold tensors, as told in `zoobot.pytorch.data.TensorBatches`.

    Attributes:
        error: What ended an epoch of `to_dataset`; TensorFlow itself hands on no more than its text.
    """

    def __init__(
        self, loader: GalaxyLoader | InTurn | FeatureLoader, trainer: Any = None, *, goes_on: bool = False
    ) -> None:
        self.loader = loader
        self.trainer = trainer
        self.goes_on = goes_on
        self.error: ZoobotError | None = None
        self._num_devices = loader.num_devices if isinstance(loader, InTurn) else 1
        steps = STEPS_BETWEEN_CHECKS + _STEPS_AHEAD
        self._served: deque[tuple[int, int, list[str]]] = deque(maxlen=steps * self._num_devices)

    def __len__(self) -> int:
        return len(self.loader)

    def ids_of(self, epoch: int, number: int) -> list[list[str]]:
        """The galaxies of a step of the last few, for each device of this process."""
        return [ids for e, n, ids in tuple(self._served) if (e, n) == (epoch, number)]

    def __iter__(self) -> Iterator[TensorBatch]:
        for images, labels, ids in self._arrays():
            yield TensorBatch(tf.convert_to_tensor(images), tf.convert_to_tensor(labels), ids)

    def to_dataset(self) -> tf.data.Dataset:
        """The batches as a dataset of (images, labels, ids), for `fit`; the next batch is always waiting.

        A dataset has one type for all, and images have two: each batch holds a table of uint8 images and one
        of float32 images in [0, 1], one of them empty. `network_input` makes them one.
        """
        signature = (
            self._input_signature(),
            tf.TensorSpec((None, len(self.loader.catalog.label_cols)), tf.float32),
            tf.TensorSpec((None,), tf.string),
        )
        # TensorFlow keeps that function, and whatever it holds, for as long as the process lives
        source = weakref.ref(self)
        elements = tf.data.Dataset.from_generator(
            lambda: source()._elements(),  # type: ignore[union-attr]
            output_signature=signature,
        )
        dataset = elements.prefetch(1)
        dataset.batches = self
        return dataset

    def _input_signature(self) -> Any:
        if isinstance(self.loader, FeatureLoader):
            return tf.TensorSpec((None, self.loader.features.shape[2]), self.loader.features.dtype)
        pixels, size = self.loader.preprocessing, self.loader.preprocessing.image_size_pix
        shape = (None, size, size, pixels.channels)
        return tf.TensorSpec(shape, tf.uint8), tf.TensorSpec(shape, tf.float32)

    def _elements(self) -> Iterator[tuple[Any, np.ndarray, list[str]]]:
        try:
            for images, labels, ids in self._arrays():
                if images.ndim == 2:
                    yield images, labels, ids
                    continue
                none = images[:0]
                is_8_bit = images.dtype == np.uint8
                pair = (images, none.astype(np.float32)) if is_8_bit else (none.astype(np.uint8), images)
                yield pair, labels, ids
        except ZoobotError as error:
            self.error = error
            raise

    def _arrays(self) -> Iterator[tuple[np.ndarray, np.ndarray, list[str]]]:
        epoch = self.trainer.current_epoch if self.trainer else 0
        first = self.trainer.first_batch if self.goes_on else 0
        self.loader.set_epoch(epoch, first)
        for place, (images, labels, ids) in enumerate(self.loader):
            self._served.append((epoch, first + place // self._num_devices, ids))
            yield images, np.empty((len(ids), 0), np.float32) if labels is None else labels, ids


def turned(images: tf.Tensor, turn: Turn) -> tf.Tensor:
    """Square images turned, (batch, height, width, channels), as `shared.pixels.turned.turned` does."""
    images = tf.transpose(images, (0, 2, 1, 3)) if turn.transposes else images
    axes = turn.reversed_axes(1)
    return tf.reverse(images, axes) if axes else images


def network_input(images: tf.Tensor | tuple[tf.Tensor, tf.Tensor], dtype: tf.DType) -> tf.Tensor:
    """Numbers in [0, 1], (batch, height, width, channels), from images as a loader or dataset gives them."""
    if isinstance(images, tuple):
        of_8_bits, others = images
        return tf.cond(
            tf.shape(of_8_bits)[0] > 0,
            lambda: network_input(of_8_bits, dtype),
            lambda: tf.cast(others, dtype),
        )
    images = tf.convert_to_tensor(images)
    return tf.cast(images, dtype) / 255 if images.dtype == tf.uint8 else tf.cast(images, dtype)
