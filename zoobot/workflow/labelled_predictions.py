"""Predictions beside the labels of the same galaxies: what scoring and calibration begin with."""

from __future__ import annotations

from collections.abc import Sequence
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
        samples: (samples, galaxies, outputs); one sample unless dropout or an ensemble gives more.
        labels: (galaxies, label columns).
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
    """

    galaxies: Catalog
    samples: np.ndarray
    labels: np.ndarray
    failures: pd.DataFrame


def predict_labelled(
    engine: Engine,
    models: Sequence[Any],
    galaxies: Catalog,
    options: EngineOptions,
    *,
    n_samples: int = 1,
    save_loc: Path | None = None,
) -> LabelledPredictions:
    """Predict labelled galaxies.

    Args:
        engine: The engine of the model.
        models: Trained models of one task: one, or the members of an ensemble.
        galaxies: With the labels of that task.
        options: Batch size, threads, seed, progress.
        n_samples: More than 1 samples each model's dropout.
        save_loc: Where the predictions are written too.

    Raises:
        CatalogError: If the galaxies have no labels.
        ImageError: If not one image could be read.
    """
    predictions = engine.predict.predict(
        galaxies,
        list(models),
        save_loc=save_loc,
        n_samples=n_samples,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        seed=options.seed,
        progress=options.progress,
    )
    table = predictions.table
    samples = [table] if "sample" not in table else [part for _, part in table.groupby("sample")]
    rows = {galaxy: row for row, galaxy in enumerate(samples[0]["id_str"])}
    scored = galaxies.select([place for place, galaxy in enumerate(galaxies.ids) if galaxy in rows])
    if scored.labels is None:
        msg = f"{scored.name} has no labels to compare with"
        raise CatalogError(msg)
    order = [rows[galaxy] for galaxy in scored.ids]
    columns = models[0].task.output_columns
    values = np.stack([part[columns].to_numpy(dtype=np.float64)[order] for part in samples])
    return LabelledPredictions(scored, values, scored.labels, predictions.failures)
