"""The options of `zoobot status`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.options.command import Command
from zoobot.shared.settings import Options, setting


@dataclass(frozen=True, kw_only=True)
class StatusOptions(Options):
    """Everything that `zoobot status` can be told."""

    title: ClassVar[str] = "Folder of parts"

    folder: str = setting(
        MISSING, "the --save-loc of `zoobot predict` or `zoobot represent`", metavar="FOLDER"
    )
    shards: int | None = setting(None, "say which of N shards have parts missing", at_least=1)


COMMAND = Command(
    name="status",
    group="predict",
    meaning="say how far a prediction into a folder of parts is, what failed, and how to go on",
    options=StatusOptions,
    usage="zoobot status FOLDER [--shards N]",
    place=("folder", "FOLDER"),
    epilog="""\
examples:
  zoobot status results/survey
  zoobot status results/survey --shards 8
""",
)
