"""The options of `zoobot info`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.options.command import Command
from zoobot.shared.settings import Options, setting


@dataclass(frozen=True, kw_only=True)
class InfoOptions(Options):
    """Everything that `zoobot info` can be told."""

    title: ClassVar[str] = "Model"

    checkpoint: str = setting(
        MISSING,
        "a checkpoint's folder, the run's, a bundled name, or a file of `zoobot export`",
        metavar="MODEL",
    )


COMMAND = Command(
    name="info",
    group="model",
    meaning="say what a checkpoint holds: encoder, task, pixels, training",
    options=InfoOptions,
    usage="zoobot info CHECKPOINT",
    place=("checkpoint", "CHECKPOINT"),
)
