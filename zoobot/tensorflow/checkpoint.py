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
    """Write a trained model to a folder that either engine reads, and return the folder.

    Args:
        model: The model.
        folder: A folder of its own; replaced whole, never half.
        training: What the checkpoint records about its training, JSON-ready.

    Raises:
        CheckpointError: If the folder can't be written, or holds other files.
    """
    return model.save(folder, training=training)


def load(folder: str | Path, *, encoder: keras.layers.Layer | None = None) -> FinetuneableZoobot:
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
