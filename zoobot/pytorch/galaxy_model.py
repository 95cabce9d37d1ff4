"""An encoder with a head on it: from images to predictions, and to a checkpoint."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from zoobot.pytorch import encoders, heads, weights
from zoobot.pytorch.blocks import Cut
from zoobot.pytorch.data import network_input, turned
from zoobot.pytorch.devices import to_device
from zoobot.shared.checkpoint import NeutralCheckpoint, write_checkpoint
from zoobot.shared.models.neutral import describe_model, encoder_for_pixels
from zoobot.shared.pixels.turned import mean_of_views
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import Task
from zoobot.shared.training.blocks import ParameterPlan, lowest_learning_block, plan_training
from zoobot.shared.training.feature_loader import FrozenPart
from zoobot.shared.training.finetune_settings import FinetuneSettings
from zoobot.shared.training.taught import TaughtBy

__all__ = ["GalaxyModel"]


class GalaxyModel(pl.LightningModule):
    """A pretrained encoder with a new head.

    Args:
        task: What the model predicts.
        name: The encoder: a bundled name, `hf_hub:owner/name`, a folder, or a timm architecture.
        encoder: An encoder in memory instead of a name: any module from images to (batch, features).
        preprocessing: How files become pixels; a dict changes single values of the encoder's own record.
        settings: How the weights learn, and which of them.

    Attributes:
        taught_by: Which galaxies it was trained and validated on; None where nobody knows.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    head: Any

    def __init__(
        self,
        task: Task,
        *,
        name: str,
        encoder: nn.Module | None,
        preprocessing: Preprocessing | dict[str, Any] | None,
        settings: FinetuneSettings,
    ) -> None:
        super().__init__()
        self.task = task
        self.settings = settings
        self.taught_by: TaughtBy | None = None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.encoder = encoder_for_pixels(encoders, name, encoder, preprocessing)
            self.head = heads.build_head(task, self.encoder.num_features, dropout_prob=settings.dropout_prob)
        self.preprocessing = self.encoder.preprocessing
        for statistic in ("mean", "std"):
            values = torch.tensor(getattr(self.preprocessing, statistic)).reshape(1, -1, 1, 1)
            self.register_buffer(f"pixel_{statistic}", values, persistent=False)
        self._encoder_plan = self._plan_encoder()
        self.encoder.set_trainable(self._encoder_plan)
        self._cut = self._cut_encoder()

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
        with torch.set_grad_enabled(torch.is_grad_enabled() and bool(self._encoder_plan)):
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

    def frozen_part(self) -> FrozenPart | None:
        """The part of the encoder that is computed once for each view; None if there is no such part."""
        settings = self.settings
        if self._cut is not None:
            encode = partial(self._encode_below, self._cut)
            return FrozenPart.below(encode, self._cut.width, settings.activation_views)
        if self._encoder_plan or not settings.cache_features:
            return None
        return FrozenPart(self.encode_images, self.encoder.num_features, views=settings.feature_views)

    @torch.inference_mode()
    def _encode_below(self, cut: Cut, images: np.ndarray) -> np.ndarray:
        """The activations below the learning blocks, (batch, width), from a loader's images."""
        pixels = (self._on_device(images) - self.pixel_mean) / self.pixel_std
        with self._in_precision():
            return cut.below(pixels).flatten(1).float().cpu().numpy()

    def _on_device(self, images: np.ndarray) -> Tensor:
        return network_input(to_device(images, self.pixel_mean.device))

    def _in_precision(self) -> AbstractContextManager[None]:
        """What the frozen part computes in: as the trainer's steps do, and float32 without a trainer."""
        trainer = self._trainer
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

    def parameter_counts(self) -> tuple[int, int]:
        """How many weights learn, and how many there are."""
        encoder = dict(self.encoder.model.named_parameters())
        head = sum(parameter.numel() for parameter in self.head.parameters())
        learning = sum(encoder[name].numel() for name in self._encoder_plan)
        return head + learning, head + sum(parameter.numel() for parameter in encoder.values())

    def _plan_encoder(self) -> dict[str, ParameterPlan]:
        shapes = {name: tuple(p.shape) for name, p in self.encoder.model.named_parameters()}
        return plan_training(
            self.encoder.blocks, shapes, n_blocks=self.settings.n_blocks, lr_decay=self.settings.lr_decay
        )

    def _cut_encoder(self) -> Cut | None:
        """The encoder in two parts, if what the frozen one gives is to be kept."""
        lowest = lowest_learning_block(self.encoder.blocks, self._encoder_plan)
        if lowest is None or not self.settings.activation_views:
            return None
        pixels = self.preprocessing
        shape = (pixels.channels, pixels.image_size_pix, pixels.image_size_pix)
        return Cut(self.encoder.model, lowest, shape)

    def save(self, folder: str | Path, *, training: dict[str, Any] | None = None) -> Path:
        """Write the neutral checkpoint that `zoobot.pytorch.checkpoint.load`, or the other engine, reads.

        Args:
            folder: A folder of its own; replaced whole, never half.
            training: What the checkpoint records about its training, JSON-ready.

        Returns:
            The folder.
        """
        return write_checkpoint(folder, self.to_neutral(training=training))

    def to_neutral(self, *, training: dict[str, Any] | None = None) -> NeutralCheckpoint:
        """The model as a checkpoint holds it, with copies of its weights.

        Args:
            training: What the checkpoint records about its training, JSON-ready.
        """
        return describe_model(
            self,
            encoder_fields=weights.encoder_fields(self.encoder),
            head_tensors=weights.module_state(self.head),
            training=training,
        )
