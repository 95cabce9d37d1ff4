"""What several predictions of each galaxy say together: the equal mixture of dropout samples and models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoobot.shared.posteriors import expected_fractions
from zoobot.shared.tasks import Task, TreeTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["mix", "plain_expectation"]


def mix(task: Task, samples: NDArray) -> NDArray:
    """The prediction of an equal mixture.

    Args:
        task: What is predicted.
        samples: (samples, galaxies, outputs).

    Returns:
        Mean probabilities or targets, (galaxies, outputs). Of a tree the concentrations as they are: a
        mixture of Dirichlet distributions is none itself; (samples, galaxies, answers), or without the first
        axis where there is one sample.

    Example:
        >>> import numpy as np
        >>> from zoobot.shared.tasks import ClassificationTask
        >>> task = ClassificationTask(class_names=("round", "edge-on"))
        >>> mix(task, np.array([[[0.9, 0.1]], [[0.5, 0.5]]])).tolist()
        [[0.7, 0.3]]
    """
    if not isinstance(task, TreeTask):
        return samples.mean(axis=0)
    return samples[0] if len(samples) == 1 else samples


def plain_expectation(task: Task, predicted: NDArray) -> NDArray:
    """What `mix` gives as one number for each output, (galaxies, outputs): of a tree expected fractions."""
    return expected_fractions(predicted, task.schema) if isinstance(task, TreeTask) else predicted
