"""Which sums of a tree's losses are logged: one for each question, one for each campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.tasks import TreeTask

if TYPE_CHECKING:
    from zoobot.shared.tasks import Task

__all__ = ["mean_losses", "part_groups"]


def part_groups(task: Task) -> tuple[list[str], np.ndarray]:
    """The names of the sums, and which parts of the loss each adds up: (parts, sums), of ones and zeros.

    A tree's loss has a part for each question; other tasks have one part and no sums.

    Example:
        >>> from zoobot.shared import schemas
        >>> both = schemas.join([schemas.get("gz_rings"), schemas.get("gz2")])
        >>> names, members = part_groups(TreeTask(schema=both))
        >>> names[0], names[-1], members[:, -1].astype(int).tolist()
        ('nll_ring', 'nll_campaign_gz2', [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    """
    if not isinstance(task, TreeTask):
        return [], np.zeros((1, 0), np.float32)
    schema = task.schema
    questions = np.eye(len(schema.questions), dtype=np.float32)
    of_campaigns = [questions[:, places].sum(axis=1) for places in schema.campaigns.values()]
    names = [f"nll_{question.text}" for question in schema.questions]
    names += [f"nll_campaign_{campaign}" for campaign in schema.campaigns]
    return names, np.stack([*questions.T, *of_campaigns], axis=1)


def mean_losses(names: list[str], sums: np.ndarray, galaxies: np.ndarray) -> dict[str, float]:
    """The mean of each sum over the galaxies that were asked, named `train_…`; without those nobody was.

    Args:
        names: From `part_groups`.
        sums: Each sum, added over the galaxies of an epoch, (sums,).
        galaxies: Of how many galaxies it was not exactly zero, (sums,).
    """
    return {
        f"train_{name}": float(total / count)
        for name, total, count in zip(names, sums, galaxies, strict=True)
        if count
    }
