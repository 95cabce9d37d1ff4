"""Catalogs as a run needs them: read, narrowed down, and with class names turned into numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot.shared.catalog import Catalog, encode_labels, join_catalogs, read_catalog
from zoobot.shared.catalogs.columns import split_selection, where_equal
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.models.weights import hash_model
from zoobot.shared.predicting.members import Fetch, Member, describe_origin
from zoobot.shared.predicting.rows import NOTHING_ASKED, Rows, RowTable
from zoobot.shared.predictions import Predictions, failure_table
from zoobot.shared.tasks import Task
from zoobot.shared.training.targets import usable_targets

if TYPE_CHECKING:
    import pandas as pd

    from zoobot.options.finetune import TargetOptions
    from zoobot.options.groups import EngineOptions, ImagePlaceOptions
    from zoobot.shared.catalog import Catalog, CatalogSource
    from zoobot.shared.engine import Engine, Model
    from zoobot.shared.training.feature_loader import FeatureLoader

# Predictions beside the labels of the same galaxies: what scoring and calibration begin with.


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
        raise CatalogError(f"{scored.name} has no labels to compare with")
    order = [rows[galaxy] for galaxy in scored.ids]
    columns = models[0].task.output_columns
    values = np.stack([part[columns].to_numpy(dtype=np.float64)[order] for part in samples])
    return LabelledPredictions(scored, values, scored.labels, predictions.failures)


def _predict_encoded(
    engine: Engine, model: Model, encoded: FeatureLoader, options: EngineOptions, save_loc: Path | None
) -> Predictions:
    """What `engine.predict.predict` gives of the galaxies whose features are known."""
    ids = encoded.known_ids()
    features = encoded.labelled()[0][: len(ids)]  # the plain view
    values = engine.represent.predict_features(features, model, seed=options.seed)
    failures = failure_table(encoded.failures)
    member = Member(model, _never_started, options.backend, lambda: hash_model(model.to_neutral()))
    rows, nothing = Rows([member], model.task, NOTHING_ASKED), RowTable(encoded.catalog, ())
    if save_loc is None:
        numbers = pd.DataFrame(values[0], columns=rows.numbers)
        table = pd.concat([numbers, rows.frame(ids, values, nothing)], axis=1)
        table.insert(0, "id_str", ids)
        return Predictions(table=table, failures=failures, save_loc=None)
    origin = describe_origin([member], encoded.catalog, n_samples=1)
    with rows.writer(save_loc, samples=False, metadata=origin) as writer:
        rows.write(writer, ids, values, nothing)
    return Predictions(failures=failures, save_loc=save_loc)


def _never_started(images: np.ndarray, remaining: int) -> Fetch:
    """There are no images to predict: the member stands for its model in the table's record."""
    raise NotImplementedError


def read_galaxies(
    source: CatalogSource,
    options: ImagePlaceOptions,
    *,
    label_cols: Sequence[str] = (),
    select: str | None = None,
) -> Catalog:
    """The galaxies of a table, a folder of images or archives of images, checked.

    Args:
        source: Whatever `read_catalog` takes.
        options: Names of the columns, and where the images are.
        label_cols: The columns that hold numbers to learn or to compare with.
        select: "COLUMN=VALUE" keeps the rows whose column holds that value.

    Raises:
        CatalogError: If the catalog can't be used, or no galaxy is left.
    """
    galaxies = read_catalog(source, label_cols=label_cols, **options.catalog_arguments())
    return galaxies if select is None else select_galaxies(galaxies, select)


def select_galaxies(galaxies: Catalog, select: str) -> Catalog:
    """The galaxies whose column holds a value, said as "COLUMN=VALUE".

    Raises:
        ConfigError: If `select` is not of that form.
        CatalogError: If the column is absent, or no galaxy has the value.
    """
    column, value = split_selection(select)
    if column not in galaxies.table:
        msg = f"--select: {galaxies.name} has no column {column!r}; it has {list(map(str, galaxies.table))}"
        raise CatalogError(msg)
    chosen = where_equal(galaxies.table[column], value)
    if not chosen.any():
        held = sorted(
            set(map(str, galaxies.table[column]))
        )  # empty cells are no texts, whatever pandas casts
        raise CatalogError(f"--select {select}: no galaxy has it; column {column!r} holds {held[:10]}")
    return galaxies.select(chosen)


def read_classes(
    galaxies: Catalog, column: str, class_names: Sequence[str] | None
) -> tuple[Catalog, tuple[str, ...]]:
    """The galaxies labelled by the number of their class, and the classes' names.

    Args:
        galaxies: The galaxies.
        column: Text, which names the classes; or whole numbers from 0, which `class_names` may name.
        class_names: The classes in order; None takes those that occur.

    Raises:
        CatalogError: If the column is absent.
        LabelError: If a class is missing or unknown.
    """
    if column not in galaxies.table:
        read_catalog(galaxies, label_cols=[column])  # raises, and says which columns are near
    if class_names is not None and _is_numbered(galaxies.table[column], class_names):
        return read_catalog(galaxies, label_cols=[column]), tuple(class_names)
    codes, names = encode_labels(galaxies.table, column, class_names=class_names)
    return galaxies.with_labels(codes, [column]), names


def _is_numbered(values: pd.Series, class_names: Sequence[str]) -> bool:
    """Whether a column holds the numbers of classes whose names are other words."""
    if getattr(values.dtype, "kind", "O") not in "biuf":
        return False
    return not {f"{number:g}" for number in values.dropna()} <= set(class_names)


def labelled_for(task: Task, galaxies: Catalog, targets: TargetOptions | None = None) -> Catalog:
    """The galaxies with the labels that a trained model's task is scored on, checked.

    Args:
        task: The model's.
        galaxies: The galaxies.
        targets: Which numbers are targets, if the task is regression.

    Raises:
        ConfigError: If missing values are named for a task that is no regression.
        CatalogError: If a label column is absent.
        LabelError: If a label is not what the task needs.
    """
    if task.predicts == "classes":
        galaxies, _ = read_classes(galaxies, task.label_cols[0], task.groups[0].answers)
    elif task.tree is not None:
        galaxies = join_catalogs([galaxies], task.tree)  # of several campaigns, a catalog may hold one
    else:
        galaxies = read_catalog(galaxies, label_cols=task.label_cols)
    if task.predicts == "numbers" and targets is not None:
        galaxies = usable_targets(
            {"catalog": galaxies},
            missing_values=targets.missing_values,
            suspect_targets=targets.suspect_targets,
            ask_about_ranges=False,
        )["catalog"]
    elif targets is not None and targets.missing_values:
        msg = f"--missing-values is for models of regression, but this one is of a {task.kind} task"
        raise ConfigError(msg)
    if galaxies.labels is not None:
        task.check_labels(galaxies.labels, galaxies.ids)
    return galaxies
