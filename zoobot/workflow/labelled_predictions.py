"""Predictions beside the labels of the same galaxies: what scoring and calibration begin with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot.shared.errors import CatalogError
from zoobot.shared.models.hash import hash_model
from zoobot.shared.predicting.members import Fetch, Member, describe_origin
from zoobot.shared.predicting.writer import PredictionWriter
from zoobot.shared.predictions import Predictions, failure_table

if TYPE_CHECKING:
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.config import EngineOptions
    from zoobot.shared.engine import Engine
    from zoobot.shared.training.feature_loader import FeatureLoader

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
    encoded: FeatureLoader | None = None,
) -> LabelledPredictions:
    """Predict labelled galaxies.

    Args:
        engine: The engine of the model.
        models: Trained models of one task: one, or the members of an ensemble.
        galaxies: With the labels of that task.
        options: Batch size, threads, seed, progress.
        n_samples: More than 1 samples each model's dropout.
        save_loc: Where the predictions are written too.
        encoded: The galaxies' features, where training has them, for one model and one sample: no image is
            read again.

    Raises:
        CatalogError: If the galaxies have no labels.
        ImageError: If not one image could be read.
    """
    if encoded is not None:
        predictions = _predict_encoded(engine, models[0], encoded, options, save_loc)
    else:
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


def _predict_encoded(
    engine: Engine, model: Any, encoded: FeatureLoader, options: EngineOptions, save_loc: Path | None
) -> Predictions:
    """What `engine.predict.predict` gives of the galaxies whose features are known."""
    ids = encoded.known_ids()
    features = encoded.labelled()[0][: len(ids)]  # the plain view
    values = engine.represent.predict_features(features, model, seed=options.seed)
    columns, failures = model.task.output_columns, failure_table(encoded.failures)
    if save_loc is None:
        table = pd.DataFrame(values[0], columns=columns)
        table.insert(0, "id_str", ids)
        return Predictions(table=table, failures=failures, save_loc=None)
    member = Member(model, _never_started, options.backend, lambda: hash_model(model.to_neutral()))
    origin = describe_origin([member], encoded.catalog, n_samples=1)
    with PredictionWriter(save_loc, columns, metadata=origin, dtype=model.task.stored_as) as writer:
        writer.write_samples(ids, values)
    return Predictions(failures=failures, save_loc=save_loc)


def _never_started(images: np.ndarray, remaining: int) -> Fetch:
    """There are no images to predict: the member stands for its model in the table's record."""
    raise NotImplementedError
