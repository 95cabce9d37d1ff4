"""How unsure a model of classes, yes/no labels or numbers is of a galaxy, and how far its members disagree.

Predictions are (samples, galaxies, outputs): dropout samples, or the members of an ensemble.

References:
    Houlsby et al. 2011, arXiv:1112.5745: disagreement is the entropy of the mean less the mean entropy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from zoobot.shared.votes import FloatArray

__all__ = [
    "disagreement",
    "entropy_of_mean",
    "lack_of_confidence",
    "lack_of_margin",
    "scatter_of_members",
    "yes_and_no",
]


def disagreement(probabilities: FloatArray) -> FloatArray:
    """Mutual information between the class and the member (BALD), in nats, (galaxies,).

    0 where all members say the same, at most the logarithm of the number of members, or of classes.

    Args:
        probabilities: (samples, galaxies, classes), adding up to 1.

    Example:
        >>> disagreement(np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])).round(3).tolist()
        [0.693, 0.0]
    """
    # as a mean of divergences from the mean, it can't be lost between two large numbers
    mean = probabilities.mean(axis=0)
    return np.maximum(_relative_entropy(probabilities, mean).sum(axis=-1).mean(axis=0), 0.0)


def entropy_of_mean(probabilities: FloatArray) -> FloatArray:
    """Entropy of the mean prediction, in nats, (galaxies,)."""
    from scipy.special import entr

    entropy: FloatArray = entr(probabilities.mean(axis=0)).sum(axis=-1)
    return entropy


def lack_of_margin(probabilities: FloatArray) -> FloatArray:
    """1 less the distance between the two most likely classes of the mean prediction, (galaxies,)."""
    ordered = np.sort(probabilities.mean(axis=0), axis=-1)
    second = ordered[..., -2] if ordered.shape[-1] > 1 else 0.0
    return 1 - (ordered[..., -1] - second)


def lack_of_confidence(probabilities: FloatArray) -> FloatArray:
    """1 less the probability of the most likely class of the mean prediction, (galaxies,)."""
    best: FloatArray = 1 - probabilities.mean(axis=0).max(axis=-1)
    return best


def scatter_of_members(values: FloatArray) -> FloatArray:
    """Variance of each number over the members, in units of its variance over galaxies: (galaxies, targets).

    Args:
        values: (samples, galaxies, targets), in any units.
    """
    spread = values.mean(axis=0).var(axis=0)
    return values.var(axis=0) / np.where(spread > 0, spread, 1.0)


def yes_and_no(probabilities: FloatArray) -> FloatArray:
    """The two probabilities of every yes/no label: (samples, galaxies, labels, 2)."""
    return np.stack([1 - probabilities, probabilities], axis=-1)


def _relative_entropy(p: FloatArray, q: FloatArray) -> FloatArray:
    from scipy.special import rel_entr

    divergence: FloatArray = rel_entr(p, q)
    return divergence
