"""Losses on TensorFlow tensors, one value for each galaxy (and label, target or question), never reduced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from zoobot.shared import defaults
from zoobot.shared.likelihood import answer_question_index
from zoobot.shared.training.heads import (
    check_class_labels,
    check_class_weights_shape,
    check_classification_options,
    check_regression_options,
    check_same_shape,
    check_votes_shape,
)

__all__ = ["classification_loss", "dirichlet_multinomial_nll", "multilabel_loss", "regression_loss"]


# The shapes of tensors as far as they are known while a graph is made.


def _known_shapes(*tensors: Any) -> list[tuple[Any, ...]]:
    """The shape of each tensor; a size that only running will tell is taken to be that of the others.

    Example:
        >>> import tensorflow as tf
        >>> _known_shapes(tf.zeros((2, 3)), tf.zeros(2))
        [(2, 3), (2,)]
    """
    shapes = [tuple(tensor.shape) for tensor in tensors]
    return [tuple(_size(shape, axis, shapes) for axis in range(len(shape))) for shape in shapes]


def _size(shape: tuple[Any, ...], axis: int, shapes: list[tuple[Any, ...]]) -> Any:
    if shape[axis] is not None:
        return shape[axis]
    return next((other[axis] for other in shapes if axis < len(other) and other[axis] is not None), None)


def dirichlet_multinomial_nll(
    concentrations: tf.Tensor, votes: tf.Tensor, question_slices: Sequence[slice]
) -> tf.Tensor:
    """Negative log-likelihood of the votes for each question, in nats: (batch, questions).

    All is as told in `zoobot.pytorch.losses`; in a graph it is at home, and XLA compiles it where there is a
    GPU.

    Example:
        >>> votes = tf.constant([[3.0, 1.0]])
        >>> uniform = dirichlet_multinomial_nll(tf.ones((1, 2)), votes, [slice(0, 2)])
        >>> bool(np.isclose(uniform, np.log(5)))  # five splits of four votes, all as likely
        True
    """
    question = _question_of_answer(tuple((part.start, part.stop, part.step) for part in question_slices))
    concentrations, votes = tf.convert_to_tensor(concentrations), tf.convert_to_tensor(votes)
    shapes = _known_shapes(concentrations, votes)
    check_votes_shape(shapes[0], shapes[1], len(question))
    dtype = concentrations.dtype if concentrations.dtype in (tf.float32, tf.float64) else tf.float32
    counts = tf.where(votes > 0, votes, tf.zeros_like(votes))
    loss_of = _dense_loss if _has_gpu() else _voted_loss
    loss = loss_of(
        tf.cast(concentrations, tf.float64),
        tf.cast(counts, tf.float64),
        question,
        len(question_slices),
    )
    return tf.cast(loss, dtype)


def _voted_loss(
    concentrations: tf.Tensor, votes: tf.Tensor, question: np.ndarray, num_questions: int
) -> tf.Tensor:
    """The loss from the entries that have votes; finding them is cheap on a CPU and a stall on a GPU.

    The derivative is written out (v' is a difference of digammas), which spares TensorFlow the way back
    through gathers and sums.
    """
    batch_size = tf.shape(votes, tf.int64)[0]
    num_cells = batch_size * num_questions
    cell = tf.reshape(tf.range(batch_size)[:, None] * num_questions + question, [-1])
    flat_votes = tf.reshape(votes, [-1])
    voted = tf.where(flat_votes > 0)[:, 0]
    cell_of_voted = tf.gather(cell, voted)
    counts = tf.gather(flat_votes, voted)
    totals = tf.math.unsorted_segment_sum(counts, cell_of_voted, num_cells)
    asked = tf.where(totals > 0)[:, 0]
    c = tf.concat((counts, tf.gather(totals, asked)), axis=0)
    sizes = (tf.size(voted), tf.size(asked))

    @tf.custom_gradient
    def loss_of(concentrations: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        flat = tf.reshape(concentrations, [-1])
        sums = tf.math.unsorted_segment_sum(flat, cell, num_cells)
        x = tf.concat((tf.gather(flat, voted), tf.gather(sums, asked)), axis=0)
        of_answers, of_questions = tf.split(_log_coefficient(x, c), sizes)
        loss = tf.math.unsorted_segment_sum(of_questions, asked, num_cells)
        loss -= tf.math.unsorted_segment_sum(of_answers, cell_of_voted, num_cells)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            upstream = tf.reshape(upstream, [-1])
            slope = tf.math.digamma(x + c) - tf.math.digamma(x)
            of_answers, of_questions = tf.split(slope, sizes)
            by_question = tf.math.unsorted_segment_sum(
                of_questions * tf.gather(upstream, asked), asked, num_cells
            )
            by_answer = tf.math.unsorted_segment_sum(
                of_answers * tf.gather(upstream, cell_of_voted), voted, tf.size(flat)
            )
            return tf.reshape(tf.gather(by_question, cell) - by_answer, tf.shape(concentrations))

        return tf.reshape(loss, (batch_size, num_questions)), gradient

    return loss_of(concentrations)


def _dense_loss(
    concentrations: tf.Tensor, votes: tf.Tensor, question: np.ndarray, num_questions: int
) -> tf.Tensor:
    """The same loss with every entry computed, so that the shapes do not depend on the votes."""
    membership = tf.one_hot(question, num_questions, dtype=concentrations.dtype)
    of_questions = _log_coefficient(concentrations @ membership, votes @ membership)
    return of_questions - _log_coefficient(concentrations, votes) @ membership


def _log_coefficient(x: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
    """v(x, c) of `zoobot.pytorch.losses`."""
    return tf.math.lgamma(x + c) - tf.math.lgamma(x) - tf.math.lgamma(c + 1)


@lru_cache(maxsize=32)
def _question_of_answer(tiles: tuple[tuple[int, int, int | None], ...]) -> np.ndarray:
    """The question of each answer, (answers,)."""
    return answer_question_index([slice(*tile) for tile in tiles])


@lru_cache(maxsize=1)
def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


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

    All is as told in `zoobot.pytorch.losses`.

    Example:
        >>> loss = classification_loss(tf.constant([[0.0, 0.0]]), tf.constant([1]))
        >>> bool(abs(loss - tf.math.log([2.0])) < 1e-6)
        True
    """
    check_class_labels(*_known_shapes(logits, labels), is_integer=labels.dtype.is_integer)
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

    All is as told in `zoobot.pytorch.losses`.

    Example:
        >>> multilabel_loss(tf.zeros((1, 2)), tf.constant([[1.0, float("nan")]])).numpy().round(3).tolist()
        [[0.6930000185966492, 0.0]]
    """
    check_same_shape(*_known_shapes(logits, labels))
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

    All is as told in `zoobot.pytorch.losses`.

    Example:
        >>> regression_loss(tf.constant([[3.0, 3.0]]), tf.constant([[1.0, float("nan")]])).numpy().tolist()
        [[4.0, 0.0]]
    """
    check_same_shape(*_known_shapes(predictions, targets))
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
