"""A network in two parts: what is frozen below, and what learns above and can start from what below gave."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from zoobot.shared.errors import ConfigError
from zoobot.shared.training.blocks import Block
from zoobot.tensorflow.timm_names import named_layers

__all__ = ["Cut", "cut_graph"]


class Cut:
    """A network cut below one of its blocks; both parts share its weights.

    Args:
        model: A functional Keras model from images, (batch, height, width, channels), to features.
        block: The lowest block that learns.
        image_shape: (height, width, channels) of the images.

    Raises:
        ConfigError: If the model is no such graph of layers, or its features need more than what enters that
            block.

    Attributes:
        width: Numbers that the lower part gives for each image.
    """

    def __init__(self, model: keras.layers.Layer, block: Block, image_shape: tuple[int, int, int]) -> None:
        self._lower, self._upper = cut_graph(model, block)
        self._shape = tuple(self._lower.compute_output_shape((1, *image_shape))[1:])
        self.width = math.prod(self._shape)

    def below(self, images: tf.Tensor) -> tf.Tensor:
        """The activations that enter the upper part, (batch, width), from normalised images."""
        return tf.reshape(self._lower(images, training=False), (-1, self.width))

    def above(self, activations: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Features, (batch, features), from activations, (batch, width)."""
        return self._upper(tf.reshape(activations, (-1, *self._shape)), training=training)


def cut_graph(model: keras.layers.Layer, block: Block) -> tuple[keras.Model, keras.Model]:
    """The parts of a graph of layers below and above a block's lower end.

    Raises:
        ConfigError: If the model is no such graph, or its features need more than what enters the block.
    """
    members = set(block.parameters)
    reason = "it is no graph of Keras layers"
    if isinstance(model, keras.Model) and hasattr(model, "operations"):
        # the layers of a graph stand in the order in which they run
        first = next(layer for _, layer, variables in named_layers(model) if members & set(variables))
        entering = _without_padding(first.input)
        while isinstance(entering, keras.KerasTensor):
            try:
                return keras.Model(model.inputs, entering), keras.Model(entering, model.outputs[0])
            except ValueError as error:
                reason = str(error)
            # a shortcut may begin below the padding or norm that the block begins with
            maker = entering._keras_history.operation
            entering = None if isinstance(maker, keras.layers.InputLayer) else maker.input
    msg = (
        f"this encoder can't be cut below {block.name!r} ({reason}): set activation_views=0, which computes "
        "the frozen part in every epoch, and take the features of its top block"
    )
    raise ConfigError(msg)


def _without_padding(entering: Any) -> Any:
    """What a block takes, before the zeros that its first convolution wants around it."""
    while isinstance(entering, keras.KerasTensor):
        maker = entering._keras_history.operation
        if not isinstance(maker, keras.layers.ZeroPadding2D):
            break
        entering = maker.input
    return entering
