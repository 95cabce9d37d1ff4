"""What a tree model believes of each galaxy, as Pyro distributions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from zoobot.shared.imports import import_optional
from zoobot.shared.tree_posterior import Posterior
from zoobot.shared.trees.tree import Schema

__all__ = ["TreePosterior"]


class TreePosterior(Posterior[Tensor]):
    """The distribution over vote fractions that concentrations stand for, question by question.

    All is as told in `zoobot.shared.tree_posterior.Posterior`; distributions are those of
    `pyro.distributions`.

    Example:
        >>> from zoobot.shared import schemas
        >>> posterior = TreePosterior([[9.0, 3.0]], schemas.get("gz_rings"))
        >>> posterior.mean().tolist()
        [[0.75, 0.25]]
        >>> posterior.predict_votes(40, n_samples=100).shape
        torch.Size([100, 1, 2])
    """

    def __init__(self, concentrations: Any, schema: Schema) -> None:
        on_device = isinstance(concentrations, Tensor)
        super().__init__(concentrations.detach().cpu().numpy() if on_device else concentrations, schema)

    def _tensor(self, array: NDArray) -> Tensor:
        return torch.from_numpy(array)

    def _fractions_of(self, concentrations: Tensor) -> Any:
        return _distributions().Dirichlet(concentrations)

    def _votes_of(self, concentrations: Tensor, n_volunteers: int) -> Any:
        return _distributions().DirichletMultinomial(concentrations, total_count=n_volunteers)

    def _mixture(self, distribution: Any) -> Any:
        weights = _distributions().Categorical(logits=self.concentrations.new_zeros(distribution.batch_shape))
        return _distributions().MixtureSameFamily(weights, distribution)

    def _draw(self, distribution_of: Callable[[Tensor], Any], n_samples: int, seed: int) -> Tensor:
        with _seeded(seed):
            components = self.concentrations.reshape(-1, *self.concentrations.shape[-2:])
            galaxies = torch.arange(components.shape[1])
            chosen = components[torch.randint(len(components), (n_samples, len(galaxies))), galaxies]
            draws = [distribution_of(chosen[..., q.slice]).sample() for q in self.schema.questions]
        return torch.cat(draws, dim=-1)


def _distributions() -> Any:
    return import_optional("pyro.distributions", needed_for="distributions of a tree", package="pyro-ppl")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from this seed, and leave the user's own random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
