"""Whether a prediction run compiles its network, decided while the first batches are predicted.

Compiling takes a minute and then saves a share of every batch, so it pays in long runs only. An engine says
how it predicts a batch plainly, and how it makes the compiled form; what comes of both is held together here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.models.weights import largest_difference

logger = logging.getLogger(__name__)

#: Batches by which plain and compiled prediction are timed, after one that warms up.
_TIMED = 3

#: What compilers raise where they lack a C++ compiler, a driver, or an operation.
_FAULTS = (RuntimeError, OSError, ValueError, TypeError, LookupError, AttributeError, ImportError)

PredictOnDevice = Callable[[Any], Any]


def compiling_pays(galaxies: int, seconds_per_galaxy: float) -> bool:
    """Whether compiling is expected to save more time than it takes.

    Args:
        galaxies: How many are still to be predicted.
        seconds_per_galaxy: What each takes without.

    Example:
        >>> compiling_pays(1_000, 0.03), compiling_pays(1_000_000, 0.03)
        (False, True)
    """
    return galaxies * seconds_per_galaxy * defaults.COMPILE_SAVING > defaults.COMPILE_SECONDS


class MaybeCompiled:
    """Predicts batches plainly until compiling pays, and compiled from then on.

    The compiled form is used for whole batches only, since another size would be compiled anew. It is given
    up where it predicts other numbers, or turns out slower.

    Args:
        plain: From a batch of images to its predictions, (samples, batch, outputs), in the engine's terms.
        compile_it: Makes the function that does the same, compiled for batches like the one it gets; it draws
            no dropout, so that samples do not depend on when it is called.
        to_numpy: Waits for predictions and gives them as an array.
        asked: True compiles at once, False never, None where it pays.
        batch_size: Galaxies in a whole batch.
        agreement: How far compiled predictions may lie from plain ones; None does not compare, for dropout.
    """

    def __init__(
        self,
        plain: PredictOnDevice,
        compile_it: Callable[[Any], PredictOnDevice],
        to_numpy: Callable[[Any], np.ndarray],
        *,
        asked: bool | None,
        batch_size: int,
        agreement: float | None = defaults.AGREEMENT,
    ) -> None:
        self._plain, self._compile_it, self._to_numpy = plain, compile_it, to_numpy
        self._asked, self._batch_size, self._agreement = asked, batch_size, agreement
        self._best = plain
        self._is_decided = asked is False
        self._seconds: list[float] = []  # of batches with what is best so far
        self._plain_seconds = 0.0

    def __call__(self, images: Any, remaining: int) -> Any:
        """The predictions of a batch, on the device.

        Args:
            images: The batch, on the device.
            remaining: How many galaxies are still to be predicted, those of this batch included.

        Raises:
            ConfigError: If compiling was asked for and can't be done here.
        """
        if len(images) != self._batch_size:
            return self._plain(images)
        if self._asked and not self._is_decided:
            self._compile(images)
            self._is_decided = True
        if self._is_decided:
            return self._best(images)
        began = time.perf_counter()
        result = self._best(images)
        self._to_numpy(result)
        self._seconds.append(time.perf_counter() - began)
        if len(self._seconds) > _TIMED:
            self._decide(images, remaining - len(images))
        return result

    def _decide(self, images: Any, remaining: int) -> None:
        seconds = float(np.median(self._seconds[1:]))
        self._seconds.clear()
        if self._best is self._plain:  # the question is whether to compile
            self._plain_seconds = seconds
            if compiling_pays(remaining, seconds / len(images)):
                self._compile(images)
            self._is_decided = self._best is self._plain
            return
        if seconds > self._plain_seconds:  # the question was whether that was worth it
            logger.info("compiled is not faster here (%.2f s a batch): going on without", seconds)
            self._best = self._plain
        self._is_decided = True

    def _compile(self, images: Any) -> None:
        """Compile, and keep the compiled form if it predicts the same."""
        logger.info("Compiling the network, which takes about a minute")
        try:
            compiled = self._compile_it(images)
        except _FAULTS as error:
            reason = " ".join(str(error).split())[:300]
            if self._asked:
                msg = f"compile=True can't be done here ({type(error).__name__}: {reason}); leave it out"
                raise ConfigError(msg) from error
            logger.info("the network can't be compiled here, so it is not: %s", reason)
            return
        if self._agreement is not None:
            difference = largest_difference(*(self._to_numpy(p(images)) for p in (compiled, self._plain)))
            if not difference <= self._agreement:
                logger.warning("compiled, it predicts other numbers (by %.1e): going on without", difference)
                return
        self._best = compiled
