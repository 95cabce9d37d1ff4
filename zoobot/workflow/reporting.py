"""What results say of themselves when a command has ended: lines that several of them share."""

from __future__ import annotations

import shlex
from pathlib import Path
from textwrap import shorten
from typing import Any

from zoobot.shared.engine import usual_engine
from zoobot.shared.speech import spoken
from zoobot.shared.tables.destination import failures_of

_LONGEST_LINE = 100


class Reported:
    """A result, which says what came out as a text; in a line where it is looked at beside other things."""

    def report(self) -> str:
        """What came out, as a text to read."""
        raise NotImplementedError

    def __repr__(self) -> str:
        lines = [line.strip() for line in self.report().splitlines() if line.strip()]
        told = shorten(lines[0].removesuffix(":"), _LONGEST_LINE, placeholder=" …") if lines else "nothing"
        return f"<{type(self).__name__}: {told}>"


def quoted(place: object) -> str:
    """A place as it can be pasted into a shell."""
    return shlex.quote(str(place))


def backend_words(backend: str) -> str:
    """What a command that goes on with a run must add to work with the same engine: nothing by default."""
    return "" if backend == usual_engine()[0] else f" --backend {quoted(backend)}"


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
    listed = failures_of(place)
    return failure_lines(result.failures, listed, count=result.failed)


def missing_lines(folder: Path, parts: int) -> list[str]:
    """How many parts a folder still lacks, if any, and how to look."""
    if not parts:
        return []
    return [f"{parts:,} parts are still missing; how far is it?", f"  zoobot status {quoted(folder)}"]
