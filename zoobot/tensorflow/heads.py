"""Heads: dropout and one linear layer that turn an encoder's features into what a task predicts.

All is as told in `zoobot.pytorch.heads`, but that a head is called for the raw outputs that the loss takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from zoobot.shared import defaults
from zoobot.shared.tasks import Task
from zoobot.shared.training import heads as recipes
from zoobot.shared.training.heads import check_features_shape
from zoobot.tensorflow.families.keras_settings import made_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ClassificationHead", "DirichletHead", "MultiLabelHead", "RegressionHead", "build_head"]


class _Head(recipes.Head, keras.layers.Layer):
    """Dropout, then one linear layer whose weights begin at zero; never in half precision."""

    def __init__(self, num_features: int, num_outputs: int, dropout_prob: float) -> None:
        # log-gamma and softmax lose too many digits in half precision
        dtype = made_in()
        super().__init__(num_features, num_outputs, dropout_prob, dtype=dtype)
        self.dropout = keras.layers.Dropout(dropout_prob, dtype=dtype)
        self.linear = keras.layers.Dense(num_outputs, kernel_initializer="zeros", name="linear", dtype=dtype)
        self.linear.build((None, num_features))
        self.built = True

    def __call__(self, features: tf.Tensor, **options: Any) -> tf.Tensor:
        """What `call` gives, for features whose shape is checked first."""
        check_features_shape(tuple(features.shape), self.num_features)
        return super().__call__(features, **options)

    @property
    def is_untrained(self) -> bool:
        """Whether the weights are still all zero."""
        return not self.linear.kernel.value.numpy().any()

    def _linear_outputs(self, features: tf.Tensor, training: bool | None) -> tf.Tensor:
        return self.linear(self.dropout(features, training=training))

    def _keep(self, name: str, size: int, value: float) -> None:
        start = keras.initializers.Constant(value)
        setattr(self, name, self.add_weight(name=name, shape=(size,), initializer=start, trainable=False))

    def _set(self, kept: keras.Variable, values: NDArray[np.float64]) -> None:
        kept.assign(values)

    def _get(self, kept: keras.Variable) -> NDArray[np.float64]:
        return kept.numpy().astype(np.float64)


class ClassificationHead(recipes.ClassificationHead, _Head):
    """One of several classes: logits for the loss, probabilities that add up to 1 as predictions.

    All is as told in `zoobot.shared.training.heads.ClassificationHead`.

    Example:
        >>> head = ClassificationHead(1280, 4)
        >>> head.to_predictions(head(tf.random.normal((2, 1280))))[0].numpy().tolist()
        [0.25, 0.25, 0.25, 0.25]
    """

    def call(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Logits, (batch, classes), from features, (batch, features)."""
        return self._linear_outputs(features, training)

    def to_predictions(self, raw: tf.Tensor) -> tf.Tensor:
        """Probabilities, (batch, classes), from logits."""
        return tf.nn.softmax(raw * self.calibration)


class MultiLabelHead(recipes.MultiLabelHead, _Head):
    """Any number of yes/no labels: logits for the loss, each label's probability as predictions.

    All is as told in `zoobot.shared.training.heads.MultiLabelHead`.

    Example:
        >>> head = MultiLabelHead(1280, 2)
        >>> head.to_predictions(head(tf.random.normal((1, 1280)))).numpy().tolist()
        [[0.5, 0.5]]
    """

    def call(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Logits, (batch, labels), from features, (batch, features)."""
        return self._linear_outputs(features, training)

    def to_predictions(self, raw: tf.Tensor) -> tf.Tensor:
        """Probabilities, (batch, labels), from logits."""
        return tf.sigmoid(raw * self.calibration)


class RegressionHead(recipes.RegressionHead, _Head):
    """One or many numbers: standardised for the loss, in the targets' own units as predictions.

    All is as told in `zoobot.shared.training.heads.RegressionHead`.

    Example:
        >>> head = RegressionHead(1280, 1)
        >>> head.set_target_statistics([20.0], [4.0])
        >>> head.standardise(tf.constant([[24.0]])).numpy().item()
        1.0
        >>> head.to_predictions(head(tf.random.normal((1, 1280)))).numpy().item()  # untrained: the mean
        20.0
    """

    def standardise(self, targets: tf.Tensor) -> tf.Tensor:
        """Targets, (batch, targets), in the units of the raw outputs; NaN stays NaN."""
        targets = tf.convert_to_tensor(targets)
        mean, std = (tf.cast(v, targets.dtype) for v in (self.target_mean, self.target_std))
        return (targets - mean) / std

    def call(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Standardised values, (batch, targets), from features, (batch, features)."""
        values = self._linear_outputs(features, training)
        if not self.unit_interval:
            return values
        # Begin at the mean target, whose logit is finite only inside the interval.
        margin = defaults.UNIT_INTERVAL_MARGIN
        share = tf.clip_by_value(tf.convert_to_tensor(self.target_mean), margin, 1 - margin)
        return self.standardise(tf.sigmoid(values + tf.math.log(share / (1 - share))))

    def to_predictions(self, raw: tf.Tensor) -> tf.Tensor:
        """Values in the targets' units, (batch, targets), from standardised ones."""
        values = raw * self.target_std + self.target_mean
        return tf.clip_by_value(values, 0, 1) if self.unit_interval else values


class DirichletHead(recipes.DirichletHead, _Head):
    """The answers of a decision tree: the concentrations of one Dirichlet distribution for each question.

    All is as told in `zoobot.shared.training.heads.DirichletHead`.

    Example:
        >>> np.unique(DirichletHead(1280, 34)(tf.random.normal((2, 1280)))).tolist()
        [51.0]
    """

    def call(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Concentrations, (batch, answers), from features, (batch, features)."""
        share = tf.sigmoid(self._linear_outputs(features, training))
        return defaults.CONCENTRATION_MIN + defaults.CONCENTRATION_RANGE * share

    def to_predictions(self, raw: tf.Tensor) -> tf.Tensor:
        """The calibrated concentrations, (batch, answers)."""
        return raw * self.calibration


def build_head(
    task: Task, num_features: int, *, dropout_prob: float = defaults.DROPOUT_PROB
) -> ClassificationHead | MultiLabelHead | RegressionHead | DirichletHead:
    """The untrained head that predicts what a task asks for, as `zoobot.pytorch.heads` tells.

    Example:
        >>> from zoobot.shared.tasks import RegressionTask
        >>> type(build_head(RegressionTask(num_targets=2), 1280)).__name__
        'RegressionHead'
    """
    heads = (ClassificationHead, MultiLabelHead, RegressionHead, DirichletHead)
    return recipes.make_head(heads, task, num_features, dropout_prob)
