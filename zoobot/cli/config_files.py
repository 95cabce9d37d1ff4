"""Options in a file, for `--config` and `--print-config`: YAML, or the run.json of another run."""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared.errors import ConfigError
from zoobot.shared.public_names import unknown_option
from zoobot.shared.settings import kinds_of
from zoobot.shared.trees.text import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoobot.options.command import Command
    from zoobot.shared.settings import Kind, Options

#: What a run was told of its folder holds for that run alone.
_PASSING = ("resume", "overwrite")


def read_config_file(path: str, command: Command) -> dict[str, Any]:
    """The options of a command in a file, by name; what it does not say is absent.

    Args:
        path: YAML with a line for each option, such as `n-blocks: 2`; or the run.json, or NAME.run.json, that
            a run of the same command left.
        command: The command that is to run.

    Raises:
        ConfigError: If the file can't be read, is of another command, or names what is no option.
    """
    written = _read_record(path) if path.endswith(".json") else None
    if written is None:
        written = read_yaml(
            path, what="config", holds="options by their names", error_class=ConfigError, nulls=True
        )
        return _parsed(written, command.options, path)
    if written["work"] != command.name:
        msg = f"{path} is of a run of `zoobot {written['work']}`, which has other options than {command.name}"
        raise ConfigError(msg)
    return {name: value for name, value in written["options"].items() if name not in _PASSING}


def _read_record(path: str) -> dict[str, Any] | None:
    """The record of a run; None of other JSON, which is YAML too."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read the config file {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error
    is_record = isinstance(content, dict) and isinstance(content.get("options"), dict) and "work" in content
    return content if is_record else None


def _parsed(written: Mapping[str, Any], options: type[Options], path: str) -> dict[str, Any]:
    """Text as it is written in YAML, in the types of the options."""
    kinds, found = kinds_of(options), {}
    for key, value in written.items():
        name = str(key).replace("-", "_")
        if name not in kinds:
            raise ConfigError(f"{path}: {unknown_option(name, kinds)}")
        if name in found:
            raise ConfigError(f"{path} says {kinds[name].flag} twice")
        found[name] = _value(value, kinds[name], path)
    return found


def _value(written: Any, kind: Kind, path: str) -> Any:
    if written is None and kind.is_list and not kind.optional:
        written = []
    items = written if isinstance(written, list) else [written]
    if not all(isinstance(item, str) for item in items) and written is not None:
        raise ConfigError(f"{path}: {kind.flag} must be a value or a list of values")
    try:
        values = [None if item is None else kind.parse(item) for item in items]
        return kind.accept(values if isinstance(written, list) else values[0])
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"{path}: {kind.flag} {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def write_config(command: Command, given: Mapping[str, Any]) -> str:
    """YAML of all options of a command, which `--config` reads: what was given, else what holds without.

    Args:
        command: The command.
        given: Values by name.

    Raises:
        ConfigError: If a value can't work.
    """
    lines = [f"# zoobot {command.name} --config FILE; what is given on the command line comes first"]
    for kind in kinds_of(command.options).values():
        if kind.name in _PASSING:
            continue
        lines += ["", *textwrap.wrap(kind.help, 100, initial_indent="# ", subsequent_indent="# ")]
        lines += _line(kind, given)
    return "\n".join(lines)


def _line(kind: Kind, given: Mapping[str, Any]) -> list[str]:
    if kind.name not in given and (kind.required or kind.default in (None, ())):
        return [f"# {kind.flag[2:]}: {'(needed)' if kind.required else ''}".rstrip()]
    import yaml

    value = kind.accept(given.get(kind.name, kind.default))
    plain = [list(value) if isinstance(value, tuple) else value]
    text = yaml.safe_dump(plain, allow_unicode=True, default_flow_style=True, width=10_000)
    return [f"{kind.flag[2:]}: {text.strip()[1:-1]}"]
