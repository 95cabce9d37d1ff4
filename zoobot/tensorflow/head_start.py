"""Start a head on fixed features from the best linear head there is: TensorFlow's part of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoobot.shared.head_optimum import HeadLoss
from zoobot.shared.head_start import HeadInEngine
from zoobot.tensorflow import heads

if TYPE_CHECKING:
    from zoobot.tensorflow.learner import FinetuneableZoobot

__all__ = ["head_in_engine"]

_TARGET_STATISTICS = ("target_mean", "target_std")


def head_in_engine(model: FinetuneableZoobot) -> HeadInEngine:
    """What finding the best head asks of a model."""
    linear = model.head.linear

    def set_head(weight: NDArray, bias: NDArray) -> None:
        linear.kernel.assign(weight.T)
        linear.bias.assign(bias)

    return HeadInEngine(_head_loss(model), linear.bias.numpy(), set_head, model.validate_batch)


def _head_loss(model: FinetuneableZoobot) -> HeadLoss:
    """The model's loss as a function of its head's weights, in float64, without dropout."""
    graphs: dict[int, Callable[..., Any]] = {}

    def loss(
        features: NDArray, labels: NDArray, weight: NDArray, bias: NDArray
    ) -> tuple[NDArray, NDArray, NDArray]:
        width = weight.shape[1]
        if width not in graphs:
            graphs[width] = _make_graph(model, width)
        given = (np.asarray(array, np.float64) for array in (features, labels, weight, bias))
        losses, of_weight, of_bias = graphs[width](*given)
        return losses.numpy(), of_weight.numpy(), of_bias.numpy()

    return loss


def _make_graph(model: FinetuneableZoobot, width: int) -> Callable[..., Any]:
    """Losses and derivatives for features of one width, compiled."""
    with _in_float64():
        head: Any = heads.build_head(model.task, width, dropout_prob=0.0)
    for name in _TARGET_STATISTICS:
        if hasattr(head, name):
            getattr(head, name).assign(getattr(model.head, name).numpy())

    def compute(features: tf.Tensor, labels: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor) -> Any:
        kernel, offset = head.linear.kernel.value, head.linear.bias.value
        kernel.assign(tf.transpose(weight))
        offset.assign(bias)
        with tf.GradientTape() as tape:
            losses = model.galaxy_losses(head(features, training=False), labels)
            mean = tf.reduce_mean(losses)
        of_kernel, of_bias = tape.gradient(mean, [kernel, offset])
        return losses, tf.transpose(of_kernel), of_bias

    float64 = [
        tf.TensorSpec(shape, tf.float64) for shape in ((None, width), (None, None), (None, width), (None,))
    ]
    return tf.function(compute, input_signature=float64)


@contextmanager
def _in_float64() -> Iterator[None]:
    """Build layers in double precision for a while."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
