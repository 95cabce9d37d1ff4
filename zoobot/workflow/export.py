"""Models in other forms: exported to one file that needs no engine, or converted from the public Zoobot's."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoobot.shared.checkpoint import CONFIG_FILE, write_checkpoint
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import ConfigError
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.models.public_checkpoint import convert_checkpoint

if TYPE_CHECKING:
    from zoobot.shared.config import ConvertOptions, ExportOptions

__all__ = ["ConvertResult", "ExportResult", "convert", "export"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What an export made.

    Args:
        save_loc: The file.
        columns: The columns that its model predicts.
        size_mb: How large it is, in millions of bytes.
    """

    save_loc: Path
    columns: list[str]
    size_mb: float


def export(options: ExportOptions) -> ExportResult:
    """Write a checkpoint's model to an ONNX file, once it predicts there what it does in the engine.

    Args:
        options: Everything that can be chosen.

    Raises:
        ZoobotError: If the checkpoint can't be used, the file exists, or the model can't be converted.
    """
    save_loc = Path(options.save_loc).expanduser()
    if save_loc.exists() and not options.overwrite:
        msg = f"{save_loc} exists: choose another --save-loc, or replace it with --overwrite"
        raise ConfigError(msg)
    checkpoint = find_checkpoint(options.checkpoint)
    engine = load_engine(options.backend)
    logger.info("Converting %s with the %s engine", checkpoint, options.backend)
    model = engine.checkpoint.load(checkpoint)
    path = engine.checkpoint.export(model, save_loc, views=options.views)
    return ExportResult(save_loc=path, columns=model.task.output_columns, size_mb=path.stat().st_size / 1e6)


@dataclass(frozen=True, kw_only=True)
class ConvertResult:
    """What a conversion made.

    Args:
        folder: The checkpoint's folder.
        facts: What was found in the file of its encoder and task, by subject.
        pixels: What it looks at, and why, in a few lines.
        predicts: Whether it is a whole model, or an encoder to finetune.
    """

    folder: Path
    facts: dict[str, str]
    pixels: str
    predicts: bool


def convert(options: ConvertOptions) -> ConvertResult:
    """Write a checkpoint of the public Zoobot as one of ours, which either engine reads.

    Args:
        options: Everything that can be chosen.

    Raises:
        ZoobotError: If the file can't be used, its architecture is not to be told, or the folder is taken.
    """
    folder = Path(options.save_dir).expanduser()
    if (folder / CONFIG_FILE).exists() and not options.overwrite:
        msg = f"{folder} holds a checkpoint: choose another --save-dir, or replace it with --overwrite"
        raise ConfigError(msg)
    converted = convert_checkpoint(
        options.checkpoint,
        architecture=options.architecture,
        label_cols=options.label_cols,
        class_names=options.class_names,
        image_size_pix=options.image_size_pix,
        crop_fraction=options.crop_fraction,
    )
    write_checkpoint(folder, converted.neutral)
    return ConvertResult(
        folder=folder,
        facts=converted.facts,
        pixels=converted.pixels,
        predicts=converted.neutral.head is not None,
    )
