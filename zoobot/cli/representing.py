"""Commands on what an encoder makes of galaxies: represent."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from zoobot.cli.command import Command
from zoobot.cli.saying import failure_lines, say
from zoobot.shared import config

__all__ = ["COMMANDS"]

_REPRESENT_DESCRIPTION = """\
What an encoder makes of every galaxy: its features, for similarity, clustering, or a model of your own.

The table has a row for each galaxy: id_str, feature_0000, feature_0001 … In Python,
zoobot.shared.feature_tables.read_features reads it.
"""

_REPRESENT_EPILOG = """\
examples:
  zoobot represent zoobot-mini --catalog new.csv --save-loc results/features.parquet
  a whole survey, into a folder: give the same command again after a kill, and it goes on
    zoobot represent results/rings --catalog survey.parquet --save-loc results/features --dtype float16
  the same by eight jobs at once, of which this is the third
    zoobot represent results/rings --catalog survey.parquet --save-loc results/features --shard 3/8
  an encoder without any training on galaxies; the features of a lower block
    zoobot represent imagenet-lite0 --catalog new.csv --save-loc imagenet.parquet
    zoobot represent zoobot-mini --block stages.2 --catalog new.csv --save-loc lower.parquet

An image that can't be read is listed in NAME.failures.csv, or in the folder's _failures, and the run goes on.
"""


def _represent(given: dict[str, Any], command: str) -> None:
    options = config.RepresentOptions.from_config(given)
    from zoobot import workflow

    result = workflow.represent(options, command=command)
    say(f"features of {result.galaxies:,} galaxies: {result.save_loc}")
    is_folder = result.save_loc.is_dir()
    listed = result.save_loc / "_failures" if is_folder else result.save_loc.with_suffix(".failures.csv")
    say(*failure_lines(result.failures, listed, count=result.failed))
    if result.missing_parts:
        say(*_missing(result.save_loc, result.missing_parts))


def _missing(folder: Path, parts: int) -> list[str]:
    return [
        f"{parts:,} parts are still missing; how far is it?",
        f"  zoobot status {shlex.quote(str(folder))}",
    ]


COMMANDS = (
    Command(
        name="represent",
        meaning="write an encoder's features of the galaxies of a catalog",
        run=_represent,
        options=config.RepresentOptions,
        description=_REPRESENT_DESCRIPTION,
        epilog=_REPRESENT_EPILOG,
        usage="zoobot represent MODEL --catalog FILE --save-loc FILE [options]",
        place=("checkpoint", "MODEL"),
    ),
)
