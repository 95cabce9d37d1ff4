"""The real-galaxy tasks that benchmarks finetune on: where the labels are, how to train, how to score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.shared import schemas, votes
from zoobot.shared.catalog import Catalog, read_catalog

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TASKS", "GalaxyTask", "make_model", "score_predictions"]


@dataclass(frozen=True)
class GalaxyTask:
    """One set of labelled galaxies and what is learned from it.

    Attributes:
        catalog: Path of its table below the data folder.
        kind: "classification", "regression" or "tree".
        labels: Label columns; none for a tree, whose schema names them.
        score: The figure that is reported: see `score_predictions`.
        floor: What hand-made features with a linear model reach on held-out galaxies.
        preprocessing: Changes to the encoder's own record.
        max_epochs: Longest training.
        batch_size: Galaxies in a step.
    """

    catalog: str
    kind: str
    labels: tuple[str, ...]
    score: str
    floor: dict[str, float]
    preprocessing: dict[str, Any]
    max_epochs: int
    batch_size: int = 32

    def read(self, data: Path) -> dict[str, Catalog]:
        """The galaxies to learn from and those to score on: {"train", "val"}."""
        columns = self.labels or tuple(schemas.get("gz2_full").label_cols)
        catalog = read_catalog(data / self.catalog, label_cols=columns)
        split = catalog.table["split"].to_numpy()
        return {part: catalog.select(np.flatnonzero(split == part)) for part in ("train", "val")}

    def class_names(self, data: Path) -> list[str] | None:
        """The names of the classes, in the order of the labels."""
        if self.kind != "classification":
            return None
        table = read_catalog(data / self.catalog).table
        pairs = table[[self.labels[0], "label_name"]].drop_duplicates().sort_values(self.labels[0])
        return pairs["label_name"].tolist()


#: The side of the network input that zoobot-mini was trained with.
SIZE_PIX = 160

#: Half of a Galaxy Zoo frame is sky.
CENTRE = {"image_size_pix": SIZE_PIX, "crop_fraction": 0.6}
WHOLE_IMAGE = {"image_size_pix": SIZE_PIX, "crop_fraction": 1.0}

TASKS = {
    "rings": GalaxyTask(
        catalog="decals_rings/catalog.csv",
        kind="classification",
        labels=("label",),
        score="accuracy",
        floor={"accuracy": 0.74},
        preprocessing=CENTRE,
        max_epochs=10,
    ),
    "classes": GalaxyTask(
        catalog="gz2_classes/catalog.csv",
        kind="classification",
        labels=("label",),
        score="accuracy",
        floor={"accuracy": 0.79},
        preprocessing=WHOLE_IMAGE,
        max_epochs=5,
    ),
    "t_type": GalaxyTask(
        catalog="efigi/catalog.csv",
        kind="regression",
        labels=("T",),
        score="r2_T",
        floor={"r2_T": 0.78},
        preprocessing=WHOLE_IMAGE,
        max_epochs=6,
    ),
    "votes": GalaxyTask(
        catalog="gz2_votes/votes.csv",
        kind="tree",
        labels=(),
        score="r2_smooth",
        floor={"r2_smooth": 0.47, "r2_edge-on": 0.61, "r2_spiral": 0.39},
        preprocessing=CENTRE,
        max_epochs=5,
    ),
}


def make_model(engine: Any, task: GalaxyTask, data: Path, **options: Any) -> Any:
    """The engine's model of a task, with the task's pixels."""
    options = {"preprocessing": task.preprocessing, **options}
    if task.kind == "tree":
        return engine.finetune.FinetuneableZoobotTree(schema="gz2_full", **options)
    if task.kind == "regression":
        return engine.finetune.FinetuneableZoobotRegressor(label_cols=task.labels, **options)
    return engine.finetune.FinetuneableZoobotClassifier(
        class_names=task.class_names(data), label_cols=task.labels, **options
    )


def score_predictions(
    task: GalaxyTask, model: Any, predictions: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """The model's metrics, and for trees the R² of three cumulative vote fractions too."""
    scores = model.task.metrics(predictions, labels)
    if task.kind == "tree":
        scores |= _cumulative_fraction_r2(predictions, labels)
    return scores


def _cumulative_fraction_r2(concentrations: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """R² of the chance that a volunteer gives an answer at all, the questions before it included."""
    schema = schemas.get("gz2_full")
    expected = votes.fractions_from_votes(concentrations.astype(float), schema)
    volunteers = votes.fractions_from_votes(labels, schema)
    columns = {
        "r2_smooth": "smooth-or-featured-gz2_smooth",
        "r2_edge-on": "disk-edge-on-gz2_yes",
        "r2_spiral": "has-spiral-arms-gz2_yes",
    }
    scores = {}
    for name, column in columns.items():
        got, truth = (schema.joint_p(fractions, column) for fractions in (expected, volunteers))
        known = np.isfinite(truth)
        residual = np.sum((got[known] - truth[known]) ** 2)
        scores[name] = float(1 - residual / np.sum((truth[known] - truth[known].mean()) ** 2))
    return scores
