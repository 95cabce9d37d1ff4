"""Predictions beside the labels of the same galaxies: what scoring and calibration begin with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot.shared.errors import CatalogError

if TYPE_CHECKING:
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.config import EngineOptions
    from zoobot.shared.engine import Engine

__all__ = ["LabelledPredictions", "predict_labelled"]


class LabelledPredictions(NamedTuple):
    """Galaxies that have a prediction and labels, in one order.

    Args:
        galaxies: The galaxies.
        predicted: (galaxies, outputs).
        labels: (galaxies, label columns).
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
    """

    galaxies: Catalog
    predicted: np.ndarray
    labels: np.ndarray
    failures: pd.DataFrame


def predict_labelled(
    engine: Engine, model: Any, galaxies: Catalog, options: EngineOptions, *, save_loc: Path | None = None
) -> LabelledPredictions:
    """Predict labelled galaxies.

    Args:
        engine: The engine of the model.
        model: A trained model.
        galaxies: With the labels of the model's task.
        options: Batch size, threads, seed, progress.
        save_loc: Where the predictions are written too.

    Raises:
        CatalogError: If the galaxies have no labels.
        ImageError: If not one image could be read.
    """
    predictions = engine.predict.predict(
        galaxies,
        model,
        save_loc=save_loc,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        seed=options.seed,
        progress=options.progress,
    )
    rows = {galaxy: row for row, galaxy in enumerate(predictions.table["id_str"])}
    scored = galaxies.select([place for place, galaxy in enumerate(galaxies.ids) if galaxy in rows])
    if scored.labels is None:
        msg = f"{scored.name} has no labels to compare with"
        raise CatalogError(msg)
    values = predictions.table.drop(columns="id_str").to_numpy(dtype=np.float64)
    predicted = values[[rows[galaxy] for galaxy in scored.ids]]
    return LabelledPredictions(scored, predicted, scored.labels, predictions.failures)
