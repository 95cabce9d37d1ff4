"""A running average of the weights: how fast it follows them."""

from __future__ import annotations

__all__ = ["decay_at"]


def decay_at(update: int, decay: float) -> float:
    """The share of the average that stays at one update; the rest comes from the weights of this step.

    It rises to `decay` over the first updates, so that the weights a run began with are soon forgotten.

    Args:
        update: Updates before this one.
        decay: The share in the long run, in [0, 1): 0.999 averages over about a thousand steps.

    Example:
        >>> decay_at(0, 0.999), decay_at(1_000_000, 0.999)
        (0.1, 0.999)

    References:
        Polyak & Juditsky 1992, SIAM J. Control Optim. 30, 838, for averages of weights.
    """
    return min(decay, (1 + update) / (10 + update))
