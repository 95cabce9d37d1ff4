"""Losses on TensorFlow tensors, one value for each galaxy (and label, target or question), never reduced.

Whoever trains takes the mean; whoever looks for strange galaxies looks at the values. A missing label is NaN
and contributes exactly 0 to the loss and to its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from zoobot.shared import defaults
from zoobot.shared.training.loss_checks import (
    check_class_labels,
    check_class_weights_shape,
    check_classification_options,
    check_regression_options,
    check_same_shape,
)
from zoobot.tensorflow.dirichlet_multinomial import dirichlet_multinomial_nll
from zoobot.tensorflow.shapes import known_shapes

__all__ = ["classification_loss", "dirichlet_multinomial_nll", "multilabel_loss", "regression_loss"]


def classification_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    kind: str = "cross_entropy",
    label_smoothing: float = defaults.LABEL_SMOOTHING,
    class_weights: Sequence[float] | tf.Tensor | None = None,
    focal_gamma: float = defaults.FOCAL_GAMMA,
) -> tf.Tensor:
    """How badly the logits foretell each galaxy's class, in nats: (batch,).

    The formulas are told in `zoobot.pytorch.losses.classification_loss`.

    Args:
        logits: (batch, classes), any real numbers; their softmax is p.
        labels: The number of each galaxy's class, from 0, (batch,), of an integer type.
        kind: "cross_entropy" or "focal".
        label_smoothing: The part of t that is spread evenly over all classes, in [0, 1).
        class_weights: w, above 0, one for each class; None weighs all alike.
        focal_gamma: How much less the easy galaxies count; 0 is the cross-entropy.

    Raises:
        ConfigError: If an option can't work.
        LabelError: If the shapes do not fit, or the labels are not of an integer type.

    Example:
        >>> loss = classification_loss(tf.constant([[0.0, 0.0]]), tf.constant([1]))
        >>> bool(abs(loss - tf.math.log([2.0])) < 1e-6)
        True
    """
    check_class_labels(*known_shapes(logits, labels), is_integer=labels.dtype.is_integer)
    weights = _checked_weights(logits, kind, label_smoothing, class_weights, focal_gamma)
    log_p = tf.nn.log_softmax(_at_least_float32(logits))
    num_classes = logits.shape[1]
    targets = tf.one_hot(labels, num_classes, dtype=log_p.dtype)
    terms = -((1 - label_smoothing) * targets + label_smoothing / num_classes) * log_p
    if kind == "focal":
        # Away from 0, where a power below 1 has no derivative.
        not_p = tf.maximum(-tf.math.expm1(log_p), np.finfo(log_p.dtype.as_numpy_dtype).eps)
        terms *= not_p**focal_gamma
    return tf.reduce_sum(terms if weights is None else terms * weights, axis=1)


def multilabel_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    kind: str = "cross_entropy",
    label_smoothing: float = defaults.LABEL_SMOOTHING,
    class_weights: Sequence[float] | tf.Tensor | None = None,
    focal_gamma: float = defaults.FOCAL_GAMMA,
) -> tf.Tensor:
    """How badly the logits foretell each yes/no label, in nats: (batch, labels), 0 where a label is missing.

    The formulas are told in `zoobot.pytorch.losses.multilabel_loss`.

    Args:
        logits: (batch, labels), any real numbers; their sigmoid is p.
        labels: 1, 0, or NaN where missing, (batch, labels).
        kind: "cross_entropy" or "focal".
        label_smoothing: Moves t from 0 and 1 towards one half by half of this, in [0, 1).
        class_weights: w, above 0, one for each label: how much more its yes counts than its no.
        focal_gamma: How much less the easy galaxies count; 0 is the cross-entropy.

    Raises:
        ConfigError: If an option can't work.
        LabelError: If the shapes do not fit.

    Example:
        >>> multilabel_loss(tf.zeros((1, 2)), tf.constant([[1.0, float("nan")]])).numpy().round(3).tolist()
        [[0.6930000185966492, 0.0]]
    """
    check_same_shape(*known_shapes(logits, labels))
    weights = _checked_weights(logits, kind, label_smoothing, class_weights, focal_gamma)
    logits = _at_least_float32(logits)
    known = ~tf.math.is_nan(labels)
    targets = tf.cast(tf.where(known, labels, tf.zeros_like(labels)), logits.dtype)
    targets = (1 - label_smoothing) * targets + 0.5 * label_smoothing
    log_yes, log_no = tf.math.log_sigmoid(logits), tf.math.log_sigmoid(-logits)
    of_yes, of_no = -targets * log_yes, -(1 - targets) * log_no
    if kind == "focal":
        of_yes *= tf.exp(focal_gamma * log_no)
        of_no *= tf.exp(focal_gamma * log_yes)
    if weights is not None:
        of_yes *= weights
    return tf.where(known, of_yes + of_no, tf.zeros_like(logits))


def regression_loss(
    predictions: tf.Tensor,
    targets: tf.Tensor,
    *,
    kind: str = "mse",
    huber_delta: float = defaults.HUBER_DELTA,
) -> tf.Tensor:
    """How far each prediction is from its target: (batch, targets), 0 where a target is missing.

    Args:
        predictions: (batch, targets).
        targets: In the same units, NaN where missing, (batch, targets).
        kind: "mse" for the squared error e², "mae" for |e|, "huber" for e²/2 where |e| is below `huber_delta`
            and huber_delta (|e| − huber_delta/2) beyond.
        huber_delta: Where Huber's loss turns from a parabola to a line, above 0, in the units of the targets.

    Raises:
        ConfigError: If an option can't work.
        LabelError: If the shapes differ.

    Example:
        >>> regression_loss(tf.constant([[3.0, 3.0]]), tf.constant([[1.0, float("nan")]])).numpy().tolist()
        [[4.0, 0.0]]
    """
    check_same_shape(*known_shapes(predictions, targets))
    check_regression_options(kind, huber_delta)
    predictions = _at_least_float32(predictions)
    known = ~tf.math.is_nan(targets)
    error = predictions - tf.cast(tf.where(known, targets, tf.zeros_like(targets)), predictions.dtype)
    if kind == "mse":
        loss = tf.square(error)
    elif kind == "mae":
        loss = tf.abs(error)
    else:
        size = tf.abs(error)
        loss = tf.where(size < huber_delta, 0.5 * tf.square(error), huber_delta * (size - 0.5 * huber_delta))
    return tf.where(known, loss, tf.zeros_like(loss))


def _checked_weights(
    logits: tf.Tensor,
    kind: str,
    label_smoothing: float,
    class_weights: Sequence[float] | tf.Tensor | None,
    focal_gamma: float,
) -> tf.Tensor | None:
    """The class weights as a tensor, once all options are found to be possible.

    The values of weights that are a tensor already are not looked at: a graph has none while it is made.
    """
    num_classes = logits.shape[1]
    numbers = None if tf.is_tensor(class_weights) else class_weights
    check_classification_options(kind, num_classes, label_smoothing, numbers, focal_gamma)
    if class_weights is None:
        return None
    dtype = _at_least_float32(logits).dtype
    weights = tf.cast(class_weights, dtype) if tf.is_tensor(class_weights) else tf.constant(numbers, dtype)
    check_class_weights_shape(tuple(weights.shape), num_classes)
    return weights


def _at_least_float32(values: tf.Tensor) -> tf.Tensor:
    """The values, lengthened if they are in half precision, where logarithms lose too much."""
    return values if values.dtype in (tf.float32, tf.float64) else tf.cast(values, tf.float32)
