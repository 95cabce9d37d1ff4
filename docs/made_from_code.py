"""Pages of the reference that are made of the code while the site is built, and so can't tell otherwise.

They are written to `docs/reference/made`, which is never committed.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from bench_labels import markdown_table as labels_table
from draw_speed import RESULTS
from draw_speed import markdown_table as speed_table
from drawn_trees import draw_tree
from score_rows import scores_table
from speed_rows import measure_rows, read_records

import zoobot
from zoobot.cli.parser import COMMANDS, build_parser
from zoobot.front.listing import PUBLISHED, models
from zoobot.options.command import GROUPS
from zoobot.shared import errors, schemas
from zoobot.shared.engine import MIRRORED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docutils.nodes import Element
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.environment import BuildEnvironment

    from zoobot.options.command import Command

MADE = Path(__file__).parent / "reference" / "made"

#: Modules whose public names (all, or those after a colon) are the Python reference, under what they are for.
PYTHON = {
    "front": (
        "The package zoobot",
        (
            "zoobot.front.model:ZoobotModel",
            "zoobot.front.predicted:Predicted, Explained",
            "zoobot.front.results:Result, Figures",
            "zoobot.front.listing:ModelList, ModelEntry",
        ),
    ),
    "sklearn": ("Estimators of scikit-learn", ("zoobot.sklearn",)),
    "engines": ("The engines", tuple(f"zoobot.pytorch.{name}" for name in MIRRORED)),
    "galaxies": (
        "Galaxies and pixels",
        (
            "zoobot.shared.catalog",
            "zoobot.shared.preprocessing",
            "zoobot.shared.augment",
            "zoobot.shared.loader",
            "zoobot.shared.galaxy_data",
        ),
    ),
    "trees": (
        "Trees, votes and posteriors",
        (
            "zoobot.shared.schemas",
            "zoobot.shared.votes",
            "zoobot.shared.likelihood",
            "zoobot.shared.posteriors",
            "zoobot.shared.tree_posterior",
        ),
    ),
    "results": (
        "Checkpoints and results",
        ("zoobot.shared.checkpoint", "zoobot.shared.predictions", "zoobot.shared.features.tables"),
    ),
    "studies": (
        "Studies",
        (
            "zoobot.similarity",
            "zoobot.rating.session",
            "zoobot.choosing.acquisition",
            "zoobot.choosing.diversity",
            "zoobot.choosing.rules",
            "zoobot.simulate",
            "zoobot.plots",
        ),
    ),
    "others": (
        "Engines by name, and errors",
        ("zoobot.shared.engine", "zoobot.shared.errors"),
    ),
}


def setup(app: Sphinx) -> dict[str, bool]:
    """Have the pages written before Sphinx looks which there are."""
    app.connect("config-inited", write_pages)
    app.connect("autodoc-skip-member", _leave_out)
    app.connect("autodoc-process-docstring", _signs_are_signs, priority=1)  # before napoleon writes its own
    app.connect("missing-reference", _without_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(app: Sphinx, config: Config) -> None:
    """Write each page whose text is not there yet, and remove those that no code stands for any more."""
    pages = {f"{name}.md": text for name, text in _pages()} | {f"{n}.rst": t for n, t in _python_pages()}
    pages |= {f"{name}.table": text for name, text in _tables()}
    for old in MADE.rglob("*"):
        if old.is_file() and old.relative_to(MADE).as_posix() not in pages:
            old.unlink()
    for name, text in pages.items():
        page = MADE / name
        page.parent.mkdir(parents=True, exist_ok=True)
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def _pages() -> Iterator[tuple[str, str]]:
    parsers = _parsers(build_parser())
    yield "commands", _list_of_commands()
    for command in COMMANDS.values():
        yield f"commands/{command.name}", _command(command, parsers[command.name])
    yield "errors", _errors()
    yield "trees", _trees()
    yield "models", _models()


def _tables() -> Iterator[tuple[str, str]]:
    """Tables that pages of the evidence include, from the records of the benchmarks."""
    yield "speed", speed_table(measure_rows(read_records(RESULTS)))
    yield "scores", scores_table(RESULTS)
    yield "labels", labels_table(json.loads((RESULTS / "labels.json").read_text(encoding="utf-8"))["results"])


# Commands: of the very parser that answers --help


def _parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (parsers,) = (action.choices for action in parser._actions if isinstance(action.choices, dict))
    return parsers


def _list_of_commands() -> str:
    lines = [
        "# Command line",
        "",
        "Every command, by what it is for. `zoobot COMMAND --help` says the same.",
        "",
    ]
    for group, meaning in GROUPS.items():
        lines += [f"## {_capital(meaning)}", "", "| command | what it does |", "|---|---|"]
        of_group = [command for command in COMMANDS.values() if command.group == group]
        lines += [f"| [`zoobot {c.name}`](commands/{c.name}.md) | {_plain(c.meaning)} |" for c in of_group]
        lines += [""]
    names = [f"commands/{name}" for name in COMMANDS]
    return "\n".join([*lines, "```{toctree}", ":hidden:", "", *names, "```", ""])


def _command(command: Command, parser: argparse.ArgumentParser) -> str:
    lines = [f"# zoobot {command.name}", "", _plain(parser.description or ""), ""]
    lines += ["```text", (command.usage or f"zoobot {command.name} [options]"), "```", ""]
    lines += [f"In Python: {{py:func}}`zoobot.{command.name}`, with the same options as keywords.", ""]
    if command.epilog:
        lines += [
            "## Examples",
            "",
            "```text",
            command.epilog.removeprefix("examples:\n").rstrip(),
            "```",
            "",
        ]
    lines += [f"```{{program}} zoobot {command.name}", "```", ""]
    for group in parser._action_groups:
        options = [action for action in group._group_actions if action.option_strings]
        options = [action for action in options if not isinstance(action, argparse._HelpAction)]
        if options:
            lines += [f"## {_capital(group.title or 'Options')}", ""]
        for action in options:
            lines += [f"````{{option}} {_forms(action)}", _plain((action.help or "") % {}), "````", ""]
    return "\n".join(lines)


def _forms(action: argparse.Action) -> str:
    """The ways to write an option, with what it takes."""
    if action.nargs == 0:
        return ", ".join(action.option_strings)
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    several = {None: value, "?": f"[{value}]", "+": f"{value} …", "*": f"[{value} …]"}
    takes = several.get(action.nargs) or " ".join([str(value)] * int(action.nargs or 1))
    return ", ".join(f"{flag} {takes}" for flag in action.option_strings)


# Errors, trees, models


def _errors() -> str:
    lines = ["# Errors", "", f"{inspect.getdoc(errors)}", ""]
    lines += ["| error | also a | when |", "|---|---|---|"]
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, errors.ZoobotError):
            also = ", ".join(
                f"`{base.__name__}`" for base in error.__bases__ if base is not errors.ZoobotError
            )
            said = (inspect.getdoc(error) or "").partition("\n")[0]
            lines += [f"| {{py:exc}}`~zoobot.shared.errors.{name}` | {also} | {_plain(said)} |"]
    return "\n".join([*lines, ""])


def _trees() -> str:
    names = schemas.names()
    lines = [
        "# Decision trees",
        "",
        f"The {len(names)} trees of Galaxy Zoo's public campaigns, as they are asked: a",
        "",
    ]
    lines[-2] += (
        " line leads from an answer to the question that follows. `zoobot schemas NAME` draws one as text."
    )
    for name in names:
        tree = schemas.get(name)
        lines += [f"## {name}", "", f"{_capital(_plain(schemas.describe(name)))}.", ""]
        lines += ["```{raw} html", draw_tree(tree), "```", ""]
        lines += ["````{dropdown} As text, and the columns of its votes", "```text", tree.draw(), "```", ""]
        lines += [", ".join(f"`{column}`" for column in tree.label_cols), "````", ""]
    return "\n".join(lines)


def _models() -> str:
    found = [entry for entry in models() if entry.where == "bundled"]
    lines = [
        "# Models",
        "",
        "| name | predicts | encoder | pixels | size | scores |",
        "|---|---|---|---|---|---|",
    ]
    for entry in found:
        name, _, *cells, scores = entry.cells()
        lines += [f"| `{name}` | {' | '.join(cells)} | {scores.replace(chr(10), '; ')} |"]
    lines += [f"| `{name}` | encoder | {name.partition('encoder-')[2]} | | | |" for name in PUBLISHED]
    return "\n".join([*lines, ""])


# Python


def _python_pages() -> Iterator[tuple[str, str]]:
    names = [f"python/{name}" for name in PYTHON]
    yield "python", "\n".join([*_rst_title("Python"), *_toctree(names), ""])
    for name, (title, modules) in PYTHON.items():
        lines = _rst_title(title)
        if name == "front":
            lines += _front()
        for module in modules:
            lines += _module(module)
        yield f"python/{name}", "\n".join(lines)


def _front() -> list[str]:
    """The package's own functions; of the commands, what is given by place, and where the rest stands."""
    lines = [".. py:module:: zoobot", ""]
    lines += [".. autofunction:: zoobot.load", "", ".. autofunction:: zoobot.models", ""]
    for command in COMMANDS.values():
        function = getattr(zoobot, command.name)
        parameters = inspect.signature(function).parameters.values()
        placed = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        lines += [f".. py:function:: {command.name}({', '.join([*placed, '**options'])})", ""]
        lines += [f"   {_capital(command.meaning)}.", ""]
        page = f"/reference/made/commands/{command.name}"
        lines += [f"   The options are those of :doc:`zoobot {command.name} <{page}>`.", ""]
    return lines


