"""Keras layers whose arithmetic is that of torch and timm, on (batch, height, width, channels)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


@tf.custom_gradient
def _gelu(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """The exact GELU; Keras's own takes its constants through float32, also for float64.

    Its slope is computed from x, where by itself TensorFlow would keep four arrays of that size for it.
    """

    def share() -> tf.Tensor:
        return 0.5 * (1.0 + tf.math.erf(x * tf.constant(math.sqrt(0.5), x.dtype)))

    def backward(upstream: tf.Tensor) -> tf.Tensor:
        density = tf.exp(-0.5 * x * x) * tf.constant(1 / math.sqrt(2 * math.pi), x.dtype)
        return upstream * (share() + x * density)

    return x * share(), backward


@tf.custom_gradient
def _gelu_tanh(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """The GELU by a hyperbolic tangent, with its slope as above."""
    scale, cubic = (tf.constant(value, x.dtype) for value in (math.sqrt(2 / math.pi), 0.044715))

    def bend() -> tf.Tensor:
        return tf.tanh(scale * (x + cubic * x**3))

    def backward(upstream: tf.Tensor) -> tf.Tensor:
        bent = bend()
        return upstream * 0.5 * (1.0 + bent + x * (1.0 - bent * bent) * scale * (1.0 + 3.0 * cubic * x * x))

    return 0.5 * x * (1.0 + bend()), backward


#: timm's name of an activation → the function.
ACTIVATIONS = {
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "silu": tf.nn.silu,
    "sigmoid": tf.nn.sigmoid,
}


class BatchNorm(keras.layers.BatchNormalization):
    """Batch norm with torch's running variance (unbiased), batch counter, and word for the momentum.

    In training it normalises by the batch's own statistics, unless it is frozen: then it is a constant.

    Args:
        epsilon: Added to variances.
        momentum: Weight of the newest batch in the running statistics.
    """

    def __init__(self, *, epsilon: float = 1e-5, momentum: float = 0.1, **options: Any) -> None:
        super().__init__(epsilon=epsilon, momentum=1 - momentum, **options)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights."""
        super().build(input_shape)
        self.num_batches_tracked = self.add_weight(
            name="num_batches_tracked", shape=(), dtype="int64", initializer="zeros", trainable=False
        )

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Normalised images or features, in the type they came."""
        learning = bool(training) and self.trainable
        # TensorFlow's fused kernel is several times faster, and knows no float64
        normalise = self._normalise_float64 if inputs.dtype == tf.float64 else self._normalise_fused
        outputs, mean, unbiased_variance = normalise(inputs, learning)
        if learning:
            self.moving_mean.assign(self._moved(self.moving_mean, mean))
            self.moving_variance.assign(self._moved(self.moving_variance, unbiased_variance))
            self.num_batches_tracked.assign_add(1)
        return outputs

    def _moved(self, running: Any, batch: tf.Tensor) -> tf.Tensor:
        return running * self.momentum + batch * (1 - self.momentum)

    def _normalise_fused(self, inputs: tf.Tensor, learning: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        empty = tf.zeros((0,), tf.float32)
        result = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=empty if learning else self.moving_mean,
            variance=empty if learning else self.moving_variance,
            epsilon=self.epsilon,
            is_training=learning,
        )
        return result.y, result.batch_mean, result.batch_variance

    def _normalise_float64(self, inputs: tf.Tensor, learning: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        mean, variance = self.moving_mean.value, self.moving_variance.value
        unbiased = variance
        if learning:
            mean, variance = tf.nn.moments(inputs, axes=(0, 1, 2))
            pixels = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), inputs.dtype)
            unbiased = variance * pixels / (pixels - 1)
        scale = self.gamma * tf.math.rsqrt(variance + self.epsilon)
        return (inputs - mean) * scale + self.beta, mean, unbiased


class DropPath(keras.layers.Dropout):
    """Stochastic depth: in training, drops a whole residual branch for some galaxies of the batch.

    Nothing is dropped where the layer is frozen (`trainable = False`).

    Args:
        rate: The chance that a branch is dropped; the others are scaled up to keep the mean.
        rank: Number of axes of what the branch gives.
    """

    def __init__(self, rate: float, *, rank: int, **options: Any) -> None:
        super().__init__(rate, noise_shape=(None, *[1] * (rank - 1)), **options)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The branch, or for some galaxies zeros."""
        return super().call(inputs, training=bool(training) and self.trainable)


