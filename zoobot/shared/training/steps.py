"""What happens at a training step, the same in either engine: bad ones, averages, times to save."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from zoobot.shared.errors import NonFiniteError

# Training steps whose loss is not a number any more: found some steps late, named with their galaxies.

#: To look at a loss, the processor waits for the GPU: not at each step.
STEPS_BETWEEN_CHECKS = 25

_IDS_SHOWN = 10

_ADVICE = (
    "The last good checkpoint and the best model so far are kept, but the same steps would end the same: "
    "begin a run with a lower learning_rate, from the best model if there is one, or look at the images and "
    "labels of these galaxies"
)


class TrainedBatch(NamedTuple):
    """A batch that was learned from.

    Attributes:
        epoch: Counted from 0; people are told from 1, as in metrics.csv.
        number: Its place in the epoch, from 0; people are told from 1.
        losses: (batch,).
        ids: Ids of the galaxies, in order.
    """

    epoch: int
    number: int
    losses: np.ndarray
    ids: Sequence[str]


def refuse_bad_batches(batches: Iterable[TrainedBatch]) -> None:
    """Raise if a loss is NaN or infinite, and name the galaxies of the first batch that has one.

    Raises:
        NonFiniteError: Names up to ten galaxies, those whose own loss is not finite first.

    Example:
        >>> refuse_bad_batches([TrainedBatch(0, 3, np.array([0.5, 0.7]), ["a", "b"])])
    """
    for batch in batches:
        bad = ~np.isfinite(batch.losses)
        if bad.any():
            order = np.argsort(~bad, kind="stable")
            named = [batch.ids[place] for place in order[:_IDS_SHOWN]]
            raise NonFiniteError(
                f"the training loss is not finite for {bad.sum()} of the {len(bad)} galaxies of step "
                f"{batch.number + 1} of epoch {batch.epoch + 1}, these first: {named}. {_ADVICE}"
            )


def refuse_bad_weights(batch: TrainedBatch | None, *, are_finite: bool) -> None:
    """Raise if weights are NaN or infinite though every loss was finite: a gradient was not.

    Args:
        batch: The last one that was learned from.
        are_finite: Whether the weights are.

    Raises:
        NonFiniteError: Names up to ten galaxies of the last step.
    """
    if are_finite:
        return
    where = (
        ""
        if batch is None
        else f" of epoch {batch.epoch + 1}, after step {batch.number + 1}, whose galaxies are"
    )
    named = "" if batch is None else f" {list(batch.ids[:_IDS_SHOWN])}"
    raise NonFiniteError(f"the weights are not finite at a checkpoint{where}{named}. {_ADVICE}")


# A running average of the weights: how fast it follows them.


def decay_at(update: int, decay: float) -> float:
    """The share of the average that stays at one update; the rest comes from the weights of this step.

    It rises to `decay` over the first updates, so that the weights a run began with are soon forgotten.

    Args:
        update: Updates before this one.
        decay: The share in the long run, in [0, 1): 0.999 averages over about a thousand steps.

    Example:
        >>> decay_at(0, 0.999), decay_at(1_000_000, 0.999)
        (0.1, 0.999)

    References:
        Polyak & Juditsky 1992, SIAM J. Control Optim. 30, 838, for averages of weights.
    """
    return min(decay, (1 + update) / (10 + update))


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
