"""Start a head on fixed features from the best linear head there is."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import nn

from zoobot.shared.feature_loader import FeatureLoader
from zoobot.shared.head_optimum import BestHead, HeadLoss, find_best_head
from zoobot.shared.validation import ValidatedBatch, validation_scores

if TYPE_CHECKING:
    from zoobot.pytorch.learner import FinetuneableZoobot
    from zoobot.pytorch.trainer import BestModel

__all__ = ["HeadStart"]

logger = logging.getLogger("zoobot")


class HeadStart(pl.Callback):
    """Before the first step, give a new head the best weights for its features, and score them.

    Args:
        best_model: Keeps that head if no epoch beats it.
    """

    def __init__(self, best_model: BestModel) -> None:
        self.best_model = best_model

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Find the head, if this run begins, and features were cached."""
        training = getattr(trainer.train_dataloader, "loader", None)
        validation = getattr(trainer.val_dataloaders, "loader", None)
        if not (isinstance(training, FeatureLoader) and isinstance(validation, FeatureLoader)):
            return
        learner: Any = model
        if trainer.global_step or learner.settings.head_start != "optimum" or not learner.head.is_untrained:
            return
        found = find_head(learner, training, validation)
        linear = learner.head.linear
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(found.weight))
            linear.bias.copy_(torch.from_numpy(found.bias))
        scores = validation_scores(learner.task, [_validate(learner, validation)])
        logger.info(
            "The best head on fixed features (weight decay %.2g): val_loss %.4f",
            found.decay,
            scores["val_loss"],
        )
        self.best_model.judge(learner, scores, {"epoch": 0, "head_start": "optimum"})


def find_head(model: FinetuneableZoobot, training: FeatureLoader, validation: FeatureLoader) -> BestHead:
    """The best head of a model for the galaxies of its loaders."""
    start = model.head.linear.bias.detach().double().cpu().numpy()
    return find_best_head(
        _head_loss(model),
        training.labelled(),
        validation.labelled(),
        start=start,
        views=len(training.features),
        seed=model.settings.seed,
    )


def _head_loss(model: FinetuneableZoobot) -> HeadLoss:
    """The model's loss as a function of features and of its head's weights, in float64, without dropout."""
    head = copy.deepcopy(model.head).double().cpu().eval()

    def loss(
        features: NDArray, labels: NDArray, weight: NDArray, bias: NDArray
    ) -> tuple[NDArray, NDArray, NDArray]:
        head.linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        with torch.no_grad():
            head.linear.weight.copy_(torch.from_numpy(weight))
            head.linear.bias.copy_(torch.from_numpy(bias))
        raw = head(torch.from_numpy(features))
        known = torch.from_numpy(np.asarray(labels, np.float64))
        losses = model.galaxy_losses(raw, known.to(raw.dtype))
        of_weight, of_bias = torch.autograd.grad(losses.mean(), [head.linear.weight, head.linear.bias])
        return losses.detach().numpy(), of_weight.numpy(), of_bias.numpy()

    return loss


@torch.inference_mode()
def _validate(model: FinetuneableZoobot, validation: FeatureLoader) -> ValidatedBatch:
    features, labels = validation.labelled()
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    raw = model.raw_outputs(torch.from_numpy(features).to(device))
    losses = model.galaxy_losses(raw, torch.from_numpy(labels).to(device))
    model.train(was_training)
    ids = [galaxy for galaxy, known in zip(validation.catalog.ids, validation.is_known, strict=True) if known]
    arrays = [t.float().cpu().numpy() for t in (losses, model.head.to_predictions(raw))]
    return ValidatedBatch(arrays[0], arrays[1], labels, ids)
