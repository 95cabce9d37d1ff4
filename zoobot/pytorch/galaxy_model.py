"""An encoder with a head on it: from images to predictions, and to a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from zoobot.pytorch import blocks, encoders, heads, weights
from zoobot.pytorch.blocks import Cut
from zoobot.pytorch.data import network_input, turned
from zoobot.pytorch.devices import to_device
from zoobot.pytorch.internals import trainer_of
from zoobot.shared.pixels.turned import mean_of_views
from zoobot.shared.recipes import EngineModules, ModelRecipe
from zoobot.shared.tasks import Task

if TYPE_CHECKING:
    from typing_extensions import Self


class GalaxyModel(ModelRecipe[nn.Module, Tensor], pl.LightningModule):  # type: ignore[misc]
    """`ModelRecipe` in PyTorch."""

    _engine = EngineModules(encoders, heads, blocks, weights)

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__(task, **options)
        for statistic in ("mean", "std"):
            values = torch.tensor(getattr(self.preprocessing, statistic)).reshape(1, -1, 1, 1)
            self.register_buffer(f"pixel_{statistic}", values, persistent=False)

    @contextmanager
    def _drawn_from(self, seed: int) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield

    @property
    def _image_shape(self) -> tuple[int, int, int]:
        pixels = self.preprocessing
        return pixels.channels, pixels.image_size_pix, pixels.image_size_pix

    def _ready_to_predict(self) -> Self:
        return self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Predictions, (batch, outputs), from images in [0, 1], (batch, channels, height, width)."""
        return self.head.to_predictions(self.raw_outputs(images))

    def raw_outputs(self, images: Tensor) -> Tensor:
        """What the loss takes, (batch, outputs): logits, standardised targets, or concentrations."""
        return self._apply_head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """The encoder's features, (batch, features), from images in [0, 1]: means over the views.

        What the frozen part made of images, (batch, width), is taken in their place.
        """
        if images.ndim == 2:
            return images if self._cut is None else self._cut.above(images.float())
        turn = partial(turned, rows=2)
        return mean_of_views(self.features_of_view, images, self.preprocessing.views, turn)

    def features_of_view(self, images: Tensor) -> Tensor:
        """The same of the images as they are, whatever other views the model looks at."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.encoder_learns):
            features = self.encoder((images - self.pixel_mean) / self.pixel_std)
        return features.to(self.pixel_mean.dtype)

    def _apply_head(self, features: Tensor) -> Tensor:
        # log-gamma and softmax lose too many digits in half precision
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features.float())

    @torch.inference_mode()
    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Features, (batch, features), float32, from a loader's images, (batch, height, width, channels)."""
        was_training = self.encoder.training
        self.encoder.eval()
        with self._in_precision():
            features = self.features(self._on_device(images))
        self.encoder.train(was_training)
        return features.float().cpu().numpy()

    def _encode_below(self, cut: Cut) -> Callable[[np.ndarray], np.ndarray]:
        @torch.inference_mode()
        def encode(images: np.ndarray) -> np.ndarray:
            pixels = (self._on_device(images) - self.pixel_mean) / self.pixel_std
            with self._in_precision():
                return cut.below(pixels).flatten(1).float().cpu().numpy()

        return encode

    def _on_device(self, images: np.ndarray) -> Tensor:
        return network_input(to_device(images, self.pixel_mean.device))

    def _in_precision(self) -> AbstractContextManager[None]:
        """What the frozen part computes in: as the trainer's steps do, and float32 without a trainer."""
        trainer = trainer_of(self)
        return nullcontext() if trainer is None else trainer.precision_plugin.forward_context()

    @torch.inference_mode()
    def predict_images(self, images: Tensor, *, n_samples: int = 1) -> Tensor:
        """Predictions, (samples, batch, outputs), from a loader's images, (batch, height, width, channels).

        Args:
            images: uint8, or float32 in [0, 1].
            n_samples: More than 1 keeps the head's dropout on and samples it (MC dropout).
        """
        return self.predict_features(self.features(network_input(images)), n_samples=n_samples)

    @torch.inference_mode()
    def predict_features(self, features: Tensor, *, n_samples: int = 1) -> Tensor:
        """Predictions, (samples, batch, outputs), from the encoder's features, (batch, features)."""
        self.head.train(n_samples > 1)
        samples = [self.head.to_predictions(self._apply_head(features)) for _ in range(n_samples)]
        self.head.eval()
        return torch.stack(samples)
