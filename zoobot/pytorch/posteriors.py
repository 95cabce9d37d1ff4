"""What a tree model believes of each galaxy, as Pyro distributions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

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
        >>> posterior.mean().tolist()
        [[0.75, 0.25]]
        >>> posterior.predict_votes(40, n_samples=100).shape
        torch.Size([100, 1, 2])

    References:
        Walmsley et al. 2022, MNRAS 509, 3966, section 4.3.
    """

    def __init__(self, concentrations: Any, schema: Schema) -> None:
        if isinstance(concentrations, Tensor):
            concentrations = concentrations.detach().cpu().numpy()
        self._array = check_concentrations(concentrations, schema)
        self.concentrations = torch.from_numpy(self._array)
        self.schema = schema

    def question(self, text: str) -> Any:
        """One question's fractions: batch (galaxies,), event (answers,).

        A `pyro.distributions.Dirichlet`; of samples, a `MixtureSameFamily` of them.

        Raises:
            SchemaError: If the tree has no such question.
        """
        return self._mixed(_distributions().Dirichlet(self._of_question(text)))

    def votes(self, text: str, n_volunteers: int) -> Any:
        """The votes of `n_volunteers` on one question, as `question` gives the fractions.

        A `pyro.distributions.DirichletMultinomial`; of samples, a `MixtureSameFamily` of them.

        Raises:
            SchemaError: If the tree has no such question.
            ConfigError: If the number of volunteers can't be one.
        """
        check_volunteers(n_volunteers)
        return self._mixed(
            _distributions().DirichletMultinomial(self._of_question(text), total_count=n_volunteers)
        )

    def _of_question(self, text: str) -> Tensor:
        """Concentrations of one question, (galaxies, answers), or (galaxies, samples, answers)."""
        part = self.concentrations[..., self.schema.get_question(text).slice]
        return part.movedim(0, 1) if part.ndim == 3 else part

    def _mixed(self, distribution: Any) -> Any:
        """The distribution itself, or the equal mixture over its last batch axis where there are samples."""
        if self.concentrations.ndim == 2:
            return distribution
        weights = _distributions().Categorical(logits=self.concentrations.new_zeros(distribution.batch_shape))
        return _distributions().MixtureSameFamily(weights, distribution)

    def mean(self) -> Tensor:
        """The expected fraction of each answer among those asked its question, (galaxies, answers)."""
        return torch.from_numpy(expected_fractions(self._array, self.schema))

    def probability_asked(self) -> Tensor:
        """The probability that a volunteer comes to be asked each question, (galaxies, questions)."""
        return torch.from_numpy(probability_asked(self._array, self.schema))

    def intervals(self, level: float = 0.9, *, kind: IntervalKind = "equal-tailed") -> tuple[Tensor, Tensor]:
        """Lower and upper ends, (galaxies, answers), of intervals of each fraction.

        Args:
            level: Probability inside the interval, in (0, 1).
            kind: "equal-tailed", or "highest-density" for the shortest.

        Raises:
            ConfigError: If `level` is not in (0, 1), or there is no such kind.
        """
        lower, upper = fraction_intervals(self._array, self.schema, level=level, kind=kind)
        return torch.from_numpy(lower), torch.from_numpy(upper)

    def vote_intervals(self, n_volunteers: int, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """Fewest and most votes, (galaxies, answers), of equal-tailed intervals for `n_volunteers` asked.

        Raises:
            ConfigError: If `level` is not in (0, 1), or the number of volunteers can't be one.
        """
        fewest, most = vote_intervals(self._array, self.schema, n_volunteers, level=level)
        return torch.from_numpy(fewest), torch.from_numpy(most)

    def sample(self, n_samples: int = 1, *, seed: int = defaults.SEED) -> Tensor:
        """Vote fractions drawn from the posterior, (samples, galaxies, answers); the same for a seed.

        Of a mixture, each draw of a galaxy takes one sample for all its questions.
        """
        with _seeded(seed):
            chosen = self._draw_component(n_samples)
            draws = [_distributions().Dirichlet(chosen[..., q.slice]).sample() for q in self.schema.questions]
        return torch.cat(draws, dim=-1)

    def predict_votes(self, n_volunteers: int, *, n_samples: int = 1, seed: int = defaults.SEED) -> Tensor:
        """Votes of `n_volunteers`, asked every question: (samples, galaxies, answers).

        Raises:
            ConfigError: If the number of volunteers can't be one.
        """
        check_volunteers(n_volunteers)
        with _seeded(seed):
            chosen = self._draw_component(n_samples)
            draws = [
                _distributions().DirichletMultinomial(chosen[..., q.slice], total_count=n_volunteers).sample()
                for q in self.schema.questions
            ]
        return torch.cat(draws, dim=-1)

    def _draw_component(self, n_samples: int) -> Tensor:
        """Concentrations of one component for each draw and galaxy, (samples, galaxies, answers)."""
        components = self.concentrations.reshape(-1, *self.concentrations.shape[-2:])
        galaxies = torch.arange(components.shape[1])
        return components[torch.randint(len(components), (n_samples, len(galaxies))), galaxies]


def _distributions() -> Any:
    return import_optional("pyro.distributions", needed_for="distributions of a tree", package="pyro-ppl")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from this seed, and leave the user's own random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
