"""How a model learns: its optimiser, its steps and losses, and what it is validated by."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from zoobot.pytorch.data import TensorBatch, network_input
from zoobot.pytorch.galaxy_model import GalaxyModel
from zoobot.shared.galaxy_data import GalaxyData
from zoobot.shared.tasks import Task
from zoobot.shared.training.epochs import ValidatedBatch, mean_losses, part_groups, validation_scores
from zoobot.shared.training.finetune_settings import scheduled_factor, seed_of_batch
from zoobot.shared.training.steps import (
    STEPS_BETWEEN_CHECKS,
    TrainedBatch,
    refuse_bad_batches,
    refuse_bad_weights,
)


class FinetuneableZoobot(GalaxyModel):
    """A model that learns: what those of `zoobot.pytorch.finetune` have in common."""

    _sum_members: Tensor

    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__(task, **options)
        self._sum_names, members = part_groups(task)
        self.register_buffer("_sum_members", torch.from_numpy(members), persistent=False)
        # in a buffer, DDP would replace them by those of the first device
        self._sums = torch.zeros(2, 1 + len(self._sum_names))
        self._validated: list[ValidatedBatch] = []
        self._unchecked: list[tuple[int, int, Tensor, list[str]]] = []
        self._last_batch: TrainedBatch | None = None

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

    def setup(self, stage: str) -> None:
        """Meet the data before the first step, in training mode, which a loaded model is not in."""
        if stage == "fit":
            self.train()
        galaxies = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and isinstance(galaxies, GalaxyData):
            self.meet(galaxies)
            if self.encoder.norms_learn:
                galaxies.refuse_batches_of_one(self.trainer.world_size)

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


def _of_all_devices(validated: list[ValidatedBatch]) -> list[ValidatedBatch]:
    """What the devices of a run have validated, together: scores such as R² are no means of their parts."""
    if not (dist.is_available() and dist.is_initialized()):
        return list(validated)
    gathered: list[list[ValidatedBatch]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(gathered, validated)
    return list(chain.from_iterable(gathered))
