"""Save a trained PyTorch model as a neutral checkpoint, and load one that either engine wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from zoobot.pytorch import encoders, finetune, weights
from zoobot.pytorch.learner import FinetuneableZoobot
from zoobot.shared import tasks
from zoobot.shared.checkpoint import NeutralCheckpoint, read_checkpoint
from zoobot.shared.errors import CheckpointError
from zoobot.shared.preprocessing import Preprocessing

__all__ = ["load", "save"]


def save(model: FinetuneableZoobot, folder: str | Path, *, training: dict[str, Any] | None = None) -> Path:
    """Write a trained model to a folder that either engine reads, and return the folder.

    Args:
        model: The model.
        folder: A folder of its own; replaced whole, never half.
        training: What the checkpoint records about its training, JSON-ready.

    Raises:
        CheckpointError: If the folder can't be written, or holds other files.
    """
    return model.save(folder, training=training)


def load(folder: str | Path, *, encoder: nn.Module | None = None) -> FinetuneableZoobot:
    """A trained model from its checkpoint's folder, ready to predict.

    Args:
        folder: Written by `save` of either engine, or by a finetuning run (`…/checkpoint`).
        encoder: The encoder's module, where no architecture name can rebuild it; its weights are replaced by
            the checkpoint's.

    Raises:
        CheckpointError: If the folder is no checkpoint of a whole model, or is damaged.
        EncoderError: If the encoder can't be rebuilt by name.

    Example:
        >>> load("results/rings/checkpoint").task.kind  # doctest: +SKIP
        'classification'
    """
    neutral = read_checkpoint(folder)
    if neutral.task is None or neutral.head is None:
        msg = (
            f"{folder} holds an encoder without a head: it can't predict yet; "
            "finetune it by giving the folder as the model's `name`"
        )
        raise CheckpointError(msg)
    model = _build(neutral, encoder if encoder is not None else encoders.load_encoder(folder))
    weights.load_model_state(model, neutral)
    return model.eval()


def _build(neutral: NeutralCheckpoint, encoder: nn.Module) -> FinetuneableZoobot:
    task = tasks.from_config(neutral.task or {})
    common: dict[str, Any] = {
        "encoder": encoder,
        "preprocessing": Preprocessing.from_config(neutral.preprocessing or {}),
        "dropout_prob": (neutral.head or {}).get("dropout_prob", 0.0),
    }
    if isinstance(task, tasks.TreeTask):
        return finetune.FinetuneableZoobotTree(schema=task.schema, **common)
    common["label_cols"] = task.label_cols or None
    if isinstance(task, tasks.RegressionTask):
        return finetune.FinetuneableZoobotRegressor(
            num_targets=task.num_targets, unit_interval=task.unit_interval, **common
        )
    if isinstance(task, tasks.ClassificationTask):
        return finetune.FinetuneableZoobotClassifier(class_names=task.class_names, **common)
    return finetune.FinetuneableZoobotClassifier(num_classes=task.num_outputs, multi_label=True, **common)
