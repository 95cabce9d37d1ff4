"""What a tree model believes of each galaxy, as TensorFlow Probability distributions."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from zoobot.shared import defaults
from zoobot.shared.imports import import_optional
from zoobot.shared.posteriors import (
    IntervalKind,
    check_concentrations,
    check_volunteers,
    expected_fractions,
    fraction_intervals,
    probability_asked,
    vote_intervals,
)
from zoobot.shared.trees.tree import Schema

__all__ = ["TreePosterior"]


class TreePosterior:
    """The distribution over vote fractions that concentrations stand for, question by question.

    Args:
        concentrations: A tree model's predictions, (galaxies, answers): a tensor, or anything like an array.
            With samples, (samples, galaxies, answers), a galaxy's posterior is their equal mixture.
        schema: The tree they answer.

    Raises:
        LabelError: If the shape does not fit the schema, or a concentration is not above 0.

    Example:
        >>> from zoobot.shared import schemas
        >>> posterior = TreePosterior([[9.0, 3.0]], schemas.get("gz_rings"))
        >>> posterior.mean().numpy().tolist()
        [[0.75, 0.25]]
        >>> posterior.predict_votes(40, n_samples=100).shape
        TensorShape([100, 1, 2])

    References:
        Walmsley et al. 2022, MNRAS 509, 3966, section 4.3.
    """

    def __init__(self, concentrations: Any, schema: Schema) -> None:
        self._array = check_concentrations(concentrations, schema)
        self.concentrations = tf.constant(self._array)
        self.schema = schema

    def question(self, text: str) -> Any:
        """One question's fractions: batch (galaxies,), event (answers,).

        A `tfp.distributions.Dirichlet`; of samples, a `MixtureSameFamily` of them.

        Raises:
            SchemaError: If the tree has no such question.
        """
        return self._mixed(_distributions().Dirichlet(self._of_question(text)))

    def votes(self, text: str, n_volunteers: int) -> Any:
        """The votes of `n_volunteers` on one question, as `question` gives the fractions.

        A `tfp.distributions.DirichletMultinomial`; of samples, a `MixtureSameFamily` of them.

        Raises:
            SchemaError: If the tree has no such question.
            ConfigError: If the number of volunteers can't be one.
        """
        check_volunteers(n_volunteers)
        return self._mixed(self._votes_of(self._of_question(text), n_volunteers))

    def _votes_of(self, concentrations: tf.Tensor, n_volunteers: int) -> Any:
        total = tf.cast(n_volunteers, self.concentrations.dtype)
        return _distributions().DirichletMultinomial(total, concentrations)

    def _of_question(self, text: str) -> tf.Tensor:
        """Concentrations of one question, (galaxies, answers), or (galaxies, samples, answers)."""
        part = self.concentrations[..., self.schema.get_question(text).slice]
        return tf.transpose(part, [1, 0, 2]) if len(part.shape) == 3 else part

    def _mixed(self, distribution: Any) -> Any:
        """The distribution itself, or the equal mixture over its last batch axis where there are samples."""
        if len(self.concentrations.shape) == 2:
            return distribution
        logits = tf.zeros(distribution.batch_shape, self.concentrations.dtype)
        return _distributions().MixtureSameFamily(_distributions().Categorical(logits=logits), distribution)

    def mean(self) -> tf.Tensor:
        """The expected fraction of each answer among those asked its question, (galaxies, answers)."""
        return tf.constant(expected_fractions(self._array, self.schema))

    def probability_asked(self) -> tf.Tensor:
        """The probability that a volunteer comes to be asked each question, (galaxies, questions)."""
        return tf.constant(probability_asked(self._array, self.schema))

    def intervals(
        self, level: float = 0.9, *, kind: IntervalKind = "equal-tailed"
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Lower and upper ends, (galaxies, answers), of intervals of each fraction.

        Args:
            level: Probability inside the interval, in (0, 1).
            kind: "equal-tailed", or "highest-density" for the shortest.

        Raises:
            ConfigError: If `level` is not in (0, 1), or there is no such kind.
        """
        lower, upper = fraction_intervals(self._array, self.schema, level=level, kind=kind)
        return tf.constant(lower), tf.constant(upper)

    def vote_intervals(self, n_volunteers: int, level: float = 0.9) -> tuple[tf.Tensor, tf.Tensor]:
        """Fewest and most votes, (galaxies, answers), of equal-tailed intervals for `n_volunteers` asked.

        Raises:
            ConfigError: If `level` is not in (0, 1), or the number of volunteers can't be one.
        """
        fewest, most = vote_intervals(self._array, self.schema, n_volunteers, level=level)
        return tf.constant(fewest), tf.constant(most)

    def sample(self, n_samples: int = 1, *, seed: int = defaults.SEED) -> tf.Tensor:
        """Vote fractions drawn from the posterior, (samples, galaxies, answers); the same for a seed.

        Of a mixture, each draw of a galaxy takes one sample for all its questions.
        """
        chosen = self._draw_component(n_samples, seed)
        return _draw([_distributions().Dirichlet(chosen[..., q.slice]) for q in self.schema.questions], seed)

    def predict_votes(self, n_volunteers: int, *, n_samples: int = 1, seed: int = defaults.SEED) -> tf.Tensor:
        """Votes of `n_volunteers`, asked every question: (samples, galaxies, answers).

        Raises:
            ConfigError: If the number of volunteers can't be one.
        """
        check_volunteers(n_volunteers)
        chosen = self._draw_component(n_samples, seed)
        return _draw(
            [self._votes_of(chosen[..., q.slice], n_volunteers) for q in self.schema.questions], seed
        )

    def _draw_component(self, n_samples: int, seed: int) -> tf.Tensor:
        """Concentrations of one component for each draw and galaxy, (samples, galaxies, answers)."""
        components = tf.reshape(self.concentrations, [-1, *self.concentrations.shape[-2:]])
        shape = (n_samples, components.shape[1])
        number = tf.random.stateless_uniform(shape, (seed, -1), maxval=len(components), dtype=tf.int32)
        galaxy = tf.broadcast_to(tf.range(shape[1]), shape)
        return tf.gather_nd(components, tf.stack([number, galaxy], axis=-1))


def _distributions() -> Any:
    return import_optional(
        "tensorflow_probability", needed_for="distributions of a tree", package="tensorflow-probability"
    ).distributions


def _draw(distributions: list[Any], seed: int) -> tf.Tensor:
    """One draw of each question side by side; stateless seeds leave the user's own random state as it was."""
    draws = [d.sample(seed=(seed, number)) for number, d in enumerate(distributions)]
    return tf.concat(draws, axis=-1)
