"""A checkpoint of the public Zoobot converted to one of ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoobot.shared.checkpoint import CONFIG_FILE, write_checkpoint
from zoobot.shared.errors import ConfigError
from zoobot.shared.models.public_checkpoint import convert_checkpoint
from zoobot.workflow.reporting import Reported, quoted

if TYPE_CHECKING:
    from zoobot.options.convert import ConvertOptions


@dataclass(frozen=True, kw_only=True, repr=False)
class ConvertResult(Reported):
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

    def report(self) -> str:
        """What came out, as a text to read."""
        place = quoted(self.folder)
        lines = [f"{subject}: {fact}" for subject, fact in self.facts.items()]
        lines += [self.pixels, "  (others: --crop-fraction, --image-size-pix)", f"checkpoint: {self.folder}"]
        if self.predicts:
            lines.append("Next: predict with it, or finetune its encoder")
            lines.append(f"  zoobot predict {place} --catalog NEW.csv --save-loc new.parquet")
        else:
            lines.append("Next: finetune it")
        lines.append(
            f"  zoobot finetune --encoder {place} --catalog LABELS.csv --labels COLUMN --save-dir FOLDER"
        )
        return "\n".join(lines)


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
