"""How far a prediction run in parts has come: a bar on a screen, a line a minute in a log."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from zoobot.shared.counting_bar import counting_bar

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["PartProgress"]

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 60.0


class PartProgress:
    """Shows progress over all parts of a process, those included that were done before.

    Args:
        what: What is predicted, in a word.
        total: Galaxies of all its parts.
        done: Those of the parts that were done before.
        shown: Whether anything is shown.
    """

    def __init__(self, what: str, total: int, *, done: int, shown: bool) -> None:
        self._what, self._total, self._before, self._done, self._shown = what, total, done, done, shown
        self._bar = counting_bar(progress=shown, unit="galaxies")
        self._task = self._bar.add_task(f"Predicting {what}", total=total, completed=done)
        self._in_log = shown and not self._bar.console.is_terminal
        self._began = self._said = time.monotonic()

    def __enter__(self) -> PartProgress:
        if self._before and self._shown:
            logger.info("%s of %s galaxies were predicted before", f"{self._before:,}", f"{self._total:,}")
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, done: int) -> None:
        """Say how many galaxies of the part in the making are done."""
        self._bar.update(self._task, completed=self._done + done)

    def finish_part(self, galaxies: int, *, failed: int) -> None:
        """Say that a part of so many galaxies is done, and how many have failed so far."""
        self._done += galaxies
        self.show(0)
        now = time.monotonic()
        if self._in_log and now - self._said > _SECONDS_BETWEEN_LINES:
            self._said = now
            rate = (self._done - self._before) / (now - self._began)
            left = timedelta(seconds=round((self._total - self._done) / rate))
            logger.info(
                "%s of %s galaxies, %s failed, %.1f galaxies/s, %s left",
                f"{self._done:,}",
                f"{self._total:,}",
                f"{failed:,}",
                rate,
                left,
            )
