"""Start a head on fixed features from the best linear head there is: PyTorch's part of it."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import nn

from zoobot.shared.training.head_optimum import HeadLoss
from zoobot.shared.training.head_start import HeadInEngine, keep_start, start_head, wants_start

if TYPE_CHECKING:
    from zoobot.pytorch.learner import FinetuneableZoobot
    from zoobot.pytorch.trainer import BestModel

__all__ = ["HeadStart", "head_in_engine"]


class HeadStart(pl.Callback):
    """Before the first step, give a new head the best weights for its features, and score them.

    Args:
        best_model: Keeps that head if no epoch beats it.
        metrics: metrics.csv, for a run that ends with that head.
        may_end: Whether a run ends with it where no epoch can beat it.
    """

    def __init__(self, best_model: BestModel, metrics: Path, *, may_end: bool) -> None:
        self.best_model = best_model
        self.metrics = metrics
        self.may_end = may_end

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Find the head, if this run begins, and features were cached."""
        learner: Any = model
        best = self.best_model.best
        if best.is_final and self.may_end:  # the killed run had come to its end
            trainer.should_stop = True
            return
        training: Any = getattr(trainer.train_dataloader, "loader", None)
        untrained = learner.head.is_untrained and trainer.global_step == 0
        if not wants_start(learner.settings, training, is_untrained=untrained):
            return
        # Lightning loads no validation before it validates, which may be in a later epoch
        validating: Any = trainer.val_dataloaders or trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
        validation = validating.loader
        progress = trainer.progress_bar_callback is not None
        scores = start_head(
            head_in_engine(learner),
            learner.task,
            learner.settings,
            training,
            validation,
            progress=progress and trainer.is_global_zero,
        )
        self.best_model.judge(learner, scores, {"epoch": 0, "head_start": "optimum"})
        stopping = trainer.early_stopping_callback
        if stopping is not None:
            stopping.best_score = torch.tensor(scores[stopping.monitor])  # an epoch must beat the start
        if self.may_end and keep_start(best, learner, scores, self.metrics):
            trainer.should_stop = True
            for logger in trainer.loggers:
                logger.log_metrics(scores, step=0)


def head_in_engine(model: FinetuneableZoobot) -> HeadInEngine:
    """What finding the best head asks of a model."""
    linear = model.head.linear

    def set_head(weight: NDArray, bias: NDArray) -> None:
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))

    bias = linear.bias.detach().cpu().numpy().copy()
    return HeadInEngine(partial(_head_loss, model), bias, set_head, model.validate_batch)


def _head_loss(model: FinetuneableZoobot) -> HeadLoss:
    """The model's loss as a function of what its head's linear layer gives, in float64, without dropout."""
    outputs = model.head.linear.out_features
    head = copy.deepcopy(model.head).double().cpu().eval()
    head.linear = nn.Identity()  # its outputs are given
    head.linear.in_features = outputs

    def loss(given: NDArray, labels: NDArray) -> tuple[NDArray, NDArray]:
        leaf = torch.from_numpy(given).requires_grad_()
        losses = model.galaxy_losses(head(leaf), torch.from_numpy(np.asarray(labels, np.float64)))
        (slopes,) = torch.autograd.grad(losses.sum(), [leaf])
        return losses.detach().numpy(), slopes.numpy()

    return loss
