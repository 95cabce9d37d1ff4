"""Training steps whose loss is not a number any more: found some steps late, named with their galaxies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from zoobot.shared.errors import NonFiniteError

__all__ = ["STEPS_BETWEEN_CHECKS", "TrainedBatch", "refuse_bad_batches", "refuse_bad_weights"]

#: To look at a loss, the processor waits for the GPU: not at each step.
STEPS_BETWEEN_CHECKS = 25

_IDS_SHOWN = 10

_ADVICE = (
    "The last good checkpoint and the best model so far are kept, but the same steps would end the same: "
    "begin a run with a lower learning_rate, from the best model if there is one, or look at the images and "
    "labels of these galaxies"
)


class TrainedBatch(NamedTuple):
    """A batch that was learned from.

    Attributes:
        epoch: Counted from 0; people are told from 1, as in metrics.csv.
        number: Its place in the epoch, from 0; people are told from 1.
        losses: (batch,).
        ids: Ids of the galaxies, in order.
    """

    epoch: int
    number: int
    losses: np.ndarray
    ids: Sequence[str]


def refuse_bad_batches(batches: Iterable[TrainedBatch]) -> None:
    """Raise if a loss is NaN or infinite, and name the galaxies of the first batch that has one.

    Raises:
        NonFiniteError: Names up to ten galaxies, those whose own loss is not finite first.

    Example:
        >>> refuse_bad_batches([TrainedBatch(0, 3, np.array([0.5, 0.7]), ["a", "b"])])
    """
    for batch in batches:
        bad = ~np.isfinite(batch.losses)
        if bad.any():
            order = np.argsort(~bad, kind="stable")
            named = [batch.ids[place] for place in order[:_IDS_SHOWN]]
            msg = (
                f"the training loss is not finite for {bad.sum()} of the {len(bad)} galaxies of step "
                f"{batch.number + 1} of epoch {batch.epoch + 1}, these first: {named}. {_ADVICE}"
            )
            raise NonFiniteError(msg)


def refuse_bad_weights(batch: TrainedBatch | None, *, are_finite: bool) -> None:
    """Raise if weights are NaN or infinite though every loss was finite: a gradient was not.

    Args:
        batch: The last one that was learned from.
        are_finite: Whether the weights are.

    Raises:
        NonFiniteError: Names up to ten galaxies of the last step.
    """
    if are_finite:
        return
    where = (
        ""
        if batch is None
        else f" of epoch {batch.epoch + 1}, after step {batch.number + 1}, whose galaxies are"
    )
    named = "" if batch is None else f" {list(batch.ids[:_IDS_SHOWN])}"
    msg = f"the weights are not finite at a checkpoint{where}{named}. {_ADVICE}"
    raise NonFiniteError(msg)