class GlobalResponseNorm(keras.layers.Layer):
    """Scales each channel by its size over the whole map, relative to the other channels (ConvNeXt V2).

    References:
        Woo et al. 2023, arXiv:2301.00808.
    """

    _EPSILON = 1e-6

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights."""
        self.weight = self.add_weight(name="weight", shape=(input_shape[-1],), initializer="zeros")
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Images of the same shape."""
        exact = inputs if inputs.dtype == tf.float64 else tf.cast(inputs, tf.float32)
        squares = tf.reduce_sum(tf.square(exact), axis=(1, 2), keepdims=True)
        # a square root has no slope at 0, where a silent channel would make every gradient NaN
        alive = squares > 0
        size = tf.where(alive, tf.sqrt(tf.where(alive, squares, 1)), 0)
        relative = size / (tf.reduce_mean(size, axis=-1, keepdims=True) + self._EPSILON)
        return inputs + self.bias + self.weight * inputs * tf.cast(relative, inputs.dtype)


class BareParameter(keras.layers.Layer):
    """A layer that holds one parameter which in timm belongs to no layer; its own name is the parameter's."""


class LayerScale(BareParameter):
    """Multiplies each channel by a learned number.

    Args:
        initial: Where the numbers begin.
    """

    def __init__(self, initial: float, **options: Any) -> None:
        super().__init__(**options)
        self.initial = initial

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the parameter."""
        self.gamma = self.add_weight(
            name="gamma", shape=(input_shape[-1],), initializer=keras.initializers.Constant(self.initial)
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """What came, scaled."""
        return inputs * self.gamma


class ClassToken(BareParameter):
    """Puts a learned token before all others."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the parameter."""
        self.token = self.add_weight(
            name="cls_token",
            shape=(1, 1, input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=1e-6),
        )

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """One token more: (batch, 1 + tokens, channels)."""
        first = tf.repeat(tf.cast(self.token, tokens.dtype), tf.shape(tokens)[0], axis=0)
        return tf.concat([first, tokens], axis=1)


class PositionEmbedding(BareParameter):
    """Adds to each token a learned vector that tells where it lies."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the parameter."""
        self.positions = self.add_weight(
            name="pos_embed",
            shape=(1, *input_shape[1:]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """The tokens, each in its place."""
        return tokens + self.positions


class SelfAttention(keras.layers.Layer):
    """Softmax attention of tokens to each other, between the projections that hold its weights.

    Args:
        heads: How many attentions run side by side, each on its share of the channels.
    """

    def __init__(self, heads: int, **options: Any) -> None:
        super().__init__(**options)
        self.heads = heads

    def call(self, projected: tf.Tensor) -> tf.Tensor:
        """(batch, tokens, channels), from queries, keys and values, (batch, tokens, 3 × channels)."""
        tokens, channels = projected.shape[1], projected.shape[2] // 3
        split = tf.reshape(projected, (-1, tokens, 3, self.heads, channels // self.heads))
        queries, keys, values = tf.unstack(tf.transpose(split, (2, 0, 3, 1, 4)))
        scale = tf.constant((channels // self.heads) ** -0.5, projected.dtype)
        attention = tf.nn.softmax(tf.matmul(queries * scale, keys, transpose_b=True))
        mixed = tf.transpose(tf.matmul(attention, values), (0, 2, 1, 3))
        return tf.reshape(mixed, (-1, tokens, channels))
