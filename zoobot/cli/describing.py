"""Commands that describe trees and checkpoints: schemas, info."""

from __future__ import annotations

import argparse
from typing import Any

from zoobot.cli.command import Command
from zoobot.cli.saying import say
from zoobot.shared.errors import ConfigError

__all__ = ["COMMANDS"]

_SCHEMAS_EPILOG = """\
examples:
  zoobot schemas                             list them
  zoobot schemas gz2                         draw one
  zoobot schemas gz2 --yaml my_tree.yaml     write one to a file, to change it
  zoobot schemas --yaml my_tree.yaml         check and draw a file
"""


def _schemas(given: dict[str, Any], command: str) -> None:
    from zoobot.shared import schemas

    name, file = given["name"], given["yaml"]
    if name is None and file is None:
        width = max(map(len, schemas.names()))
        say(*(f"{n:<{width}}  {schemas.describe(n)}" for n in schemas.names()))
        return
    if name is None:
        if given["legacy"]:
            msg = "--legacy is for the trees that come with Zoobot: give a name"
            raise ConfigError(msg)
        say(schemas.Schema.from_yaml(file).draw())
        return
    schema = schemas.get(name, legacy=given["legacy"])
    if file is None:
        say(schema.draw())
    else:
        schema.to_yaml(file)
        say(f"wrote {schema.name} to {file}")


def _info(given: dict[str, Any], command: str) -> None:
    from zoobot.workflow.info import describe_checkpoint

    say(describe_checkpoint(given["checkpoint"]))


def _add_schemas(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="the tree to draw")
    parser.add_argument(
        "--legacy", action="store_true", help="with its dependencies as once published, errors included"
    )
    parser.add_argument(
        "--yaml", metavar="FILE", help="with a name, write its tree there; without, draw that file's"
    )


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="the checkpoint's folder, or the run's")


COMMANDS = (
    Command(
        name="schemas",
        meaning="list Galaxy Zoo's decision trees, or draw one",
        run=_schemas,
        epilog=_SCHEMAS_EPILOG,
        add_more=_add_schemas,
    ),
    Command(
        name="info",
        meaning="say what a checkpoint holds: encoder, task, pixels, training",
        run=_info,
        add_more=_add_info,
    ),
)
