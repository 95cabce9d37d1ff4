"""Start a head on fixed features from the best linear head there is: TensorFlow's part of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from zoobot.shared.training.head_optimum import HeadLoss
from zoobot.shared.training.head_start import HeadInEngine
from zoobot.tensorflow import heads
from zoobot.tensorflow.keras_settings import making_in, stated

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

    return HeadInEngine(partial(_head_loss, model), linear.bias.numpy(), set_head, model.validate_batch)


def _head_loss(model: FinetuneableZoobot) -> HeadLoss:
    """The model's loss as a function of what its head's linear layer gives, in float64, without dropout."""
    outputs = model.head.linear.units
    with making_in("float64"), stated():
        head: Any = heads.build_head(model.task, outputs, dropout_prob=0.0)
        # its outputs are given, and of a product in float64 TensorFlow warns
        head.linear = keras.layers.Identity()
    for name in _TARGET_STATISTICS:
        if hasattr(head, name):
            getattr(head, name).assign(getattr(model.head, name).numpy())

    @tf.function(
        input_signature=[tf.TensorSpec((None, outputs), tf.float64), tf.TensorSpec((None, None), tf.float64)]
    )
    def compute(given: tf.Tensor, labels: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(given)
            losses = model.galaxy_losses(head(given, training=False), labels)
        return losses, tape.gradient(losses, given)

    def loss(given: NDArray, labels: NDArray) -> tuple[NDArray, NDArray]:
        losses, slopes = compute(tf.constant(given), tf.constant(labels, tf.float64))
        return losses.numpy(), slopes.numpy()

    return loss
