"""Encoders by their blocks: a network cut in two, and features of any block."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from zoobot.shared.architectures import VisionTransformer
from zoobot.shared.errors import ConfigError
from zoobot.shared.models.weights import choose_block
from zoobot.shared.pixels.turned import mean_of_views
from zoobot.shared.training.blocks import Block
from zoobot.tensorflow.data import network_input, turned
from zoobot.tensorflow.encoder import Encoder
from zoobot.tensorflow.families import Network
from zoobot.tensorflow.internals import maker_of
from zoobot.tensorflow.timm_names import named_layers

# A network in two parts: what is frozen below, and what learns above and can start from what below gave.


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
            maker = maker_of(entering)
            entering = None if isinstance(maker, keras.layers.InputLayer) else maker.input
    raise ConfigError(
        f"this encoder can't be cut below {block.name!r} ({reason}): set activation_views=0, which computes "
        "the frozen part in every epoch, and take the features of its top block"
    )


def _without_padding(entering: Any) -> Any:
    """What a block takes, before the zeros that its first convolution wants around it."""
    while isinstance(entering, keras.KerasTensor):
        maker = maker_of(entering)
        if not isinstance(maker, keras.layers.ZeroPadding2D):
            break
        entering = maker.input
    return entering


class BlockFeatures:
    """Features of a block, (batch, width), float32, from images, (batch, height, width, channels).

    As `zoobot.pytorch.blocks.BlockFeatures`.
    """

    def __init__(self, encoder: Encoder, block: str | int | None) -> None:
        number = choose_block(encoder.blocks, block)
        self.block = encoder.blocks[number].name
        self._model = encoder.model
        above = encoder.blocks[number + 1 :]
        self._network = cut_graph(encoder.model, above[0])[0] if above else encoder
        self._type = tf.as_dtype(encoder.model.variable_dtype)
        record = encoder.preprocessing
        self._views = record.views
        self._mean, self._std = (tf.constant(values, self._type) for values in (record.mean, record.std))
        side = record.image_size_pix
        images = tf.TensorSpec((None, side, side, record.channels), self._type)
        self._graph = tf.function(self._features, input_signature=[images])
        self.width = int(self._graph.get_concrete_function().output_shapes[1])

    def __call__(self, images: Any) -> tf.Tensor:
        """The features of a loader's images, which are uint8, or float32 in [0, 1]: means over the views."""
        return mean_of_views(self._graph, network_input(images, self._type), self._views, turned)

    def _features(self, images: tf.Tensor) -> tf.Tensor:
        pixels = (images - self._mean) / self._std
        return tf.cast(self._pool(self._network(pixels, training=False)), tf.float32)

    def _pool(self, activations: tf.Tensor) -> tf.Tensor:
        if activations.shape.rank == 4:
            return tf.reduce_mean(activations, axis=(1, 2))
        if activations.shape.rank == 3:
            spec = self._model.spec if isinstance(self._model, Network) else None
            first = 1 if isinstance(spec, VisionTransformer) else 0  # its class token
            return tf.reduce_mean(activations[:, first:], axis=1)
        if activations.shape.rank == 2:
            return activations
        msg = f"the block {self.block!r} hands on an array of shape {activations.shape}, not images or tokens"
        raise ConfigError(msg)
