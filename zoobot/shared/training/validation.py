"""What the validation galaxies of one epoch add up to: the loss, the task's scores, and no NaN unnoticed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from zoobot.shared.errors import NonFiniteError
from zoobot.shared.tasks import Task

__all__ = ["ValidatedBatch", "refuse_non_finite", "validation_scores"]

_IDS_SHOWN = 10


class ValidatedBatch(NamedTuple):
    """What one validation batch leaves behind.

    Attributes:
        losses: (batch,).
        predictions: (batch, outputs).
        labels: (batch, label columns), NaN where missing.
        ids: Ids of the galaxies, in order.
    """

    losses: np.ndarray
    predictions: np.ndarray
    labels: np.ndarray
    ids: list[str]


def validation_scores(task: Task, batches: Sequence[ValidatedBatch]) -> dict[str, float]:
    """The mean loss of an epoch's validation galaxies, `val_loss`, and the task's metrics, `val_…`.

    Raises:
        NonFiniteError: If the loss of a galaxy is NaN or infinite.

    Example:
        >>> from zoobot.shared.tasks import RegressionTask
        >>> numbers = np.array([[1.0], [2.0]])
        >>> batch = ValidatedBatch(np.array([0.0, 1.0]), numbers, numbers, ["a", "b"])
        >>> validation_scores(RegressionTask(label_cols=["size"]), [batch])["val_loss"]
        0.5
    """
    *arrays, ids = zip(*batches, strict=True)
    losses, predictions, labels = (np.concatenate(parts) for parts in arrays)
    refuse_non_finite(losses, list(chain.from_iterable(ids)), "validation")
    scores = task.metrics(predictions, labels)
    return {"val_loss": float(losses.mean(dtype=np.float64))} | {f"val_{k}": v for k, v in scores.items()}


def refuse_non_finite(losses: np.ndarray, ids: Sequence[str], purpose: str) -> None:
    """Raise where a loss is NaN or infinite, and name the galaxies.

    Args:
        losses: (batch,).
        ids: Ids of the galaxies, in order.
        purpose: "training" or "validation".

    Raises:
        NonFiniteError: Naming the first galaxies that have such a loss.
    """
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        msg = (
            f"the {purpose} loss is not finite for {len(bad)} galaxies: "
            f"{[ids[i] for i in bad[:_IDS_SHOWN]]}; look at their images and labels, or lower learning_rate"
        )
        raise NonFiniteError(msg)
