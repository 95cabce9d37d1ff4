"""Save a trained Keras model as a neutral checkpoint or ONNX file, and load what either engine saved."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoobot.shared.onnx.export import INPUT_NAME, OPSET, check_export, write_onnx
from zoobot.shared.pixels.first_images import with_views
from zoobot.shared.pixels.turned import turns_of
from zoobot.tensorflow.data import turned
from zoobot.tensorflow.finetune import FinetuneableZoobot

__all__ = ["export", "export_onnx", "load", "save"]


# A Keras model as an ONNX graph, from pixels to predictions.


def export_onnx(model: FinetuneableZoobot, save_loc: str | Path) -> Path:
    """Write a model to an ONNX file; see `checkpoint.export`."""
    path = check_export(save_loc, "tf2onnx")
    return write_onnx(path, model, lambda draft: _write(model, draft), lambda images: model(images).numpy())


def _write(model: FinetuneableZoobot, path: Path) -> None:
    import tf2onnx

    pixels = model.preprocessing
    turns = turns_of(pixels.views)
    shape = (None, pixels.image_size_pix, pixels.image_size_pix, pixels.channels)
    # in the model they are tensors, which a graph would have handed in; as arrays they become part of it
    mean, std = (np.array(values, np.float32) for values in (pixels.mean, pixels.std))

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name=INPUT_NAME)])
    def whole(images: tf.Tensor) -> tf.Tensor:
        # all views go through the network at once: one after the other, the graph would grow as their number
        views = tf.concat([turned(images, turn) for turn in turns], axis=0) if len(turns) > 1 else images
        features = model.encoder((views - mean) / std, training=False)
        if len(turns) > 1:
            features = tf.reduce_mean(tf.reshape(features, (len(turns), -1, features.shape[1])), axis=0)
        return model.head.to_predictions(model.head(features, training=False))

    chatter = logging.getLogger("tf2onnx")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        tf2onnx.convert.from_function(
            whole, input_signature=whole.input_signature, opset=OPSET, output_path=str(path)
        )
    finally:
        chatter.setLevel(level)


def save(model: FinetuneableZoobot, folder: str | Path, *, training: dict[str, Any] | None = None) -> Path:
    """Write a trained model to a folder that either engine reads; as `zoobot.pytorch.checkpoint.save`."""
    return model.save(folder, training=training)


def load(folder: str | Path, *, encoder: keras.layers.Layer | None = None) -> FinetuneableZoobot:
    """A trained model from its checkpoint's folder; as `zoobot.pytorch.checkpoint.load`."""
    return FinetuneableZoobot.load_from_checkpoint(folder, encoder=encoder)


def export(model: FinetuneableZoobot | str | Path, save_loc: str | Path, *, views: int | None = None) -> Path:
    """Write a trained model to one ONNX file; as `zoobot.pytorch.checkpoint.export`."""
    model = load(model) if isinstance(model, (str, Path)) else model
    with with_views(model, views):
        return export_onnx(model, save_loc)
