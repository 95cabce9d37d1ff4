"""What a tree model believes of each galaxy, as Pyro distributions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

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
        """One question's fractions, a `pyro.distributions.Dirichlet`: batch (galaxies,), event (answers,).

        Raises:
            SchemaError: If the tree has no such question.
        """
        return _distributions().Dirichlet(self._of_question(text))

    def votes(self, text: str, n_volunteers: int) -> Any:
        """The votes of `n_volunteers` on one question, a `pyro.distributions.DirichletMultinomial`.

        Raises:
            SchemaError: If the tree has no such question.
            ConfigError: If the number of volunteers can't be one.
        """
        check_volunteers(n_volunteers)
        return _distributions().DirichletMultinomial(self._of_question(text), total_count=n_volunteers)

    def _of_question(self, text: str) -> Tensor:
        return self.concentrations[:, self.schema.get_question(text).slice]

    def mean(self) -> Tensor:
        """The expected fraction of each answer among those asked its question, (galaxies, answers)."""
        return torch.from_numpy(expected_fractions(self._array, self.schema))

    def intervals(self, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """Lower and upper ends, (galaxies, answers), of the equal-tailed intervals of each fraction.

        Raises:
            ConfigError: If `level` is not in (0, 1).
        """
        lower, upper = fraction_intervals(self._array, self.schema, level=level)
        return torch.from_numpy(lower), torch.from_numpy(upper)

    def sample(self, n_samples: int = 1, *, seed: int = defaults.SEED) -> Tensor:
        """Vote fractions drawn from the posterior, (samples, galaxies, answers); the same for a seed."""
        with _seeded(seed):
            draws = [self.question(q.text).sample((n_samples,)) for q in self.schema.questions]
        return torch.cat(draws, dim=-1)

    def predict_votes(self, n_volunteers: int, *, n_samples: int = 1, seed: int = defaults.SEED) -> Tensor:
        """Votes of `n_volunteers`, asked every question: (samples, galaxies, answers).

        Raises:
            ConfigError: If the number of volunteers can't be one.
        """
        with _seeded(seed):
            draws = [self.votes(q.text, n_volunteers).sample((n_samples,)) for q in self.schema.questions]
        return torch.cat(draws, dim=-1)


def _distributions() -> Any:
    return import_optional("pyro.distributions", needed_for="distributions of a tree", package="pyro-ppl")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from this seed, and leave the user's own random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
