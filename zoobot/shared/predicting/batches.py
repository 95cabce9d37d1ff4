"""Predicts galaxies batch by batch with all members of a run, whatever becomes of the results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.catalog import Catalog
from zoobot.shared.errors import ConfigError, ImageError, NonFiniteError
from zoobot.shared.loader import Batch, Failure, GalaxyLoader
from zoobot.shared.models.weights import largest_difference
from zoobot.shared.predicting.members import Fetch, Member, as_loaded, distinct_pixels

# How many images may fail before a prediction run gives up.

_SHOWN = 5


def check_max_failures(asked: float | None) -> None:
    """Raise a ConfigError unless a limit is None, a whole number from 0, or a fraction up to 1."""
    if asked is None or (isinstance(asked, int) and not isinstance(asked, bool) and asked >= 0):
        return
    if not (isinstance(asked, float) and 0 <= asked <= 1):
        msg = f"max_failures must be a whole number, as 100, or a fraction up to 1, as 0.01, got {asked!r}"
        raise ConfigError(msg)


class FailureLimit:
    """Counts failures, and ends the run where there are too many.

    Args:
        asked: A number of galaxies, or a fraction of them, that may fail; None allows any.
        galaxies: How many there are in all.
        before: How many have failed in earlier runs of the same work.
        first: The first of those.

    Attributes:
        failed: How many have failed for good.
        first: The first of them.
    """

    def __init__(
        self, asked: float | None, galaxies: int, *, before: int = 0, first: Sequence[Failure] = ()
    ) -> None:
        self.failed = before
        self._asked, self._galaxies = asked, galaxies
        self.first = list(first[:_SHOWN])

    def add(self, failures: Sequence[Failure]) -> None:
        """Count failures that are final, such as those of a part that is done."""
        self.failed += len(failures)
        self.first += failures[: _SHOWN - len(self.first)]

    def check(self, failures: Sequence[Failure] = ()) -> None:
        """Raise an ImageError if those counted, and these beside them, are more than may fail."""
        failed = self.failed + len(failures)
        if self._asked is None or failed <= self._most():
            return
        first = [*self.first, *failures][:_SHOWN]
        shown = "".join(f"\n  {f.id_str}: {f.file_loc}: {f.reason}" for f in first)
        raise ImageError(
            f"{failed:,} of {self._galaxies:,} images could not be read, more than may fail "
            f"(max_failures={self._asked}); mend them, or allow more. The first:{shown}"
        )

    def _most(self) -> float:
        return self._asked * self._galaxies if isinstance(self._asked, float) else self._asked or 0


_T = TypeVar("_T")


class Chunk(NamedTuple):
    """The predictions of a batch.

    Args:
        ids: The galaxies that could be read.
        values: (samples, batch, outputs), float32.
        done: How many galaxies have been dealt with so far, those that failed included.
    """

    ids: list[str]
    values: np.ndarray
    done: int


class CatalogPrediction:
    """The predictions of some galaxies, as often as they are asked for, and the galaxies that failed.

    Members that read images alike share one reading; where they differ, each galaxy is read once for each.

    Args:
        galaxies: The galaxies.
        members: The models.
        batch_size: Galaxies predicted at once.
        num_workers: Threads that read images.
        limit: Ends the run where too many fail.
    """

    def __init__(
        self,
        galaxies: Catalog,
        members: Sequence[Member],
        *,
        batch_size: int,
        num_workers: int,
        limit: FailureLimit,
    ) -> None:
        self._members, self._limit = members, limit
        self._readings = distinct_pixels(members)
        self._loaders = [
            GalaxyLoader(
                galaxies, reading, batch_size=batch_size, num_workers=num_workers, max_failed_fraction=1.0
            )
            for reading in self._readings
        ]
        for loader in self._loaders:
            loader.says_grey = False  # a run may have many, and says it once
        self._failed: dict[str, Failure] = {}
        self._looked_at = [0] * len(self._loaders)

    @property
    def doing(self) -> str:
        """What is done with the galaxies, on a progress bar."""
        return self._members[0].model.task.doing

    @property
    def failures(self) -> list[Failure]:
        """Every galaxy that could not be read in one way or another, once."""
        for place, loader in enumerate(self._loaders):
            failures = loader.failures
            for failure in failures[self._looked_at[place] :]:
                self._failed.setdefault(failure.id_str, failure)
            self._looked_at[place] = len(failures)
        return list(self._failed.values())

    @property
    def grey(self) -> int:
        """How many pictures were grey, of those that were to be in colour."""
        return max(loader.grey for loader in self._loaders)

    def __iter__(self) -> Iterator[Chunk]:
        """Predict.

        Raises:
            ImageError: If more images failed than may.
            NonFiniteError: If a prediction is NaN or infinite.
        """
        read = 0
        for ids, fetches in _one_behind(self._start_batches()):
            values = np.concatenate([np.asarray(fetch(), dtype=np.float32) for fetch in fetches])
            _refuse_non_finite(values, ids)
            read += len(ids)
            failures = self.failures
            self._limit.check(failures)
            yield Chunk(ids, values, read + len(failures))
        self._limit.check(self.failures)

    def _start_batches(self) -> Iterator[tuple[list[str], list[Fetch]]]:
        """Have each batch predicted by all members; the results may still be in the making."""
        remaining = len(self._loaders[0].catalog)
        places = [self._readings.index(as_loaded(member.model.preprocessing)) for member in self._members]
        for ids, images in _read_in_step(self._loaders):
            yield (
                ids,
                [m.start(images[place], remaining) for m, place in zip(self._members, places, strict=True)],
            )
            remaining -= len(ids)


def _one_behind(started: Iterator[_T]) -> Iterator[_T]:
    """Each item once the next one is started: a device has work while results are fetched and written."""
    before = next(started, None)
    for item in started:
        if before is not None:
            yield before
        before = item
    if before is not None:
        yield before


def _read_in_step(loaders: Sequence[GalaxyLoader]) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Ids, and the images of each loader, of galaxies that every loader could read, in catalog order."""
    if len(loaders) == 1:
        for batch in loaders[0]:
            yield batch.ids, [batch.images]
        return
    row = {galaxy: row for row, galaxy in enumerate(loaders[0].catalog.ids)}
    numbered = [((row[batch.ids[0]] // w.batch_size, batch) for batch in w) for w in loaders]
    done: tuple[int, Batch | None] = (len(row), None)  # after every batch
    waiting = [next(batches, done) for batches in numbered]
    while not all(batch is None for _, batch in waiting):
        last = max(number for number, _ in waiting)
        behind = [place for place, (number, _) in enumerate(waiting) if number < last]
        if not behind:
            yield from _common([batch for _, batch in waiting if batch is not None])
            behind = list(range(len(waiting)))
        for place in behind:  # a batch of which nothing could be read is skipped by its loader
            waiting[place] = next(numbered[place], done)


def _common(batches: Sequence[Batch]) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """One batch of the galaxies that are in all of these; none if there are none."""
    shared = set.intersection(*(set(batch.ids) for batch in batches))
    keep = [[place for place, galaxy in enumerate(batch.ids) if galaxy in shared] for batch in batches]
    if shared:
        ids = [batches[0].ids[place] for place in keep[0]]
        yield ids, [batch.images[places] for batch, places in zip(batches, keep, strict=True)]


def _refuse_non_finite(values: np.ndarray, ids: list[str]) -> None:
    bad = ~np.isfinite(values).all(axis=(0, 2))
    if bad.any():
        named = [ids[i] for i in np.flatnonzero(bad)[:10]]
        raise NonFiniteError(
            f"the model's predictions are not finite for {int(bad.sum())} galaxies of a batch: {named}; if "
            "it computes in 16-mixed, as GPUs do by default, precision bf16-mixed or 32-true reaches further"
        )


# Whether a prediction run compiles its network, decided while the first batches are predicted.
#
# Compiling takes a minute and then saves a share of every batch, so it pays in long runs only. An engine says
# how it predicts a batch plainly, and how it makes the compiled form; both are held together here.

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
