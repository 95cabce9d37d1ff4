"""What a model learns from its training labels before the first step: class weights, target scales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.likelihood import dirichlet_multinomial_nll
from zoobot.shared.tasks import ClassificationTask, Task
from zoobot.shared.trees.tree import Schema
from zoobot.shared.votes import fractions_from_votes

__all__ = ["balanced_weights", "prior_concentrations", "read_class_weights", "target_statistics"]


#: Enough galaxies to know the mean of a survey.
_GALAXIES_FOR_PRIOR = 5_000

#: Sums of a question's concentrations to choose from.
_SUMS = np.geomspace(2, 200, 25)

#: Concentrations whose logit is neither infinite nor so far out that nothing is learned.
_WITHIN = (
    defaults.CONCENTRATION_MIN + 0.005 * defaults.CONCENTRATION_RANGE,
    defaults.CONCENTRATION_MIN + 0.9 * defaults.CONCENTRATION_RANGE,
)


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


def prior_concentrations(votes: np.ndarray, schema: Schema) -> np.ndarray:
    """The concentrations that foretell the votes best when every galaxy gets the same: (answers,).

    For each question the mean fractions set the proportions, and the likelihood chooses their sum. A head
    that starts there spends no epochs on learning what is common to all galaxies.

    Args:
        votes: Training votes, (galaxies, answers), NaN where a question was not asked.
        schema: The tree they answer.

    Returns:
        Concentrations within what a Dirichlet head can predict; equal ones for a question nobody was asked.

    Example:
        >>> from zoobot.shared import schemas
        >>> votes = np.array([[30.0, 10.0], [28.0, 12.0], [10.0, 30.0]])
        >>> low, high = prior_concentrations(votes, schemas.get("gz_rings"))[[1, 0]]
        >>> bool(low < high)
        True
    """
    votes = votes[:: 1 + len(votes) // _GALAXIES_FOR_PRIOR]
    fractions = fractions_from_votes(votes, schema)
    known = np.isfinite(fractions)
    mean = np.where(known, fractions, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    best = np.empty(len(mean))
    for part in schema.question_slices:
        shares = mean[part] if mean[part].any() else np.ones(part.stop - part.start)
        candidates = np.clip(_SUMS[:, None] * shares / shares.sum(), *_WITHIN)
        losses = [_constant_loss(candidate, votes[:, part]) for candidate in candidates]
        best[part] = candidates[int(np.argmin(losses))]
    return best


def _constant_loss(concentrations: np.ndarray, votes: np.ndarray) -> float:
    same = np.broadcast_to(concentrations, votes.shape)
    return float(dirichlet_multinomial_nll(same, votes, [slice(0, votes.shape[1])]).sum())
