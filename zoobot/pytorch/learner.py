"""The LightningModule under every finetuned model: an encoder, a head, and how both learn."""

from __future__ import annotations

from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor, nn

from zoobot.pytorch import encoders, heads, weights
from zoobot.pytorch.cut import Cut
from zoobot.pytorch.data import TensorBatch
from zoobot.shared.checkpoint import NeutralCheckpoint, write_checkpoint
from zoobot.shared.models.neutral import asked_of_encoder, describe_model
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import Task
from zoobot.shared.training.bad_steps import (
    STEPS_BETWEEN_CHECKS,
    TrainedBatch,
    refuse_bad_batches,
    refuse_bad_weights,
)
from zoobot.shared.training.blocks import ParameterPlan, lowest_learning_block, plan_training
from zoobot.shared.training.feature_loader import FrozenPart
from zoobot.shared.training.finetune_settings import FinetuneSettings, scheduled_factor, seed_of_batch
from zoobot.shared.training.galaxy_data import GalaxyData, labels_of
from zoobot.shared.training.loss_parts import mean_losses, part_groups
from zoobot.shared.training.validation import ValidatedBatch, validation_scores

__all__ = ["FinetuneableZoobot", "network_input"]


class FinetuneableZoobot(pl.LightningModule):
    """A pretrained encoder with a new head: what the models of `zoobot.pytorch.finetune` have in common.

    Args:
        task: What the model learns.
        name: The encoder: a bundled name, `hf_hub:owner/name`, a folder, or a timm architecture.
        encoder: An encoder in memory instead of a name: any module from images to (batch, features).
        preprocessing: How files become pixels; a dict changes single values of the encoder's own record.
        settings: How the weights learn.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    head: Any
    _sum_members: Tensor

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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.encoder = _get_encoder(name, encoder, preprocessing)
            self.head = heads.build_head(task, self.encoder.num_features, dropout_prob=settings.dropout_prob)
        self.preprocessing = self.encoder.preprocessing
        for statistic in ("mean", "std"):
            values = torch.tensor(getattr(self.preprocessing, statistic)).reshape(1, -1, 1, 1)
            self.register_buffer(f"pixel_{statistic}", values, persistent=False)
        self._encoder_plan = self._plan_encoder()
        self.encoder.set_trainable(self._encoder_plan)
        self._cut = self._cut_encoder()
        self._sum_names, members = part_groups(task)
        self.register_buffer("_sum_members", torch.from_numpy(members), persistent=False)
        # in a buffer, DDP would replace them by those of the first device
        self._sums = torch.zeros(2, 1 + len(self._sum_names))
        self._validated: list[ValidatedBatch] = []
        self._unchecked: list[tuple[int, int, Tensor, list[str]]] = []
        self._last_batch: TrainedBatch | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Predictions, (batch, outputs), from images in [0, 1], (batch, channels, height, width)."""
        return self.head.to_predictions(self.raw_outputs(images))

    def raw_outputs(self, images: Tensor) -> Tensor:
        """What the loss takes, (batch, outputs): logits, standardised targets, or concentrations."""
        return self._apply_head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """The encoder's features, (batch, features), from images in [0, 1].

        What the frozen part made of images, (batch, width), is taken in their place.
        """
        if images.ndim == 2:
            return images if self._cut is None else self._cut.above(images.float())
        with torch.set_grad_enabled(torch.is_grad_enabled() and bool(self._encoder_plan)):
            return self.encoder((images - self.pixel_mean) / self.pixel_std)

    @torch.inference_mode()
    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Features, (batch, features), float32, from a loader's images, (batch, height, width, channels)."""
        was_training = self.encoder.training
        self.encoder.eval()
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
        return cut.below(pixels).flatten(1).float().cpu().numpy()

    def _on_device(self, images: np.ndarray) -> Tensor:
        return network_input(torch.from_numpy(images).to(self.pixel_mean.device))

    @torch.inference_mode()
    def validate_batch(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The losses, (batch,), and predictions, (batch, outputs), of a loader's images, or of features."""
        device = next(self.head.parameters()).device
        was_training = self.training
        self.eval()
        scored = self._score(torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device))
        self.train(was_training)
        return scored

    def _score(self, images: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Losses, (batch,), and predictions, (batch, outputs)."""
        raw = self.raw_outputs(network_input(images))
        scored = (self.galaxy_losses(raw, labels), self.head.to_predictions(raw))
        losses, predictions = (tensor.float().cpu().numpy() for tensor in scored)
        return losses, predictions

    def _apply_head(self, features: Tensor) -> Tensor:
        # log-gamma and softmax lose too many digits in half precision
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features.float())

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

    def configure_optimizers(self) -> Any:
        """AdamW with a learning rate for each block, and the schedule, stepped every batch."""
        factor = scheduled_factor(
            self.settings,
            total_steps=int(self.trainer.estimated_stepping_batches),
            max_epochs=self.trainer.max_epochs or 1,
        )
        # fused steps several times faster; Lightning's float16 scaler can't drive it
        fused = self.trainer.precision != "16-mixed"
        optimizer = torch.optim.AdamW(self._parameter_groups(), lr=self.settings.learning_rate, fused=fused)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for parameter in self.head.parameters():
            groups.setdefault((1.0, parameter.ndim > 1), []).append(parameter)
        parameters = dict(self.encoder.model.named_parameters())
        for name, plan in self._encoder_plan.items():
            groups.setdefault((plan.lr_factor, plan.decays), []).append(parameters[name])
        return [
            {
                "params": members,
                "lr": self.settings.learning_rate * factor,
                "weight_decay": self.settings.weight_decay if decays else 0.0,
            }
            for (factor, decays), members in groups.items()
        ]

    def galaxy_losses(self, raw: Tensor, labels: Tensor) -> Tensor:
        """The loss of each galaxy, (batch,), from the head's raw outputs and the labels."""
        raise NotImplementedError

    def loss_parts(self, raw: Tensor, labels: Tensor) -> Tensor:
        """The loss of each galaxy in parts that add up to it, (batch, parts): a tree's questions, or one."""
        return self.galaxy_losses(raw, labels)[:, None]

    def learn_label_statistics(self, labels: np.ndarray) -> None:
        """Take what the head or the loss needs from the training labels, (galaxies, label columns)."""

    def meet(self, galaxies: GalaxyData) -> None:
        """Learn the label columns and statistics of the galaxies to train on; check every label.

        Raises:
            ConfigError: If the model was made for other label columns.
            LabelError: If a label is not what the task needs.
        """
        self.task = galaxies.meet(self.task)
        self.learn_label_statistics(labels_of(galaxies.train_galaxies))

    def setup(self, stage: str) -> None:
        """Meet the data before the first step, in training mode, which a loaded model is not in."""
        if stage == "fit":
            self.train()
        galaxies = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and isinstance(galaxies, GalaxyData):
            self.meet(galaxies)

    def on_train_start(self) -> None:
        """Begin with the sums of losses of an epoch that goes on, and nothing to check."""
        self._sums = self._sums.to(self.device)
        self._unchecked, self._last_batch = [], None

    def on_train_epoch_start(self) -> None:
        """Begin to add up the epoch's losses."""
        self._sums = torch.zeros_like(self._sums, device=self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the sums of losses of the epoch so far, of all devices."""
        sums = self._sums.clone()  # a reduction may write into its argument
        checkpoint["loss_sums"] = self.trainer.strategy.reduce(sums, reduce_op="sum").cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them up on the first device."""
        sums = checkpoint["loss_sums"]
        self._sums = sums if self.global_rank == 0 else torch.zeros_like(sums)

    def training_step(self, batch: TensorBatch, batch_index: int) -> Tensor:
        """The mean loss of a batch."""
        # so that a resumed run draws the dropout that an uninterrupted one would have
        torch.manual_seed(
            seed_of_batch(self.settings.seed, self.current_epoch, batch_index, self.global_rank)
        )
        parts = self.loss_parts(self.raw_outputs(network_input(batch.images)), batch.labels)
        losses = parts.sum(dim=1)
        self._add_up(losses.detach(), parts.detach())
        self._unchecked.append((self.current_epoch, batch_index, losses.detach(), batch.ids))
        if len(self._unchecked) == STEPS_BETWEEN_CHECKS:
            self._check_losses()
        return losses.mean()

    def _add_up(self, losses: Tensor, parts: Tensor) -> None:
        """Count losses, and those of each question and campaign; one that nobody was asked has exactly 0."""
        self._sums[0, 0] += losses.sum()
        self._sums[1, 0] += len(losses)
        if self._sum_names:
            parts = parts.to(self._sum_members.dtype)
            self._sums[0, 1:] += (parts @ self._sum_members).sum(dim=0)
            self._sums[1, 1:] += ((parts != 0).to(parts.dtype) @ self._sum_members > 0).sum(dim=0)

    def _check_losses(self) -> None:
        """Stop at a loss that is not finite: some steps late, for to look at one means to wait for it."""
        if not self._unchecked:
            return
        unchecked, self._unchecked = self._unchecked, []
        losses = torch.cat([losses for _, _, losses, _ in unchecked]).float().cpu()
        parts = losses.split([len(ids) for _, _, _, ids in unchecked])
        batches = [
            TrainedBatch(epoch, number, part.numpy(), ids)
            for (epoch, number, _, ids), part in zip(unchecked, parts, strict=True)
        ]
        refuse_bad_batches(batches)
        self._last_batch = batches[-1]

    def check_training(self) -> None:
        """Raise unless all losses since the last call and all weights are finite: what is saved is good.

        Raises:
            NonFiniteError: Naming the galaxies of the first bad step.
        """
        self._check_losses()
        weights_now = [p.detach() for p in self.parameters() if p.requires_grad]
        finite = torch.stack([torch.isfinite(weight).all() for weight in weights_now]).all()
        refuse_bad_weights(self._last_batch, are_finite=bool(finite))

    def on_validation_epoch_start(self) -> None:
        """Check what was learned before it is scored."""
        self._check_losses()
        self._validated.clear()

    def validation_step(self, batch: TensorBatch, batch_index: int) -> None:
        """Keep the losses and predictions of a batch for the metrics of the epoch."""
        labels = batch.labels.float().cpu().numpy()
        self._validated.append(ValidatedBatch(*self._score(batch.images, batch.labels), labels, batch.ids))

    def on_validation_epoch_end(self) -> None:
        """Log `val_loss`, the task's metrics as `val_…`, and the training losses of a tree's questions."""
        validated = _of_all_devices(self._validated)
        self._validated.clear()
        if not validated:
            return
        scores = validation_scores(self.task, validated)
        on_device = {k: torch.tensor(v, dtype=torch.float32, device=self.device) for k, v in scores.items()}
        self.log("val_loss", on_device.pop("val_loss"), prog_bar=True, sync_dist=True)
        self.log_dict(on_device, sync_dist=True)
        sums, galaxies = self.trainer.strategy.reduce(self._sums.clone(), reduce_op="sum").cpu().numpy()
        if galaxies[0]:  # none where a trainer only validates
            self.log("train_loss", sums[0] / galaxies[0], prog_bar=True, sync_dist=True)
        self.log_dict(mean_losses(self._sum_names, sums[1:], galaxies[1:]), sync_dist=True)

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


def _of_all_devices(validated: list[ValidatedBatch]) -> list[ValidatedBatch]:
    """What the devices of a run have validated, together: scores such as R² are no means of their parts."""
    if not (dist.is_available() and dist.is_initialized()):
        return list(validated)
    gathered: list[list[ValidatedBatch]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(gathered, validated)
    return list(chain.from_iterable(gathered))


def network_input(images: Tensor) -> Tensor:
    """Images as the loader gives them → float in [0, 1], (batch, channels, height, width).

    What a frozen part made of them, (batch, width), stays as it is.
    """
    if images.ndim == 2:
        return images
    planes = images.permute(0, 3, 1, 2)
    return planes.float().div_(255) if images.dtype == torch.uint8 else planes.float()


def _get_encoder(
    name: str, encoder: nn.Module | None, preprocessing: Preprocessing | dict[str, Any] | None
) -> encoders.Encoder:
    """The encoder by name or from memory, made for the pixels that were asked for."""
    changes, shape = asked_of_encoder(preprocessing)
    if encoder is None:
        encoder = encoders.load_encoder(name, **shape)
    elif not isinstance(encoder, encoders.Encoder):
        encoder = encoders.encoder_from_module(encoder, **shape)
    encoder.preprocessing = encoder.preprocessing.with_changes(**changes)
    return encoder
