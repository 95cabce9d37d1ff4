"""The galaxies that a strategy would have labelled next: by a score, by keeping apart, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.acquisition import score_galaxies
from zoobot.shared.choosing.diversity import Chosen, choose_galaxies
from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoobot.shared.choosing.strategy_names import Strategy
    from zoobot.shared.tasks import Task

__all__ = ["next_galaxies"]


def next_galaxies(
    strategy: Strategy,
    task: Task,
    n: int,
    *,
    features: NDArray,
    labelled: NDArray,
    predictions: NDArray | None = None,
    n_volunteers: int = defaults.VOLUNTEERS,
    seed: int = defaults.SEED,
) -> Chosen:
    """The galaxies that a strategy would have labelled next.

    Args:
        strategy: How they are chosen.
        task: What is learned.
        n: Most galaxies to choose.
        features: Of the galaxies that can be chosen, (galaxies, features).
        labelled: Features of the galaxies that are labelled already.
        predictions: (samples, galaxies, outputs) of those that can be chosen, where the strategy needs them.
        n_volunteers: Of a tree: how many people each question is asked.
        seed: Of everything that is drawn.
    """
    if strategy.needs_predictions:
        if predictions is None:
            msg = f"the strategy {strategy.name!r} needs predictions"
            raise ConfigError(msg)
        found = score_galaxies(task, predictions, score=strategy.score, n_volunteers=n_volunteers, seed=seed)
        scores = found.score
    elif strategy.score is None:
        scores = np.ones(len(features))
    else:
        scores = np.random.default_rng(seed).random(len(features))
    return choose_galaxies(
        scores,
        n,
        diversity=strategy.diversity,
        features=features if strategy.diversity != "none" else None,
        labelled=labelled,
        shortlist=len(features) if strategy.score is None else defaults.SHORTLIST,
        seed=seed,
    )
