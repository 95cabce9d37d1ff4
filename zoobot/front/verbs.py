"""Every command of the command line as a function with the same options: `zoobot.finetune("rings.csv", …)`.

All are made of the commands' own records: a signature from the options, a docstring from the help.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, get_type_hints

from zoobot.front.results import Result
from zoobot.options import commands
from zoobot.options.command import Command
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Kind, brief, kinds_of
from zoobot.shared.speech import heard, in_keywords, speaking_python, spoken

if TYPE_CHECKING:
    from zoobot.shared.settings import Options

#: Options that take a table in memory, or images, where the command line takes a file.
_CATALOGS = ("catalog", "val_catalog", "test_catalog")

_CATALOG_TYPE = "str | PathLike | DataFrame | Table | images"

_COMMANDS = commands()


def work_of(command: Command, chosen: Mapping[str, Any], told: str) -> tuple[Options, Any]:
    """The options, and what a command's function in `zoobot.workflow` returns for them.

    Args:
        command: The command.
        chosen: What was chosen, by name.
        told: How the run was started, for its record.

    Raises:
        ZoobotError: If an option can't work, or whatever the function raises.
    """
    goes_on = chosen.get("resume", False) or command.completed_by
    fresh = None if goes_on else command.options.from_config(chosen)
    from zoobot import workflow  # late: refusals need not wait for it

    options: Options
    if fresh is not None:
        options = fresh
    elif command.completed_by:
        options = getattr(workflow, command.completed_by)(chosen)
    else:
        options = workflow.resumed_options(command.name, chosen)
    work = getattr(workflow, command.function or command.name)
    records = "command" in inspect.signature(work).parameters
    return options, work(options, command=told) if records else work(options)


def _verb(name: str) -> Callable[..., Any]:
    """The function of a command."""
    command = _COMMANDS[name]
    first = _given_by_place(command)

    def verb(*places: Any, **given: Any) -> Any:
        with speaking_python(command.options, given), heard():
            chosen = _chosen(command, places, given)
            options, made = work_of(command, chosen, _told(command, chosen))
            if made is None:  # of a run on many devices, the first process speaks
                return None
            sys.stdout.write(f"{spoken(made.report())}\n")
        return Result(name, options, made)

    verb.__name__ = verb.__qualname__ = name
    setattr(verb, "__signature__", _signature(command, first))  # noqa: B010
    verb.__doc__ = _docstring(command, first)
    return verb


def _given_by_place(command: Command) -> list[str]:
    """The options that are given by place, in their order."""
    if command.place is not None:
        return [place[0] for place in (command.place, command.second_place) if place is not None]
    return ["catalog"] if "catalog" in kinds_of(command.options) else []


def _chosen(command: Command, places: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, by name, as the dataclass of options takes it."""
    first, name = _given_by_place(command), command.name
    if len(places) > len(first):
        taken = f"{' and '.join(first)} by place, and the rest by name" if first else "all options by name"
        raise ConfigError(f"{name} takes {taken}; got {brief(places[-1])} by place")
    placed = dict(zip(first, places, strict=False))
    for option in placed:
        if option in given:
            raise ConfigError(
                f"{option} was given twice: {brief(placed[option])} and {option}={brief(given[option])}"
            )
    chosen = {**placed, **given}
    kinds = kinds_of(command.options)
    return {name: _as_option(name, value, kinds.get(name), chosen) for name, value in chosen.items()}


def _as_option(name: str, value: Any, kind: Kind | None, chosen: Mapping[str, Any]) -> Any:
    """A value, with a text in the place of what is in memory."""
    if isinstance(value, PathLike):
        return fspath(value)
    if name not in _CATALOGS or value is None or isinstance(value, str) or kind is None:
        return value
    from zoobot.shared.catalogs.given import as_option, is_table  # late: with it comes pandas

    columns = {column: chosen[column] for column in ("id_col", "file_col") if column in chosen}
    if kind.is_list and isinstance(value, (list, tuple)):
        if all(isinstance(one, (str, PathLike)) for one in value):
            return value
        if any(is_table(one) for one in value):
            return tuple(as_option(one, **columns) for one in value)
    return as_option(value, **columns)


def _told(command: Command, chosen: Mapping[str, Any]) -> str:
    """How a run was started, for its record."""
    words = ", ".join(f"{name}={value!r}" for name, value in chosen.items())
    return f"zoobot.{command.name}({words})"


def _signature(command: Command, first: list[str]) -> inspect.Signature:
    """What is given by place first, then what must be given, then the rest in the order of the help."""
    hints = get_type_hints(command.options)
    kinds = kinds_of(command.options)
    order = sorted(kinds.values(), key=lambda kind: (kind.name not in first, not kind.required))
    parameters = []
    for kind in order:
        by = inspect.Parameter.POSITIONAL_OR_KEYWORD if kind.name in first else inspect.Parameter.KEYWORD_ONLY
        default = inspect.Parameter.empty if kind.required else kind.default
        hint = _CATALOG_TYPE if kind.name in _CATALOGS else hints[kind.name]
        parameters.append(inspect.Parameter(kind.name, by, default=default, annotation=hint))
    return inspect.Signature(parameters)


def _docstring(command: Command, first: list[str]) -> str:
    """The command's help as a docstring."""
    described = command.description.strip() or f"{command.meaning[0].upper()}{command.meaning[1:]}."
    lines = [in_keywords(described, command.options), "", "Args:"]
    kinds = kinds_of(command.options)
    for kind in sorted(kinds.values(), key=lambda kind: (kind.name not in first, not kind.required)):
        said = in_keywords(kind.help, command.options)
        if kind.name in _CATALOGS:
            said += "; or a DataFrame, a table of astropy, or images in memory"
        lines += textwrap.wrap(
            f"{kind.name}: {said}.", 100, initial_indent="    ", subsequent_indent="        "
        )
    lines += [
        "",
        "Returns:",
        "    What it made: a `zoobot.front.results.Result`, which can `report()` what is printed.",
        "",
        "Raises:",
        "    ZoobotError: Before work starts, for anything that can be known before.",
    ]
    return "\n".join(lines)


anomalies = _verb("anomalies")
calibrate = _verb("calibrate")
campaign = _verb("campaign")
cite = _verb("cite")
convert = _verb("convert")
demo = _verb("demo")
detect = _verb("detect")
evaluate = _verb("evaluate")
explain = _verb("explain")
explore = _verb("explore")
export = _verb("export")
fetch = _verb("fetch")
finetune = _verb("finetune")
info = _verb("info")
loop = _verb("loop")
merge = _verb("merge")
predict = _verb("predict")
prioritise = _verb("prioritise")
push = _verb("push")
rate = _verb("rate")
reduce = _verb("reduce")
represent = _verb("represent")
schemas = _verb("schemas")
similar = _verb("similar")
status = _verb("status")
train = _verb("train")
votes = _verb("votes")
