"""How far a prediction run in parts has come: a bar on a screen, lines in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoobot.shared.counting_bar import CountingBar

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["PartProgress"]


class PartProgress:
    """Shows progress over all parts of a process, those included that were done before.

    Args:
        what: What is predicted, in a word.
        total: Galaxies of all its parts.
        done: Those of the parts that were done before.
        shown: Whether anything is shown.
    """

    def __init__(self, what: str, total: int, *, done: int, shown: bool) -> None:
        self._done = done
        self._bar = CountingBar(f"Predicting {what}", total, done=done, unit="galaxies", shown=shown)

    def __enter__(self) -> PartProgress:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def show(self, done: int) -> None:
        """Say how many galaxies of the part in the making are done."""
        self._bar.reach(self._done + done)

    def finish_part(self, galaxies: int, *, failed: int) -> None:
        """Say that a part of so many galaxies is done, and how many have failed so far."""
        self._done += galaxies
        self._bar.note = f"{failed:,} failed"
        self.show(0)
