"""Heads: dropout and one linear layer that turn an encoder's features into what a task predicts.

Each head answers twice. To call it gives the raw outputs that the loss takes; `to_predictions` turns these
into what a user reads. Weights and biases begin at zero: one linear layer has no symmetry to break, training
starts from the prior (even odds, the mean target, the middle concentration) without a random layer's noise
running back into a pretrained encoder, and both engines start from the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from zoobot.shared import defaults
from zoobot.shared.tasks import Task
from zoobot.shared.training.checks import (
    check_features_shape,
    check_head,
    checked_calibration,
    checked_target_statistics,
    prior_logits,
)
from zoobot.tensorflow.keras_settings import made_in

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["ClassificationHead", "DirichletHead", "MultiLabelHead", "RegressionHead", "build_head"]


class _Head(keras.layers.Layer):
    """Dropout, then one linear layer whose weights begin at zero; never in half precision."""

    def __init__(self, num_features: int, num_outputs: int, dropout_prob: float) -> None:
        check_head(num_features, num_outputs, dropout_prob)
        # log-gamma and softmax lose too many digits in half precision
        dtype = made_in()
        super().__init__(dtype=dtype)
        self.num_features = num_features
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


class _CalibratedHead(_Head):
    """A head whose predictions are made of its raw outputs times factors, which are not trained."""

    def __init__(self, num_features: int, num_outputs: int, dropout_prob: float, num_factors: int) -> None:
        super().__init__(num_features, num_outputs, dropout_prob)
        self.calibration = self.add_weight(
            name="calibration", shape=(num_factors,), initializer="ones", trainable=False
        )

    def set_calibration(self, factors: ArrayLike) -> None:
        """Multiply what predictions are made of by these factors from now on, (factors,).

        `zoobot.certainty.calibration` finds those of a tree, one for each answer;
        `zoobot.certainty.temperature` the one of all classes, and those of labels, one for each.

        Raises:
            LabelError: If there are not so many finite numbers above 0.
        """
        self.calibration.assign(checked_calibration(factors, self.calibration.shape[0]))

    def get_calibration(self) -> NDArray[np.float64]:
        """The factors, (factors,)."""
        return self.calibration.numpy().astype(np.float64)


class ClassificationHead(_CalibratedHead):
    """One of several classes: logits for the loss, probabilities that add up to 1 as predictions.

    Predictions are made of the logits times `calibration`, one factor, which is 1 until it is set, is not
    trained, and is saved with the weights.

    Args:
        num_features: Length of the encoder's feature vector.
        num_classes: How many classes.
        dropout_prob: Chance that a feature is dropped while training, in [0, 1).

    Raises:
        ConfigError: If a size or the chance can't work.

    Example:
        >>> head = ClassificationHead(1280, 4)
        >>> head.to_predictions(head(tf.random.normal((2, 1280))))[0].numpy().tolist()
        [0.25, 0.25, 0.25, 0.25]
    """

    def __init__(
        self, num_features: int, num_classes: int, *, dropout_prob: float = defaults.DROPOUT_PROB
    ) -> None:
        super().__init__(num_features, num_classes, dropout_prob, num_factors=1)

    def call(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Logits, (batch, classes), from features, (batch, features)."""
        return self._linear_outputs(features, training)

    def to_predictions(self, raw: tf.Tensor) -> tf.Tensor:
        """Probabilities, (batch, classes), from logits."""
        return tf.nn.softmax(raw * self.calibration)


