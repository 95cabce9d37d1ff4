"""A PyTorch model as an ONNX graph, from pixels to predictions."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from zoobot.pytorch.data import turned
from zoobot.shared.onnx.export import INPUT_NAME, OPSET, OUTPUT_NAME, check_export, write_onnx
from zoobot.shared.pixels.turned import turns_of

if TYPE_CHECKING:
    from zoobot.pytorch.learner import FinetuneableZoobot

__all__ = ["export_onnx"]


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
