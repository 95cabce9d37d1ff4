"""Features of any block of an encoder: means over positions, from a loader's images."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from zoobot.shared.architectures import VisionTransformer
from zoobot.shared.errors import ConfigError
from zoobot.shared.models.block_choice import choose_block
from zoobot.shared.pixels.turned import mean_of_views
from zoobot.tensorflow.cut import cut_graph
from zoobot.tensorflow.data import network_input, turned
from zoobot.tensorflow.encoder import Encoder
from zoobot.tensorflow.families import Network

__all__ = ["BlockFeatures"]


class BlockFeatures:
    """Features of a block, (batch, width), float32, from images, (batch, height, width, channels).

    The top block's are those from which a head predicts. Of every other block they are the means, over the
    positions in the image, of what it hands to the block above; tokens without a position are left out.
    Where the encoder's record asks for several views of each image, they are means over these.

    Args:
        encoder: Where the block is.
        block: The block's name or number; None is the top.

    Attributes:
        block: The block's name.
        width: How many features there are.

    Raises:
        ConfigError: If there is no such block, or what it hands on can't be taken.
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
