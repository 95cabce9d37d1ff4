"""From options to an engine's data module, model and trainer: the contract, spoken."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from zoobot.options.finetune import FinetuneOptions
from zoobot.options.train import TrainOptions
from zoobot.shared import schemas
from zoobot.shared.augment import Augmentation
from zoobot.shared.catalog import join_catalogs
from zoobot.shared.checkpoint import CONFIG_FILE
from zoobot.shared.errors import SchemaError
from zoobot.shared.tasks import class_of, tree_task
from zoobot.shared.training.finetune_settings import LearningSettings, TrainerSettings
from zoobot.shared.training.targets import refuse_measurements
from zoobot.workflow.galaxies import read_classes, read_galaxies, select_galaxies

if TYPE_CHECKING:
    from zoobot.options.groups import AugmentationOptions, SplitOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.engine import Engine, Model, Trainer
    from zoobot.shared.galaxy_data import GalaxyData
    from zoobot.shared.schemas import Schema
    from zoobot.shared.tasks import Task

logger = logging.getLogger("zoobot")

#: The column that says how large pixels are, as `zoobot fetch` writes it, and the record that keeps it.
_SCALE, _LARGEST_SCALE = "pixel_scale_arcsec", 3600


@dataclass(frozen=True)
class LabelledGalaxies:
    """The catalogs of a run, read and labelled for its task.

    Args:
        catalogs: "train", and "val" and "test" where they were given.
        task: What is learned.
    """

    catalogs: dict[str, Catalog]
    task: Task


def read_labelled(options: FinetuneOptions | TrainOptions) -> LabelledGalaxies:
    """The catalogs that a run was told of.

    Raises:
        ZoobotError: If a catalog, a label or the schema can't be used.
    """
    if isinstance(options, TrainOptions):
        return _read_campaigns(options)
    task_class = class_of(options.kind)
    sources = _sources(options.catalog, options)
    if task_class.predicts == "classes":
        catalogs, names = _read_classes(sources, options)
        return LabelledGalaxies(catalogs, task_class.of_columns(options.labels, class_names=names))
    schema = None if options.schema is None else read_schema(options.schema, legacy=options.legacy_schema)
    task = task_class.of_columns(options.labels, schema=schema, unit_interval=options.unit_interval)
    catalogs = {
        part: read_galaxies(source, options, label_cols=task.label_cols, select=_selection(part, options))
        for part, source in sources.items()
    }
    return LabelledGalaxies(catalogs, task)


def _read_classes(
    sources: dict[str, str], options: FinetuneOptions
) -> tuple[dict[str, Catalog], tuple[str, ...] | None]:
    """The catalogs, and the classes: the training galaxies name them, if the user did not."""
    names = options.class_names
    catalogs = {}
    column = options.labels[0]
    for part, source in sources.items():
        galaxies = read_galaxies(source, options, select=_selection(part, options))
        if options.may_be_measured and column in galaxies.table:
            refuse_measurements(galaxies.table[column], column, galaxies.name)
        catalogs[part], names = read_classes(galaxies, column, names)
    return catalogs, names


def _read_campaigns(options: TrainOptions) -> LabelledGalaxies:
    read = [read_schema(name, legacy=options.legacy_schema) for name in options.schema]
    schema = read[0] if len(read) == 1 else schemas.join(read)
    columns = options.catalog_arguments()
    parts = _sources(options.catalog, options)
    catalogs = {
        part: join_catalogs((source,) if isinstance(source, str) else source, schema, **columns)
        for part, source in parts.items()
    }
    if options.select is not None:
        catalogs["train"] = select_galaxies(catalogs["train"], options.select)
    return LabelledGalaxies(catalogs, tree_task(schema))


def _selection(part: str, options: SplitOptions) -> str | None:
    """--select is of --catalog: the others are chosen by their files."""
    return options.select if part == "train" else None


def _sources(catalog: Any, options: SplitOptions) -> dict[str, Any]:
    sources = {"train": catalog, "val": options.val_catalog, "test": options.test_catalog}
    return {part: source for part, source in sources.items() if source is not None}


def read_schema(name: str, *, legacy: bool = False) -> Schema:
    """A decision tree by name, or from a YAML file.

    Raises:
        SchemaError: If there is no such schema or file.
    """
    if name.lower().endswith((".yaml", ".yml")):
        if legacy:
            msg = f"legacy_schema is for the schemas that come with Zoobot, got the file {name!r}"
            raise SchemaError(msg)
        return schemas.Schema.from_yaml(name)
    return schemas.get(name, legacy=legacy)


def build_galaxies(
    engine: Engine, options: FinetuneOptions | TrainOptions, labelled: LabelledGalaxies
) -> GalaxyData:
    """The engine's data module of a run."""
    catalogs: dict[str, Any] = {f"{name}_catalog": catalog for name, catalog in labelled.catalogs.items()}
    if list(catalogs) == ["train_catalog"]:
        catalogs = {"catalog": catalogs["train_catalog"]}
    return engine.data.GalaxyDataModule(
        **catalogs,
        label_cols=labelled.task.label_cols,
        split=options.split,
        split_column=options.split_column,
        ra_col=options.ra_col,
        dec_col=options.dec_col,
        val_fraction=options.val_fraction,
        test_fraction=options.test_fraction,
        batch_size=options.batch_size,
        augmentation=_augmentation(options),
        num_workers=options.num_workers,
        seed=options.seed,
        **_target_arguments(options),
        cache_dir=options.cache_dir,
    )