def _leave_out(app: Sphinx, what: str, name: str, member: object, skip: bool, options: object) -> bool | None:
    """Leave out what scikit-learn adds to classes of its own accord."""
    return True if re.fullmatch(r"set_\w+_request|get_metadata_routing", name) else None


def _signs_are_signs(
    app: Sphinx, what: str, name: str, member: object, options: object, lines: list[str]
) -> None:
    """Let stars and bars in docstrings, which are plain text, be no marks of reStructuredText."""
    in_example = False
    for place, line in enumerate(lines):
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        if not in_example:
            lines[place] = _outside_code(line, lambda part: re.sub(r"([*|])", r"\\\1", part))


def _without_page(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element) -> Element | None:
    """Let a type of a signature stay a word where it exists in Zoobot and has no page."""
    module, _, name = node.get("reftarget", "").rpartition(".")
    if node.get("reftype") != "class" or not module.startswith("zoobot."):
        return None
    try:
        return text if hasattr(importlib.import_module(module), name) else None
    except ModuleNotFoundError:
        return None


def _module(told: str) -> list[str]:
    """A module's first sentence, and what it has for users."""
    name, _, some = told.partition(":")
    module = importlib.import_module(name)
    own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == name]
    public = some or ", ".join(getattr(module, "__all__", [key for key in own if not key.startswith("_")]))
    return [name, "-" * len(name), "", f".. automodule:: {name}", f"   :members: {public}", ""]


def _toctree(names: list[str]) -> list[str]:
    return [".. toctree::", "   :maxdepth: 2", "", *(f"   {name}" for name in names), ""]


def _rst_title(title: str) -> list[str]:
    return [title, "=" * len(title), ""]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain(text: str) -> str:
    """Text of ours in Markdown: what is between backticks stays, options get them, and signs are signs."""
    return _outside_code(text, lambda part: re.sub(r"([*_<>\[\]$|])", r"\\\1", part))


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """A text with options as code, and all that is no code changed."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"(?<![\w`])(--[a-z][\w-]*)", r"`\1`", part) for part in parts[::2]]
    parts = re.split(r"(`[^`]*`)", "".join(parts))
    parts[::2] = [change(part) for part in parts[::2]]
    return "".join(parts)
