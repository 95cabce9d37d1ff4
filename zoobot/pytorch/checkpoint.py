"""Save a trained PyTorch model as a neutral checkpoint or ONNX file, and load what either engine saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from zoobot.pytorch import encoders, finetune, weights
from zoobot.pytorch.learner import FinetuneableZoobot
from zoobot.pytorch.onnx_graph import export_onnx
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.models.neutral import model_options, read_whole_model
from zoobot.shared.pixels.first_images import with_views

__all__ = ["export", "load", "save"]


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
        folder: Written by `save` of either engine, or by a finetuning run: its own folder, or the
            checkpoint's in it; or the name of a bundled model.
        encoder: The encoder's module, where no architecture name can rebuild it; its weights are replaced by
            the checkpoint's.

    Raises:
        CheckpointError: If the folder is no checkpoint of a whole model, or is damaged.
        EncoderError: If the encoder can't be rebuilt by name.

    Example:
        >>> load("results/rings/checkpoint").task.kind  # doctest: +SKIP
        'classification'
    """
    folder = find_checkpoint(folder)
    neutral = read_whole_model(folder)
    name, options = model_options(neutral)
    encoder = encoder if encoder is not None else encoders.load_encoder(folder)
    model: FinetuneableZoobot = getattr(finetune, name)(encoder=encoder, **options)
    weights.load_model_state(model, neutral)
    return model.eval()


def export(model: FinetuneableZoobot | str | Path, save_loc: str | Path, *, views: int | None = None) -> Path:
    """Write a trained model to one ONNX file, from pixels to predictions, and return its path.

    The graph takes images as a loader gives them, (batch, height, width, channels), as float32 in [0, 1], for
    any batch, and normalises them itself. Task, columns and preprocessing stand in the file's metadata, so
    that `predict` needs nothing else. The file is written only if it predicts what this engine does, to 1e-4
    (relative for predictions above 1).

    Args:
        model: The model, or the folder of its checkpoint.
        save_loc: A file that ends in .onnx; replaced whole, never half.
        views: In how many turned copies the graph looks at each image: 1, 2, 4 (right angles) or 8 (mirrored,
            too). None is what the model's record says.

    Raises:
        ConfigError: If the file can't be written there, or there can't be so many views.
        ExportError: If the network can't be converted, or would predict other numbers.
        MissingPackageError: If a package that this takes is not installed.

    Example:
        >>> export("results/rings/checkpoint", "rings.onnx")  # doctest: +SKIP
    """
    model = load(model) if isinstance(model, (str, Path)) else model
    with with_views(model, views):
        return export_onnx(model, save_loc)