class MultiLabelHead(_CalibratedHead):
    """Any number of yes/no labels: logits for the loss, each label's probability as predictions.

    Predictions are made of the logits times `calibration`, a factor for each label, as for classes.

    Args:
        num_features: Length of the encoder's feature vector.
        num_labels: How many labels.
        dropout_prob: Chance that a feature is dropped while training, in [0, 1).

    Raises:
        ConfigError: If a size or the chance can't work.

    Example:
        >>> head = MultiLabelHead(1280, 2)
        >>> head.to_predictions(head(tf.random.normal((1, 1280)))).numpy().tolist()
        [[0.5, 0.5]]
    """

    def __init__(
        self, num_features: int, num_labels: int, *, dropout_prob: float = defaults.DROPOUT_PROB
    ) -> None:
        super().__init__(num_features, num_labels, dropout_prob, num_factors=num_labels)

    def call(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Logits, (batch, labels), from features, (batch, features)."""
        return self._linear_outputs(features, training)

    def to_predictions(self, raw: tf.Tensor) -> tf.Tensor:
        """Probabilities, (batch, labels), from logits."""
        return tf.sigmoid(raw * self.calibration)


class RegressionHead(_Head):
    """One or many numbers: standardised for the loss, in the targets' own units as predictions.

    Standardised means less the mean of the training targets and divided by their standard deviation, so that
    one learning rate suits targets of any size. Both are kept with the weights, and are not trained.

    Args:
        num_features: Length of the encoder's feature vector.
        num_targets: How many numbers.
        dropout_prob: Chance that a feature is dropped while training, in [0, 1).
        unit_interval: Whether predictions must lie in [0, 1].

    Raises:
        ConfigError: If a size or the chance can't work.

    Example:
        >>> head = RegressionHead(1280, 1)
        >>> head.set_target_statistics([20.0], [4.0])
        >>> head.standardise(tf.constant([[24.0]])).numpy().item()
        1.0
        >>> head.to_predictions(head(tf.random.normal((1, 1280)))).numpy().item()  # untrained: the mean
        20.0
    """

    def __init__(
        self,
        num_features: int,
        num_targets: int,
        *,
        dropout_prob: float = defaults.DROPOUT_PROB,
        unit_interval: bool = False,
    ) -> None:
        super().__init__(num_features, num_targets, dropout_prob)
        self.unit_interval = unit_interval
        start = keras.initializers.Constant(0.5 if unit_interval else 0.0)
        self.target_mean = self.add_weight(
            name="target_mean", shape=(num_targets,), initializer=start, trainable=False
        )
        self.target_std = self.add_weight(
            name="target_std", shape=(num_targets,), initializer="ones", trainable=False
        )

    def set_target_statistics(self, mean: ArrayLike, std: ArrayLike) -> None:
        """Take the mean and the standard deviation of the training targets, (targets,) each, in their units.

        Raises:
            LabelError: If there is not one finite number for each target, or a deviation is not above 0.
        """
        mean, std = checked_target_statistics(mean, std, self.linear.units)
        self.target_mean.assign(np.asarray(mean))
        self.target_std.assign(np.asarray(std))

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


class DirichletHead(_CalibratedHead):
    """The answers of a decision tree: the concentrations of one Dirichlet distribution for each question.

    Concentrations lie between 1 (any vote fractions are as likely) and 101 (volunteers surely agree on them).
    Predictions are these times `calibration`, which is 1 until it is set, is not trained, and is saved with
    the weights: how sure a network is, and how sure it may be, are learned from different galaxies.

    Args:
        num_features: Length of the encoder's feature vector.
        num_answers: How many answers, over all questions.
        dropout_prob: Chance that a feature is dropped while training, in [0, 1).

    Raises:
        ConfigError: If a size or the chance can't work.

    Example:
        >>> np.unique(DirichletHead(1280, 34)(tf.random.normal((2, 1280)))).tolist()
        [51.0]

    References:
        Walmsley et al. 2022, MNRAS 509, 3966.
    """

    def __init__(
        self, num_features: int, num_answers: int, *, dropout_prob: float = defaults.DROPOUT_PROB
    ) -> None:
        super().__init__(num_features, num_answers, dropout_prob, num_factors=num_answers)

    def call(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Concentrations, (batch, answers), from features, (batch, features)."""
        share = tf.sigmoid(self._linear_outputs(features, training))
        return defaults.CONCENTRATION_MIN + defaults.CONCENTRATION_RANGE * share

    def set_prior(self, concentrations: ArrayLike) -> None:
        """Predict these concentrations, (answers,), for every galaxy until something is learned.

        Raises:
            LabelError: If there is not one for each answer, between 1 and 101.
        """
        self.linear.bias.assign(prior_logits(concentrations, self.linear.units))

    def to_predictions(self, raw: tf.Tensor) -> tf.Tensor:
        """The calibrated concentrations, (batch, answers)."""
        return raw * self.calibration


def build_head(
    task: Task, num_features: int, *, dropout_prob: float = defaults.DROPOUT_PROB
) -> ClassificationHead | MultiLabelHead | RegressionHead | DirichletHead:
    """The untrained head that predicts what a task asks for.

    Args:
        task: What the model learns.
        num_features: Length of the encoder's feature vector.
        dropout_prob: Chance that a feature is dropped while training, in [0, 1).

    Raises:
        ConfigError: If a size or the chance can't work.

    Example:
        >>> from zoobot.shared.tasks import RegressionTask
        >>> type(build_head(RegressionTask(num_targets=2), 1280)).__name__
        'RegressionHead'
    """
    known = (ClassificationHead, MultiLabelHead, RegressionHead, DirichletHead)
    (head,) = (each for each in known if each.__name__ == task.head)
    return head(num_features, task.num_outputs, dropout_prob=dropout_prob, **task.head_options)
