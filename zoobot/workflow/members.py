"""What is known of galaxies that may be labelled: what the members of an ensemble say, and features."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot.choosing.rules import Rule
from zoobot.shared import defaults, tasks
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import CatalogError, PredictionsError
from zoobot.shared.models.encoder_source import tell_pixels
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.pixels.first_images import read_otherwise
from zoobot.shared.predicting.members import shared_task
from zoobot.shared.predictions import read_prediction_metadata, read_samples
from zoobot.shared.preprocessing import Preprocessing
from zoobot.workflow.represent import load_told_encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoobot.options.groups import EngineOptions
    from zoobot.options.prioritise import PrioritiseOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.engine import Engine
    from zoobot.shared.features.tables import FeatureTable
    from zoobot.shared.tasks import Task

logger = logging.getLogger("zoobot")


class Members(NamedTuple):
    """What is known of galaxies that may be labelled.

    Attributes:
        task: What was predicted; None where nothing was.
        ids: The galaxies, in the order of the catalog.
        predictions: (samples, galaxies, outputs); no outputs where nothing was predicted.
        features: (galaxies, features); None where nobody encoded them.
        labelled: Features of galaxies that are labelled already; None without any.
        preprocessing: How images are read; None where a table of predictions does not say.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
    """

    task: Task | None
    ids: list[str]
    predictions: NDArray
    features: NDArray | None
    labelled: NDArray | None
    preprocessing: Preprocessing | None
    failures: pd.DataFrame


def ask_models(galaxies: Catalog, labelled: Catalog, options: PrioritiseOptions) -> Members:
    """Encode galaxies, and predict them by every member.

    Args:
        galaxies: Those that may be labelled.
        labelled: Those that are; they are encoded, to keep away from.
        options: Models, samples, seed.

    Raises:
        CheckpointError: If a folder holds no model.
        ConfigError: If the models predict different things.
        ImageError: If not one image could be read.
    """
    engine = load_engine(options.backend)
    places = [find_checkpoint(place) for place in (str(options.checkpoint), *options.ensemble)]
    models = [engine.checkpoint.load(place) for place in places]
    for model in models:
        read_otherwise(model, options.image_changes())
    task = shared_task([model.task for model in models])
    check_rule(task, options)
    n_samples = options.n_samples or (1 if options.ensemble else defaults.ACQUISITION_SAMPLES)
    logger.info("Encoding %s galaxies of %s", f"{len(galaxies):,}", galaxies.name)
    tell_pixels(*models)
    found = [represent_galaxies(engine, model, galaxies, options) for model in models]
    read = set.intersection(*(set(one.ids) for one in found))
    ids = [galaxy for galaxy in galaxies.ids if galaxy in read]
    features = [_rows(one, ids) for one in found]
    predictions = [
        engine.represent.predict_features(own, model, n_samples=n_samples, seed=options.seed + number)
        for number, (own, model) in enumerate(zip(features, models, strict=True))
    ]
    away = represent_galaxies(engine, models[0], labelled, options).features if len(labelled) else None
    return Members(
        task=task,
        ids=ids,
        predictions=np.concatenate(predictions),
        features=features[0],
        labelled=away,
        preprocessing=models[0].preprocessing,
        failures=pd.concat([one.failures for one in found]).drop_duplicates("id_str", ignore_index=True),
    )


def encode_alone(galaxies: Catalog, labelled: Catalog, options: PrioritiseOptions) -> Members:
    """Encode galaxies for a choice that asks no model what it expects of them: any encoder will do.

    Args:
        galaxies: Those that may be labelled.
        labelled: Those that are; they are encoded, to keep away from.
        options: The encoder.

    Raises:
        EncoderError: If there is no such encoder.
        ImageError: If not one image could be read.
    """
    engine = load_engine(options.backend)
    logger.info("Encoding %s galaxies of %s", f"{len(galaxies):,}", galaxies.name)
    encoder = load_told_encoder(engine, str(options.checkpoint), options)
    found = represent_galaxies(engine, encoder, galaxies, options)
    return Members(
        task=None,
        ids=found.ids,
        predictions=np.zeros((1, len(found.ids), 0)),
        features=found.features,
        labelled=represent_galaxies(engine, encoder, labelled, options).features if len(labelled) else None,
        preprocessing=encoder.preprocessing,
        failures=found.failures,
    )


def read_table(
    galaxies: Catalog, labelled: Catalog, options: PrioritiseOptions, *, needs_features: bool
) -> Members:
    """Read what was predicted of galaxies; encode them only if they are to be kept apart.

    Args:
        galaxies: Those that may be labelled.
        labelled: Those that are.
        options: The table, and the model that encodes.
        needs_features: Whether galaxies are encoded.

    Raises:
        PredictionsError: If the table can't be used, or does not say of which task it is and no model does.
        CatalogError: If it has none of the galaxies.
        CheckpointError: If there is no model to encode with.
    """
    table = str(options.predictions)
    facts = read_prediction_metadata(table)
    engine = model = None
    if needs_features or "task" not in facts:
        if options.checkpoint is None:
            msg = f"{table} does not say of which task it is: give the model that predicted it (--checkpoint)"
            raise PredictionsError(msg)
        place = find_checkpoint(options.checkpoint)
        engine = load_engine(options.backend)
        model = engine.checkpoint.load(place)
        read_otherwise(model, options.image_changes())
    task = model.task if model is not None else tasks.from_config(facts["task"])
    check_rule(task, options)
    blocks = list(read_samples(table, task.output_columns))
    row = {galaxy: row for row, galaxy in enumerate(galaxy for ids, _ in blocks for galaxy in ids)}
    ids = [galaxy for galaxy in galaxies.ids if galaxy in row]
    if not ids:
        msg = f"{table} has predictions of none of the {len(galaxies):,} galaxies of {galaxies.name}"
        raise CatalogError(msg)
    if len(ids) < len(galaxies):
        logger.warning("%s galaxies have no prediction and are left out", f"{len(galaxies) - len(ids):,}")
    features = away = None
    failures = pd.DataFrame(columns=["id_str", "file_loc", "reason"])
    if needs_features and engine is not None and model is not None:
        wanted = set(ids)
        known = galaxies.select([place for place, one in enumerate(galaxies.ids) if one in wanted])
        encoded = represent_galaxies(engine, model, known, options)
        ids, features, failures = encoded.ids, encoded.features, encoded.failures
        away = represent_galaxies(engine, model, labelled, options).features if len(labelled) else None
    values = np.concatenate([values for _, values in blocks], axis=1)
    return Members(
        task=task,
        ids=ids,
        predictions=values[:, [row[galaxy] for galaxy in ids]],
        features=features,
        labelled=away,
        preprocessing=_stored_preprocessing(facts) if model is None else model.preprocessing,
        failures=failures,
    )


def represent_galaxies(engine: Engine, model: Any, galaxies: Catalog, options: EngineOptions) -> FeatureTable:
    """Features of galaxies, by the batch size and threads that were chosen."""
    return engine.represent.represent(
        galaxies,
        model,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        progress=options.progress,
    )


def _rows(found: FeatureTable, ids: list[str]) -> NDArray:
    if found.ids == ids:
        return found.features
    row = {galaxy: row for row, galaxy in enumerate(found.ids)}
    return found.features[[row[galaxy] for galaxy in ids]]


def _stored_preprocessing(facts: dict[str, Any]) -> Preprocessing | None:
    """The record that a table of predictions keeps; of several, the first."""
    config = facts.get("preprocessing")
    config = config[0] if isinstance(config, list) else config
    return None if config is None else Preprocessing.from_config(config)


def rule_of(options: PrioritiseOptions) -> Rule | None:
    """The rule that was asked for; None where a score chooses."""
    if options.answer is None:
        return None
    return Rule(
        answer=options.answer,
        fraction=options.fraction,
        probability=options.probability or defaults.RULE_PROBABILITY,
        random_share=options.random_share or 0.0,
    )


def check_rule(task: Task, options: PrioritiseOptions) -> None:
    """Raise a `ConfigError` if the rule is not one for this task."""
    rule = rule_of(options)
    if rule is not None:
        rule.find_output(task)
