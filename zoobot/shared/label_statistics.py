"""What a model learns from its training labels before the first step: class weights, target scales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.tasks import ClassificationTask, Task

__all__ = ["balanced_weights", "read_class_weights", "target_statistics"]


def read_class_weights(class_weights: str | Sequence[float] | None) -> tuple[bool, list[float] | None]:
    """Whether the weights are to be balanced, and the weights that were given instead.

    Raises:
        ConfigError: If a word other than "balanced" was given.
    """
    if not isinstance(class_weights, str):
        return False, None if class_weights is None else [float(weight) for weight in class_weights]
    if class_weights != "balanced":
        msg = f"class_weights must be 'balanced', a number for each class, or None, got {class_weights!r}"
        raise ConfigError(msg)
    return True, None


def balanced_weights(labels: np.ndarray, task: Task) -> np.ndarray:
    """Weights that make rare classes count as much as common ones.

    Args:
        labels: The training labels, (galaxies, label columns), NaN where a yes/no label is missing.
        task: The classes or labels.

    Returns:
        (outputs,). For classes: galaxies / (classes * galaxies of the class), whose mean over galaxies is 1.
        For yes/no labels: the number of noes over the number of yeses.

    Raises:
        LabelError: If a class, or the yes of a label, has no training galaxy.

    Example:
        >>> task = ClassificationTask(class_names=("spiral", "ring"))
        >>> balanced_weights(np.array([[0], [0], [0], [1]]), task).round(2).tolist()
        [0.67, 2.0]
    """
    if isinstance(task, ClassificationTask):
        names: Sequence[str] = task.class_names
        counts = np.bincount(labels[:, 0].astype(int), minlength=task.num_outputs)
        totals = np.full(task.num_outputs, labels.shape[0] / task.num_outputs)
    else:
        names = task.label_cols
        counts, totals = (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
    if (counts == 0).any():
        absent = [name for name, count in zip(names, counts, strict=True) if count == 0]
        msg = f"class_weights='balanced' needs a training galaxy of every class; there is none of {absent}"
        raise LabelError(msg)
    return np.maximum(totals, 1) / counts


def target_statistics(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the standard deviation of each target, over the galaxies that have it.

    Args:
        targets: (galaxies, targets), NaN where missing.

    Returns:
        Mean and standard deviation, (targets,) each; a target that never varies has deviation 1.

    Raises:
        LabelError: If a target has no value at all.

    Example:
        >>> mean, std = target_statistics(np.array([[1.0], [3.0], [np.nan]]))
        >>> float(mean[0]), float(std[0])
        (2.0, 1.0)
    """
    empty = np.isnan(targets).all(axis=0)
    if empty.any():
        msg = (
            f"target {np.flatnonzero(empty).tolist()} (counted from 0) has no value in the training galaxies"
        )
        raise LabelError(msg)
    std = np.nanstd(targets, axis=0)
    return np.nanmean(targets, axis=0), np.where(std > 0, std, 1.0)
