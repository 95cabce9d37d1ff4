"""What the `zoobot` command understands: all commands, under one parser."""

from __future__ import annotations

import argparse
from itertools import chain

from zoobot.cli import (
    choosing,
    describing,
    explaining,
    exploring,
    finding,
    learning,
    predicting,
    representing,
    scoring,
)
from zoobot.version import __version__

__all__ = ["COMMANDS", "build_parser"]

_DESCRIPTION = """\
Deep learning for galaxy morphology: finetune a pretrained model on your labels, score it, predict galaxies.

New here? `zoobot demo` simulates a small survey and does all of that with it, offline, in a few minutes.
Each command explains itself: `zoobot finetune --help`.
"""

_EPILOG = """\
examples:
  zoobot demo
  zoobot finetune --catalog rings.csv --labels ring --save-dir results/rings
  zoobot predict results/rings --catalog new.csv --save-loc results/new.parquet
  zoobot schemas gz_decals_dr5
"""

_GROUPS = (learning, predicting, scoring, explaining, choosing, representing, finding, exploring, describing)

#: Every command by its name, in the order of the help.
COMMANDS = {c.name: c for c in chain.from_iterable(group.COMMANDS for group in _GROUPS)}


class _CommandList(argparse.RawDescriptionHelpFormatter):
    """Help in which every command stands on the line of its meaning."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 4 + max(map(len, COMMANDS))  # argparse forgets that they are indented


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; what it parses names the command in `command`."""
    parser = argparse.ArgumentParser(
        prog="zoobot",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=_CommandList,
    )
    parser.add_argument("--version", action="version", version=f"zoobot {__version__}")
    parsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS.values():
        sub = parsers.add_parser(
            command.name,
            help=command.meaning,
            description=command.description or f"{command.meaning[0].upper()}{command.meaning[1:]}.",
            epilog=command.epilog,
            usage=command.usage,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=command.name)
        command.fill(sub)
    return parser
