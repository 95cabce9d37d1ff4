"""What the `zoobot` command understands: all commands, under one parser."""

from __future__ import annotations

import argparse

from zoobot.options import commands
from zoobot.options.command import GROUPS
from zoobot.version import __version__

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

Every command takes its options from a file, too: --config FILE (YAML, or the run.json of another run), and
writes one: --print-config.
"""

#: Every command by its name, in the order of the help.
COMMANDS = commands()

#: The shells that `--print-completion` knows.
SHELLS = ("bash", "zsh", "tcsh")


def build_parser(*, for_shells: bool = False) -> argparse.ArgumentParser:
    """The parser of the whole command line; what it parses names the command in `command`.

    Args:
        for_shells: Whether it is to describe completion; else the description alone lists the commands.
    """
    parser = argparse.ArgumentParser(
        prog="zoobot",
        usage="zoobot [-h] [--version] COMMAND …",
        description=f"{_DESCRIPTION}\n{_list_commands()}",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"zoobot {__version__}")
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        metavar="SHELL",
        help=f"print what completes commands and options in a shell: {', '.join(SHELLS)}",
    )
    parsers = parser.add_subparsers(
        prog="zoobot", metavar="COMMAND", help="what to do" if for_shells else argparse.SUPPRESS
    )
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


def _list_commands() -> str:
    """A line for every command, under what it is for."""
    width = max(map(len, COMMANDS))
    lines = []
    for group, meaning in GROUPS.items():
        lines += ["", f"{meaning}:"]
        lines += [f"  {c.name:<{width}}  {c.meaning}" for c in COMMANDS.values() if c.group == group]
    return "\n".join(lines[1:])