def _target_arguments(options: FinetuneOptions | TrainOptions) -> dict[str, Any]:
    if isinstance(options, TrainOptions):
        return {}
    return {"missing_values": options.missing_values, "suspect_targets": options.suspect_targets}


def _augmentation(options: AugmentationOptions) -> Augmentation | None:
    if not options.augment:
        return None
    names = [field.name for field in fields(Augmentation)]
    return replace(Augmentation(), **{name: getattr(options, name) for name in names})


def build_model(engine: Engine, options: FinetuneOptions | TrainOptions, labelled: LabelledGalaxies) -> Model:
    """The engine's model of a run, before its first step."""
    names = ["seed", *(field.name for field in fields(LearningSettings))]
    common: dict[str, Any] = {name: getattr(options, name) for name in names}
    common |= {"name": _encoder_name(options.encoder), "preprocessing": _pixels(options, labelled) or None}
    if isinstance(options, TrainOptions):
        return engine.models.ZoobotTree(**labelled.task.model_options, **common)
    if options.loss is not None:
        common["loss"] = options.loss
    for name in labelled.task.loss_options:
        value = getattr(options, name)
        common[name] = "balanced" if value == ("balanced",) else value
    return getattr(engine.finetune, labelled.task.model)(**labelled.task.model_options, **common)


def _pixels(options: FinetuneOptions | TrainOptions, labelled: LabelledGalaxies) -> dict[str, Any]:
    """How images are read otherwise than the encoder's record says; the catalog may know their pixels."""
    changes = options.image_changes()
    table = labelled.catalogs["train"].table
    if _SCALE in table.columns and _SCALE not in changes:
        scales = pd.to_numeric(table[_SCALE], errors="coerce").astype(float).unique()
        if len(scales) == 1 and 0 < scales[0] < _LARGEST_SCALE:
            changes[_SCALE] = float(scales[0])
            logger.info("pixels of the original images: %g arcsec, as the catalog says", scales[0])
    return changes


def _encoder_name(name: str) -> str:
    """The encoder's name; the folder of a finetuning run stands for the checkpoint in it."""
    inner = Path(name).expanduser() / "checkpoint"
    return str(inner) if (inner / CONFIG_FILE).is_file() else name


def build_trainer(engine: Engine, options: FinetuneOptions | TrainOptions) -> Trainer:
    """The engine's trainer of a run, which leaves its files in the run's folder."""
    names = [field.name for field in fields(TrainerSettings)]
    names += ["accelerator", "devices", "precision", "progress"]
    return engine.finetune.get_trainer(
        Path(options.save_dir).expanduser(), **{name: getattr(options, name) for name in names}
    )
