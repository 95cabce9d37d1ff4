"""What a command of the command line is: its words, its help, and what it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import add_arguments

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from zoobot.shared.settings import Options

__all__ = ["Command"]

_PLACE = "given_by_place"


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command.

    Args:
        name: The word after `zoobot`.
        meaning: What it does, in a line of the list of commands.
        run: Takes what was given, and the whole command as typed.
        options: The dataclass whose fields are its options.
        description: The help above the options; without it, the meaning.
        epilog: The help below them: examples.
        usage: The first line of the help; without it, made from all options.
        place: An option that may also be given by place, first, and how help calls it.
        add_more: Adds arguments that no dataclass has.
    """

    name: str
    meaning: str
    run: Callable[[dict[str, Any], str], None]
    options: type[Options] | None = None
    description: str = ""
    epilog: str = ""
    usage: str | None = None
    place: tuple[str, str] | None = None
    add_more: Callable[[argparse.ArgumentParser], None] | None = None

    def fill(self, parser: argparse.ArgumentParser) -> None:
        """Give the command's parser its arguments."""
        if self.place is not None:
            option, called = self.place
            parser.add_argument(_PLACE, metavar=called, nargs="?", help=f"the same as --{option}")
        if self.options is not None:
            add_arguments(parser, self.options)
        if self.add_more is not None:
            self.add_more(parser)

    def read(self, given: dict[str, Any]) -> dict[str, Any]:
        """What was given, by name alone.

        Raises:
            ConfigError: If an option was given by place and by name.
        """
        given = dict(given)
        value = given.pop(_PLACE, None)
        if self.place is None or value is None:
            return given
        option, called = self.place
        if option in given:
            msg = f"the {called.lower()} was given twice: {value!r} and --{option} {given[option]!r}"
            raise ConfigError(msg)
        return {**given, option: value}
