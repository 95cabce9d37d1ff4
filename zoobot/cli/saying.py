"""What commands print, and how they read what was given."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

from zoobot.shared.counting_bar import duration
from zoobot.shared.engine import DEFAULT_ENGINE
from zoobot.shared.settings import in_flags

if TYPE_CHECKING:
    from pathlib import Path

    from zoobot.shared.config import EngineOptions
    from zoobot.shared.settings import Options

__all__ = [
    "backend_words",
    "duration",
    "failure_lines",
    "missing_lines",
    "resumed",
    "say",
    "speak_of",
    "spoken",
    "table_failure_lines",
]

_SPOKEN_OF: type[Options] | None = None
"""The options of the command that runs."""


def speak_of(options: type[Options] | None) -> None:
    """Let messages name the options of a command by its flags from now on."""
    global _SPOKEN_OF  # noqa: PLW0603  one command runs at a time
    _SPOKEN_OF = options


def spoken(message: str) -> str:
    """A message of the library as the command line says it: `--id-col`, not `id_col=`."""
    return message if _SPOKEN_OF is None else in_flags(message, _SPOKEN_OF)


def say(*lines: str) -> None:
    """Print lines to standard output."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def backend_words(options: EngineOptions) -> str:
    """What a command that goes on with a run must add to work with the same engine: nothing by default."""
    return "" if options.backend == DEFAULT_ENGINE else f" --backend {shlex.quote(options.backend)}"


def failure_lines(failures: Any, path: Any, *, count: int | None = None) -> list[str]:
    """How many images failed, where they are listed, and the first; `count` if more than those given."""
    if len(failures) == 0:
        return []
    first = failures.iloc[0]
    number = len(failures) if count is None else count
    start = (
        f"{number:,} {'image' if number == 1 else 'images'} could not be read, listed in {path}; the first:"
    )
    return [f"{start} {first.file_loc}: {spoken(first.reason)}"]


def table_failure_lines(result: Any) -> list[str]:
    """The images that failed on the way to a table, or to a folder of parts, which lists them elsewhere."""
    place = result.save_loc
    listed = place / "_failures" if place.is_dir() else place.with_suffix(".failures.csv")
    return failure_lines(result.failures, listed, count=result.failed)


def missing_lines(folder: Path, parts: int) -> list[str]:
    """How many parts a folder still lacks, if any, and how to look."""
    if not parts:
        return []
    return [
        f"{parts:,} parts are still missing; how far is it?",
        f"  zoobot status {shlex.quote(str(folder))}",
    ]


def resumed(work: str, given: dict[str, Any]) -> Any:
    """The options of the unfinished run of that kind in the folder that was given."""
    from zoobot.workflow import resumed_options

    return resumed_options(work, given)
