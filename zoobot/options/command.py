"""What a command of the command line is: its words, its help, its options."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import add_arguments

if TYPE_CHECKING:
    from zoobot.shared.settings import Options

#: What commands are for, in the order of the help.
GROUPS = {
    "learn": "teach a model",
    "predict": "predict galaxies with it",
    "judge": "judge it, and see why it says so",
    "choose": "choose galaxies to label",
    "look": "find galaxies, and look at them",
    "model": "models and trees",
}

_PLACE = "given_by_place"


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command: what `zoobot NAME --help` says, and which function of `zoobot.workflow` it is.

    Args:
        name: The word after `zoobot`.
        group: What it is for, among `GROUPS`.
        meaning: What it does, in a line of the list of commands.
        options: The dataclass whose fields are its options.
        description: The help above the options; without it, the meaning.
        epilog: The help below them: examples.
        usage: The first line of the help; without it, made from all options.
        place: An option that may also be given by place, first, and how help calls it.
        second_place: Another that may be given by place, after that.
        function: That of `zoobot.workflow`, where it is not called as the command.
        completed_by: Another, which gives the options, where a folder holds those that are not given anew.
    """

    name: str
    group: str
    meaning: str
    options: type[Options]
    description: str = ""
    epilog: str = ""
    usage: str | None = None
    place: tuple[str, str] | None = None
    second_place: tuple[str, str] | None = None
    function: str = ""
    completed_by: str = ""

    def fill(self, parser: argparse.ArgumentParser) -> None:
        """Give the command's parser its arguments."""
        for slot, (option, called) in self._places().items():
            parser.add_argument(slot, metavar=called, nargs="?", help=f"the same as --{option}")
        add_arguments(parser, self.options)
        files = parser.add_argument_group("Options in a file")
        files.add_argument(
            "--config",
            metavar="FILE",
            default=argparse.SUPPRESS,
            help="take options from a YAML file, or the run.json of another run; those given here come first",
        )
        files.add_argument(
            "--print-config",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print all options as such a YAML file, and do nothing else",
        )

    def read(self, given: dict[str, Any]) -> dict[str, Any]:
        """What was given, by name alone.

        Raises:
            ConfigError: If an option was given by place and by name.
        """
        given = dict(given)
        for slot, (option, called) in self._places().items():
            value = given.pop(slot, None)
            if value is not None and option in given:
                msg = f"the {called.lower()} was given twice: {value!r} and --{option} {given[option]!r}"
                raise ConfigError(msg)
            given |= {} if value is None else {option: value}
        return given

    def _places(self) -> dict[str, tuple[str, str]]:
        """The options that may be given by place, each with how help calls it, by the slots of the parser."""
        slots = ((_PLACE, self.place), (f"{_PLACE}_second", self.second_place))
        return {slot: place for slot, place in slots if place is not None}
