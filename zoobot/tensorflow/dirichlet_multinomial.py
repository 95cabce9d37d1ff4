"""The Dirichlet-multinomial loss of volunteers' votes, for all questions at once.

Written with one function, the log of a generalised binomial coefficient,

    v(x, c) = ln C(x + c − 1, c) = lnΓ(x + c) − lnΓ(x) − lnΓ(c + 1),    v(x, 0) = 0,

a question with concentrations a (sum A) and votes k (sum N) has the loss v(A, N) − Σ v(a, k).
Answers without votes and questions nobody was asked add nothing, so only the others need log-gamma: a tenth
of the table in a survey of many campaigns. The reference is `zoobot.shared.likelihood`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import tensorflow as tf

from zoobot.shared.likelihood import answer_question_index
from zoobot.shared.training.loss_checks import check_votes_shape
from zoobot.tensorflow.shapes import known_shapes

__all__ = ["dirichlet_multinomial_nll"]


def dirichlet_multinomial_nll(
    concentrations: tf.Tensor, votes: tf.Tensor, question_slices: Sequence[slice]
) -> tf.Tensor:
    """Negative log-likelihood of the votes for each question, in nats: (batch, questions).

    The sums are taken in float64, since differences of log-gamma lose digits in float32 as votes grow. The
    values of the votes are not checked: `zoobot.shared.votes.check_votes` does that once, before training.
    In a graph it is at home; XLA compiles it where there is a GPU.

    Args:
        concentrations: Dirichlet concentrations, above 0, (batch, answers), of any floating type.
        votes: Votes for each answer, whole or weighted, (batch, answers). A question whose votes are all 0 or
            NaN was not asked: it contributes exactly 0, to the loss and to its gradient.
        question_slices: Where each question's answers stand, half-open, in order: `Schema.question_slices`.

    Returns:
        The loss, not reduced, (batch, questions), in the type of `concentrations`, at least float32.

    Raises:
        SchemaError: If the slices overlap, leave a gap, or do not begin at 0.
        LabelError: If the shapes do not fit each other or the slices.

    Example:
        >>> votes = tf.constant([[3.0, 1.0]])
        >>> uniform = dirichlet_multinomial_nll(tf.ones((1, 2)), votes, [slice(0, 2)])
        >>> bool(np.isclose(uniform, np.log(5)))  # five splits of four votes, all as likely
        True

    References:
        Walmsley et al. 2022, MNRAS 509, 3966.
    """
    question = _question_of_answer(tuple((part.start, part.stop, part.step) for part in question_slices))
    concentrations, votes = tf.convert_to_tensor(concentrations), tf.convert_to_tensor(votes)
    shapes = known_shapes(concentrations, votes)
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
    """v(x, c) of the module's docstring."""
    return tf.math.lgamma(x + c) - tf.math.lgamma(x) - tf.math.lgamma(c + 1)


@lru_cache(maxsize=32)
def _question_of_answer(tiles: tuple[tuple[int, int, int | None], ...]) -> np.ndarray:
    """The question of each answer, (answers,)."""
    return answer_question_index([slice(*tile) for tile in tiles])


@lru_cache(maxsize=1)
def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))
