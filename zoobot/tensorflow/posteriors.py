"""What a tree model believes of each galaxy, as TensorFlow Probability distributions."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from zoobot.shared import defaults
from zoobot.shared.optional import import_optional
from zoobot.shared.posteriors import (
    check_concentrations,
    check_volunteers,
    expected_fractions,
    fraction_intervals,
)
from zoobot.shared.tree import Schema

__all__ = ["TreePosterior"]


class TreePosterior:
    """The distribution over vote fractions that concentrations stand for, question by question.

    Args:
        concentrations: A tree model's predictions, (galaxies, answers): a tensor, or anything like an array.
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
        """One question's fractions, a `tfp.distributions.Dirichlet`: batch (galaxies,), event (answers,).

        Raises:
            SchemaError: If the tree has no such question.
        """
        return _distributions().Dirichlet(self._of_question(text))

    def votes(self, text: str, n_volunteers: int) -> Any:
        """The votes of `n_volunteers` on one question, a `tfp.distributions.DirichletMultinomial`.

        Raises:
            SchemaError: If the tree has no such question.
            ConfigError: If the number of volunteers can't be one.
        """
        check_volunteers(n_volunteers)
        return _distributions().DirichletMultinomial(
            tf.cast(n_volunteers, self.concentrations.dtype), self._of_question(text)
        )

    def _of_question(self, text: str) -> tf.Tensor:
        return self.concentrations[:, self.schema.get_question(text).slice]

    def mean(self) -> tf.Tensor:
        """The expected fraction of each answer among those asked its question, (galaxies, answers)."""
        return tf.constant(expected_fractions(self._array, self.schema))

    def intervals(self, level: float = 0.9) -> tuple[tf.Tensor, tf.Tensor]:
        """Lower and upper ends, (galaxies, answers), of the equal-tailed intervals of each fraction.

        Raises:
            ConfigError: If `level` is not in (0, 1).
        """
        lower, upper = fraction_intervals(self._array, self.schema, level=level)
        return tf.constant(lower), tf.constant(upper)

    def sample(self, n_samples: int = 1, *, seed: int = defaults.SEED) -> tf.Tensor:
        """Vote fractions drawn from the posterior, (samples, galaxies, answers); the same for a seed."""
        distributions = [self.question(q.text) for q in self.schema.questions]
        return _draw(distributions, n_samples, seed)

    def predict_votes(self, n_volunteers: int, *, n_samples: int = 1, seed: int = defaults.SEED) -> tf.Tensor:
        """Votes of `n_volunteers`, asked every question: (samples, galaxies, answers).

        Raises:
            ConfigError: If the number of volunteers can't be one.
        """
        distributions = [self.votes(q.text, n_volunteers) for q in self.schema.questions]
        return _draw(distributions, n_samples, seed)


def _distributions() -> Any:
    return import_optional(
        "tensorflow_probability", needed_for="distributions of a tree", package="tensorflow-probability"
    ).distributions


def _draw(distributions: list[Any], n_samples: int, seed: int) -> tf.Tensor:
    """Samples of each question side by side; stateless seeds leave the user's own random state as it was."""
    draws = [d.sample(n_samples, seed=(seed, number)) for number, d in enumerate(distributions)]
    return tf.concat(draws, axis=-1)
