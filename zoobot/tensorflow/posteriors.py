"""What a tree model believes of each galaxy, as TensorFlow Probability distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from zoobot.shared.imports import import_optional
from zoobot.shared.tree_posterior import Posterior

__all__ = ["TreePosterior"]


class TreePosterior(Posterior[tf.Tensor]):
    """The distribution over vote fractions that concentrations stand for, question by question.

    All is as told in `zoobot.shared.tree_posterior.Posterior`; distributions are those of
    `tensorflow_probability`.

    Example:
        >>> from zoobot.shared import schemas
        >>> posterior = TreePosterior([[9.0, 3.0]], schemas.get("gz_rings"))
        >>> posterior.mean().numpy().tolist()
        [[0.75, 0.25]]
        >>> posterior.predict_votes(40, n_samples=100).shape
        TensorShape([100, 1, 2])
    """

    def _tensor(self, array: NDArray) -> tf.Tensor:
        return tf.constant(array)

    def _fractions_of(self, concentrations: tf.Tensor) -> Any:
        return _distributions().Dirichlet(concentrations)

    def _votes_of(self, concentrations: tf.Tensor, n_volunteers: int) -> Any:
        total = tf.cast(n_volunteers, concentrations.dtype)
        return _distributions().DirichletMultinomial(total, concentrations)

    def _mixture(self, distribution: Any) -> Any:
        logits = tf.zeros(distribution.batch_shape, self.concentrations.dtype)
        return _distributions().MixtureSameFamily(_distributions().Categorical(logits=logits), distribution)

    def _draw(self, distribution_of: Callable[[tf.Tensor], Any], n_samples: int, seed: int) -> tf.Tensor:
        components = tf.reshape(self.concentrations, [-1, *self.concentrations.shape[-2:]])
        shape = (n_samples, components.shape[1])
        number = tf.random.stateless_uniform(shape, (seed, -1), maxval=len(components), dtype=tf.int32)
        galaxy = tf.broadcast_to(tf.range(shape[1]), shape)
        chosen = tf.gather_nd(components, tf.stack([number, galaxy], axis=-1))
        # stateless seeds leave the user's own random state as it was
        draws = [
            distribution_of(chosen[..., question.slice]).sample(seed=(seed, number))
            for number, question in enumerate(self.schema.questions)
        ]
        return tf.concat(draws, axis=-1)


def _distributions() -> Any:
    return import_optional(
        "tensorflow_probability", needed_for="distributions of a tree", package="tensorflow-probability"
    ).distributions
