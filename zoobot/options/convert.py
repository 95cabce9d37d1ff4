"""The options of `zoobot convert`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.options.command import Command
from zoobot.shared.settings import Options, setting


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(Options):
    """Everything that `zoobot convert` can be told."""

    title: ClassVar[str] = "Conversion"

    checkpoint: str = setting(
        MISSING,
        "a .ckpt of the public Zoobot 2.x, or timm's weights alone (pytorch_model.bin)",
        metavar="FILE",
    )
    save_dir: str = setting(MISSING, "folder for the converted checkpoint", metavar="FOLDER")
    architecture: str | None = setting(
        None, "timm's name of the encoder's architecture, where the file does not tell it", metavar="NAME"
    )
    label_cols: tuple[str, ...] = setting(
        (), "label columns of a classifier or regressor; without it, as the file says", metavar="COLUMN"
    )
    class_names: tuple[str, ...] = setting((), "a name for each class, in order; without it, 0, 1, …")
    image_size_pix: int | None = setting(
        None, "side of the images it looks at; without it, 224 (or what its weights are made for)", at_least=1
    )
    crop_fraction: float | None = setting(
        None, "side of the central square it looks at; without it, the public Zoobot's 1/1.2", above=0
    )
    overwrite: bool = setting(False, "replace the checkpoint in --save-dir")


COMMAND = Command(
    name="convert",
    group="model",
    meaning="make a checkpoint of a .ckpt of the public Zoobot 2.x",
    options=ConvertOptions,
    epilog="""\
examples:
  zoobot convert old.ckpt --save-dir results/old
  zoobot convert old.ckpt --save-dir results/old --architecture resnet18 --label-cols ring
  zoobot predict results/old --catalog new.csv --save-loc results/new.parquet

Of the file, numbers and plain values are read, and nothing is run; neither PyTorch nor TensorFlow is needed.
""",
    usage="zoobot convert FILE --save-dir FOLDER [options]",
    place=("checkpoint", "FILE"),
)
