"""Validate, and keep, a running average of the weights instead of the weights of the last step."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from zoobot.shared.training.averaging import decay_at

__all__ = ["AveragedWeights"]


class AveragedWeights(pl.Callback):
    """Averages every parameter that learns, and the norm statistics, over the steps of a run.

    Validation sees the average, and so does whatever keeps the best model, if it stands before this callback.

    Args:
        decay: The share of the average that stays at each step, in the long run.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.average: dict[str, Tensor] = {}
        self._swapped = False

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Begin with the weights as they are, or with those of the run that goes on."""
        live = _averaged(model)
        saved = {name: tensor.to(live[name].device) for name, tensor in self.average.items()}
        self.average = saved or {name: tensor.detach().clone() for name, tensor in live.items()}
        self._steps = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, model: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the average, if this batch ended with a step."""
        if trainer.global_step == self._steps:
            return
        self._steps = trainer.global_step
        live = [tensor.detach() for tensor in _averaged(model).values()]
        torch._foreach_lerp_(list(self.average.values()), live, 1 - decay_at(self.updates, self.decay))
        self.updates += 1

    def on_validation_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Put the average in the place of the weights."""
        if trainer.state.fn == TrainerFn.FITTING and self.updates:
            self._swap(model)

    def on_validation_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Put the weights back."""
        if self._swapped:
            self._swap(model)

    def on_exception(self, trainer: pl.Trainer, model: pl.LightningModule, exception: BaseException) -> None:
        """Put the weights back where validation was interrupted."""
        if self._swapped:
            self._swap(model)

    def _swap(self, model: pl.LightningModule) -> None:
        with torch.no_grad():
            for name, live in _averaged(model).items():
                kept = live.detach().clone()
                live.copy_(self.average[name])
                self.average[name].copy_(kept)
        self._swapped = not self._swapped

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a killed run's average."""
        self.updates, self.average = state_dict["updates"], dict(state_dict["average"])


def _averaged(model: pl.LightningModule) -> dict[str, Tensor]:
    """Parameters that learn, and the statistics that training changes."""
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    statistics = {
        name: buffer
        for name, buffer in model.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    }
    return learning | statistics
