"""Save a trained PyTorch model as a neutral checkpoint or ONNX file, and load what either engine saved."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoobot.pytorch.data import turned
from zoobot.pytorch.finetune import FinetuneableZoobot
from zoobot.shared.onnx.export import INPUT_NAME, OPSET, OUTPUT_NAME, check_export, write_onnx
from zoobot.shared.pixels.first_images import with_views
from zoobot.shared.pixels.turned import turns_of

__all__ = ["export", "export_onnx", "load", "save"]


# A PyTorch model as an ONNX graph, from pixels to predictions.


def export_onnx(model: FinetuneableZoobot, save_loc: str | Path) -> Path:
    """Write a model to an ONNX file; see `checkpoint.export`."""
    path = check_export(save_loc, "onnxscript")
    home, was_training = next(model.parameters()).device, model.training
    whole = _FromPixels(model.cpu().eval())
    try:
        return write_onnx(path, model, whole.write, whole.predict)
    finally:
        model.to(home).train(was_training)


class _FromPixels(nn.Module):
    """The model with a loader's order of axes."""

    def __init__(self, model: FinetuneableZoobot) -> None:
        super().__init__()
        self.model = model.eval()

    def forward(self, images: Tensor) -> Tensor:
        # all views go through the network at once: one after the other, the graph would grow as their number
        turns = turns_of(self.model.preprocessing.views)
        views = torch.cat([turned(images, turn) for turn in turns]) if len(turns) > 1 else images
        features = self.model.features_of_view(views.permute(0, 3, 1, 2))
        if len(turns) > 1:
            features = features.unflatten(0, (len(turns), -1)).mean(dim=0)
        predictions: Tensor = self.model.head.to_predictions(self.model.head(features))
        return predictions

    @torch.inference_mode()
    def predict(self, images: np.ndarray) -> np.ndarray:
        return self(torch.from_numpy(images)).numpy()

    def write(self, path: Path) -> None:
        pixels = self.model.preprocessing
        size, channels = pixels.image_size_pix, pixels.channels
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # on what torch itself will change in its exporter
            torch.onnx.export(
                self.eval(),
                (torch.rand(2, size, size, channels),),
                path,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                verbose=False,
            )


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
    return FinetuneableZoobot.load_from_checkpoint(folder, encoder=encoder)


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
