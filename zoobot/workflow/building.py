"""From options to an engine's data module, model and trainer: the contract, spoken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared import schemas
from zoobot.shared.augment import Augmentation
from zoobot.shared.checkpoint import CONFIG_FILE
from zoobot.shared.errors import SchemaError
from zoobot.workflow.galaxies import read_classes, read_galaxies

if TYPE_CHECKING:
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.config import AugmentationOptions, FinetuneOptions, TaskOptions
    from zoobot.shared.engine import Engine, Trainer
    from zoobot.shared.schemas import Schema

__all__ = ["LabelledGalaxies", "build_galaxies", "build_model", "build_trainer", "read_schema"]


class LabelledGalaxies:
    """The catalogs of a run, read and labelled for its task.

    Args:
        options: What was asked.
    """

    def __init__(self, options: FinetuneOptions) -> None:
        self.schema = read_schema(options)
        self.label_cols: tuple[str, ...] = tuple(self.schema.label_cols) if self.schema else options.labels
        self.class_names: tuple[str, ...] | None = options.class_names
        sources = {"train": options.catalog, "val": options.val_catalog, "test": options.test_catalog}
        self.catalogs = {
            name: self._read(source, options) for name, source in sources.items() if source is not None
        }

    def _read(self, source: str, options: FinetuneOptions) -> Catalog:
        if options.task != "classification":
            return read_galaxies(source, options, label_cols=self.label_cols)
        galaxies, self.class_names = read_classes(
            read_galaxies(source, options), self.label_cols[0], self.class_names
        )
        return galaxies


def read_schema(options: TaskOptions) -> Schema | None:
    """The decision tree that was asked for, by name or from a YAML file; None if none was.

    Raises:
        SchemaError: If there is no such schema or file.
    """
    if options.schema is None:
        return None
    if options.schema.lower().endswith((".yaml", ".yml")):
        if options.legacy_schema:
            msg = f"legacy_schema is for the schemas that come with Zoobot, got the file {options.schema!r}"
            raise SchemaError(msg)
        return schemas.Schema.from_yaml(options.schema)
    return schemas.get(options.schema, legacy=options.legacy_schema)


def build_galaxies(engine: Engine, options: FinetuneOptions, labelled: LabelledGalaxies) -> Any:
    """The engine's data module of a run."""
    catalogs: dict[str, Any] = {f"{name}_catalog": catalog for name, catalog in labelled.catalogs.items()}
    if list(catalogs) == ["train_catalog"]:
        catalogs = {"catalog": catalogs["train_catalog"]}
    return engine.data.GalaxyDataModule(
        **catalogs,
        label_cols=labelled.label_cols,
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
        cache_dir=options.cache_dir,
    )


def _augmentation(options: AugmentationOptions) -> Augmentation | None:
    if not options.augment:
        return None
    names = ("rotate", "flip", "zoom", "shift", "erase_probability")
    return replace(Augmentation(), **{name: getattr(options, name) for name in names})


def build_model(engine: Engine, options: FinetuneOptions, labelled: LabelledGalaxies) -> Any:
    """The engine's model of a run, before its first step."""
    names = (
        "n_blocks",
        "lr_decay",
        "learning_rate",
        "weight_decay",
        "dropout_prob",
        "schedule",
        "warmup_epochs",
        "seed",
    )
    common: dict[str, Any] = {name: getattr(options, name) for name in names}
    common |= {"name": _encoder_name(options.encoder), "preprocessing": options.image_changes() or None}
    if options.loss is not None:
        common["loss"] = options.loss
    if labelled.schema is not None:
        return engine.finetune.FinetuneableZoobotTree(schema=labelled.schema, **common)
    common["label_cols"] = labelled.label_cols
    if options.task == "regression":
        return engine.finetune.FinetuneableZoobotRegressor(unit_interval=options.unit_interval, **common)
    weights = options.class_weights
    return engine.finetune.FinetuneableZoobotClassifier(
        class_names=labelled.class_names,
        multi_label=options.task == "multi-label",
        class_weights="balanced" if weights == ("balanced",) else weights,
        label_smoothing=options.label_smoothing,
        focal_gamma=options.focal_gamma,
        **common,
    )


def _encoder_name(name: str) -> str:
    """The encoder's name; the folder of a finetuning run stands for the checkpoint in it."""
    inner = Path(name).expanduser() / "checkpoint"
    return str(inner) if (inner / CONFIG_FILE).is_file() else name


def build_trainer(engine: Engine, options: FinetuneOptions) -> Trainer:
    """The engine's trainer of a run, which leaves its files in the run's folder."""
    return engine.finetune.get_trainer(
        Path(options.save_dir),
        max_epochs=options.max_epochs,
        patience=options.patience,
        accelerator=options.accelerator,
        devices=1,  # more would start this very run once more in each further process
        precision=options.precision,
        progress=options.progress,
        loggers=options.loggers,
    )
