"""When a training run writes last.ckpt within an epoch: every few minutes, and when told to stop."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from typing import Any, NoReturn

__all__ = ["BATCHES_BETWEEN_TALKS", "SaveTimes"]

logger = logging.getLogger("zoobot")

#: Processes that train in step agree on saving and stopping once in so many batches: to talk costs time.
BATCHES_BETWEEN_TALKS = 20

#: A polite kill, and what SLURM sends ahead of a time limit with `--signal=USR1@120`.
_SIGNALS = ("SIGTERM", "SIGUSR1")


class SaveTimes:
    """A clock and two signals.

    Args:
        minutes: Time between two checkpoints; those of epochs count.

    Example:
        >>> times = SaveTimes(15)
        >>> times.begin()
        >>> times.is_due, times.is_told_to_stop
        (False, False)
        >>> times.end()
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._last = math.inf
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def begin(self) -> None:
        """Start the clock, and hear signals, which only a process's first thread can."""
        self._last, self._received = time.monotonic(), None
        if threading.current_thread() is not threading.main_thread():
            return
        for name in _SIGNALS:
            number = getattr(signal, name, None)  # Windows lacks one of them
            if number is not None and number not in self._before:
                self._before[number] = signal.signal(number, self._hear)

    def _hear(self, number: int, frame: object) -> None:
        self._received = number

    def saved(self) -> None:
        """Take note of a checkpoint."""
        self._last = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self._last >= 60 * self.minutes

    @property
    def is_told_to_stop(self) -> bool:
        """Whether a signal came."""
        return self._received is not None

    def leave(self) -> NoReturn:
        """End the process as the signal asked, now that the run is saved.

        Raises:
            SystemExit: With the exit code that shells expect of such a signal.
        """
        number = self._received or signal.SIGTERM
        logger.info("%s: the run is saved in last.ckpt", signal.Signals(number).name)
        raise SystemExit(128 + number)

    def end(self) -> None:
        """Leave signals to whom they were left to before."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)
