"""The options of `zoobot demo`, and its words on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoobot.options.command import Command
from zoobot.options.groups import (
    EngineOptions,
    FigureOptions,
)
from zoobot.shared import defaults
from zoobot.shared.settings import setting


@dataclass(frozen=True, kw_only=True)
class DemoOptions(EngineOptions, FigureOptions):
    """Everything that `zoobot demo` can be told."""

    title: ClassVar[str] = "Demo"

    save_dir: str = setting(
        "results/demo", "folder for the survey, the model and the pictures", metavar="FOLDER"
    )
    n_galaxies: int = setting(1000, "simulated galaxies", at_least=30)
    image_size_pix: int = setting(128, "side of the images and of the network input", at_least=32)
    encoder: str = setting(defaults.ENCODER, "pretrained encoder, as in `zoobot finetune`", metavar="NAME")
    n_blocks: int | Literal["all"] = setting(3, "encoder blocks that learn, from the top", at_least=0)
    max_epochs: int = setting(12, "passes over the training galaxies", at_least=1)
    learning_rate: float = setting(1e-3, "largest step, for the head", above=0)
    batch_size: int = setting(32, "galaxies in one step", at_least=1)


COMMAND = Command(
    name="demo",
    group="learn",
    meaning="simulate a survey, finetune, score and predict: the whole job, offline",
    options=DemoOptions,
)
