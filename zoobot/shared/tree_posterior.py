"""The posterior of a tree model as both engines have it; an engine adds its tensors and distributions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.posteriors import (
    check_concentrations,
    check_volunteers,
    expected_fractions,
    fraction_intervals,
    probability_asked,
    vote_intervals,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from zoobot.shared.posteriors import IntervalKind
    from zoobot.shared.trees.tree import Schema


_Tensor = TypeVar("_Tensor")


class Posterior(Generic[_Tensor]):
    """The distribution over vote fractions that concentrations stand for, question by question.

    Args:
        concentrations: A tree model's predictions, (galaxies, answers): a tensor, or anything like an array.
            With samples, (samples, galaxies, answers), a galaxy's posterior is their equal mixture.
        schema: The tree they answer.

    Raises:
        LabelError: If the shape does not fit the schema, or a concentration is not above 0.

    References:
        Walmsley et al. 2022, MNRAS 509, 3966, section 4.3.
    """

    def __init__(self, concentrations: Any, schema: Schema) -> None:
        self._array = check_concentrations(concentrations, schema)
        self.concentrations = self._tensor(self._array)
        self.schema = schema

    def _tensor(self, array: NDArray) -> _Tensor:
        """An array as a tensor of the engine."""
        raise NotImplementedError

    def _fractions_of(self, concentrations: _Tensor) -> Any:
        """The engine's Dirichlet distribution, (…, answers)."""
        raise NotImplementedError

    def _votes_of(self, concentrations: _Tensor, n_volunteers: int) -> Any:
        """The engine's Dirichlet-multinomial distribution, (…, answers)."""
        raise NotImplementedError

    def _mixture(self, distribution: Any) -> Any:
        """The equal mixture of a distribution over its last batch axis."""
        raise NotImplementedError

    def _draw(self, distribution_of: Callable[[_Tensor], Any], n_samples: int, seed: int) -> _Tensor:
        """Draws of all questions side by side, (samples, galaxies, answers), the same for a seed.

        Of a mixture, one component is drawn for each draw and galaxy; `distribution_of` takes the part of it
        that is a question's.
        """
        raise NotImplementedError

    def question(self, text: str) -> Any:
        """One question's fractions: batch (galaxies,), event (answers,).

        A `Dirichlet` of the engine's distributions; of samples, a `MixtureSameFamily` of them.

        Raises:
            SchemaError: If the tree has no such question.
        """
        return self._mixed(self._fractions_of(self._of_question(text)))

    def votes(self, text: str, n_volunteers: int) -> Any:
        """The votes of `n_volunteers` on one question, as `question` gives the fractions.

        A `DirichletMultinomial` of the engine's distributions; of samples, a `MixtureSameFamily` of them.

        Raises:
            SchemaError: If the tree has no such question.
            ConfigError: If the number of volunteers can't be one.
        """
        check_volunteers(n_volunteers)
        return self._mixed(self._votes_of(self._of_question(text), n_volunteers))

    def _of_question(self, text: str) -> _Tensor:
        """Concentrations of one question, (galaxies, answers), or (galaxies, samples, answers)."""
        part = self._array[..., self.schema.get_question(text).slice]
        return self._tensor(part if part.ndim == 2 else np.ascontiguousarray(part.swapaxes(0, 1)))

    def _mixed(self, distribution: Any) -> Any:
        """The distribution itself, or the mixture where there are samples."""
        return distribution if self._array.ndim == 2 else self._mixture(distribution)

    def mean(self) -> _Tensor:
        """The expected fraction of each answer among those asked its question, (galaxies, answers)."""
        return self._tensor(expected_fractions(self._array, self.schema))

    def probability_asked(self) -> _Tensor:
        """The probability that a volunteer comes to be asked each question, (galaxies, questions)."""
        return self._tensor(probability_asked(self._array, self.schema))

    def intervals(
        self, level: float = 0.9, *, kind: IntervalKind = "equal-tailed"
    ) -> tuple[_Tensor, _Tensor]:
        """Lower and upper ends, (galaxies, answers), of intervals of each fraction.

        Args:
            level: Probability inside the interval, in (0, 1).
            kind: "equal-tailed", or "highest-density" for the shortest.

        Raises:
            ConfigError: If `level` is not in (0, 1), or there is no such kind.
        """
        lower, upper = fraction_intervals(self._array, self.schema, level=level, kind=kind)
        return self._tensor(lower), self._tensor(upper)

    def vote_intervals(self, n_volunteers: int, level: float = 0.9) -> tuple[_Tensor, _Tensor]:
        """Fewest and most votes, (galaxies, answers), of equal-tailed intervals for `n_volunteers` asked.

        Raises:
            ConfigError: If `level` is not in (0, 1), or the number of volunteers can't be one.
        """
        fewest, most = vote_intervals(self._array, self.schema, n_volunteers, level=level)
        return self._tensor(fewest), self._tensor(most)

    def sample(self, n_samples: int = 1, *, seed: int = defaults.SEED) -> _Tensor:
        """Vote fractions drawn from the posterior, (samples, galaxies, answers); the same for a seed.

        Of a mixture, each draw of a galaxy takes one sample for all its questions.
        """
        return self._draw(self._fractions_of, n_samples, seed)

    def predict_votes(self, n_volunteers: int, *, n_samples: int = 1, seed: int = defaults.SEED) -> _Tensor:
        """Votes of `n_volunteers`, asked every question: (samples, galaxies, answers).

        Raises:
            ConfigError: If the number of volunteers can't be one.
        """
        check_volunteers(n_volunteers)
        return self._draw(partial(self._votes_of, n_volunteers=n_volunteers), n_samples, seed)
