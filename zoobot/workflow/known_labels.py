"""The labels that a catalog happens to have of predicted galaxies."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.catalogs.labels import read_labels
from zoobot.shared.errors import LabelError
from zoobot.shared.tasks import ClassificationTask, Task, TreeTask
from zoobot.shared.votes import check_votes
from zoobot.workflow.galaxies import read_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoobot.shared.catalog import Catalog

__all__ = ["known_labels"]

logger = logging.getLogger("zoobot")


def known_labels(task: Task, galaxies: Catalog) -> NDArray:
    """The labels that a catalog happens to have, NaN for others; those that can't be right are told of."""
    labels = np.full((len(galaxies), task.num_label_cols), np.nan)
    there = set(galaxies.table.columns)
    try:
        if isinstance(task, ClassificationTask):
            labels[:, 0] = _known_classes(task, galaxies)
            return labels
        groups = [[name] for name in task.label_cols]
        if isinstance(task, TreeTask):
            groups = [question.label_cols for question in task.schema.questions]
        for names in groups:
            if there.issuperset(names):
                places = [task.label_cols.index(name) for name in names]
                labels[:, places] = read_labels(galaxies.table, names, galaxies.ids, galaxies.name)
        if isinstance(task, TreeTask):
            check_votes(labels, task.schema, galaxies.ids)
    except LabelError as error:
        logger.warning("No labels are shown: %s", error)
        return np.full_like(labels, np.nan)
    return labels


def _known_classes(task: ClassificationTask, galaxies: Catalog) -> NDArray:
    """The number of each galaxy's class; NaN where its cell is empty, or the column is absent."""
    codes = np.full(len(galaxies), np.nan)
    if not task.label_cols or task.label_cols[0] not in galaxies.table:
        return codes
    column = galaxies.table[task.label_cols[0]]
    known = (column.notna() & (column.astype(str).str.strip() != "")).to_numpy()
    if known.any():
        labelled = galaxies.select(known)
        encoded, _ = read_classes(labelled, task.label_cols[0], task.class_names)
        codes[known] = np.asarray(encoded.labels)[:, 0]
    return codes
