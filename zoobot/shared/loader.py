"""Catalog and preprocessing to NumPy batches: seeded, threaded, prefetched; both engines consume them."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from zoobot.shared import defaults
from zoobot.shared.augment import Augmentation, make_view
from zoobot.shared.errors import ConfigError, ImageError
from zoobot.shared.pixels.cache import PixelCache
from zoobot.shared.pixels.first_images import say_grey
from zoobot.shared.pixels.images import ViewNeeds, read_source

if TYPE_CHECKING:
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.preprocessing import Preprocessing

_BATCHES_AHEAD = 2
"""Finished batches that may wait for the consumer, beside one in the making per worker."""

_REASONS_SHOWN = 5


class Batch(NamedTuple):
    """A few galaxies, ready for an engine.

    Attributes:
        images: (batch, height, width, channels); uint8 where all files have 8 bits, else float32 in [0, 1].
        labels: (batch, label_cols) float32, NaN where missing; None where the catalog has no labels.
        ids: Ids of the galaxies, in order.
    """

    images: NDArray
    labels: NDArray[np.float32] | None
    ids: list[str]


class Failure(NamedTuple):
    """A galaxy whose image could not be read.

    Attributes:
        id_str: Id of the galaxy.
        file_loc: Its image file.
        reason: What was wrong with it.
    """

    id_str: str
    file_loc: str
    reason: str


class GalaxyLoader:
    """Iterates over a catalog in batches of images, labels and ids, as often as wanted.

    The same seed gives the same batches whatever the number of workers. A galaxy whose image can't be read is
    recorded in `failures` and left out of its batch. Of a batch of which nothing is left, a shuffled loader
    serves the next one's galaxies instead, for devices that train in step need equally many batches; any
    other loader skips it. At most `num_workers + 2` batches are held at a time. Iteration may be abandoned at
    any point: its threads end.

    Args:
        catalog: The galaxies.
        preprocessing: How a file becomes network input.
        batch_size: Galaxies in a batch. Shuffled batches are balanced: their sizes differ by one at most.
        augmentation: Random views for training; None, for evaluation and prediction, is deterministic.
        shuffle: Draw a new order each epoch. Without it the order is the catalog's.
        seed: Seed of order and views.
        num_workers: Threads that decode; 0 decodes in the calling thread.
        shard: (index, count): serve one of `count` disjoint parts that together are the whole catalog. A
            shuffled loader gives every shard the same number of batches, and reshuffles over all shards.
        max_failed_fraction: Largest share of the galaxies that may fail in an epoch; one alone always may,
            unless this is 0.
        cache_dir: Folder to keep decoded pixels in (`PixelCache`), for later epochs and runs; the batches are
            the same. None decodes the files in each epoch.

    Raises:
        ConfigError: If an option can't work, or there are fewer galaxies than shuffled shards.

    Example:
        >>> catalog = read_catalog("galaxies.csv", label_cols=["ring"])  # doctest: +SKIP
        >>> loader = GalaxyLoader(catalog, Preprocessing(), batch_size=32)  # doctest: +SKIP
        >>> for images, labels, ids in loader:  # doctest: +SKIP
        ...     print(images.shape)
        (32, 224, 224, 3)
    """

    def __init__(
        self,
        catalog: Catalog,
        preprocessing: Preprocessing,
        *,
        batch_size: int = defaults.BATCH_SIZE,
        augmentation: Augmentation | None = None,
        shuffle: bool = False,
        seed: int = defaults.SEED,
        num_workers: int = defaults.NUM_WORKERS,
        shard: tuple[int, int] = (0, 1),
        max_failed_fraction: float = defaults.MAX_FAILED_FRACTION,
        cache_dir: str | Path | None = None,
    ) -> None:
        _require_whole(batch_size, "batch_size", at_least=1)
        _require_whole(seed, "seed", at_least=0)
        _require_whole(num_workers, "num_workers", at_least=0)
        _check_shard(shard, len(catalog), shuffle=shuffle)
        if not 0 <= max_failed_fraction <= 1:
            raise ConfigError(f"max_failed_fraction must lie in [0, 1], got {max_failed_fraction!r}")
        self.catalog = catalog
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.shuffle = shuffle
        self.seed = seed
        self.num_workers = num_workers
        self.shard = shard
        self.max_failed_fraction = max_failed_fraction
        self.cache_dir = cache_dir
        self._needs = ViewNeeds.of(preprocessing, augmentation)
        self._cache = None if cache_dir is None else PixelCache(cache_dir, preprocessing, augmentation)
        self._epoch = self._view = self._first_batch = 0
        self._failures: dict[int, Failure] = {}
        self.says_grey = True
        self._said_grey: list[bool] = []  # shared by the loaders of the same pictures
        self._grey: set[int] = set()
        self._looks_for_grey = preprocessing.channels == 3 and preprocessing.colour == "auto"
        self._labels = None if catalog.labels is None else np.asarray(catalog.labels, dtype=np.float32)

    @property
    def failures(self) -> list[Failure]:
        """The galaxies that could not be read so far, each once, in the order they were met."""
        return list(self._failures.values())

    @property
    def grey(self) -> int:
        """How many pictures so far were grey, where the network looks at colour and nobody asked for grey."""
        return len(self._grey)

    def set_epoch(self, epoch: int, first_batch: int = 0, *, view: int | None = None) -> None:
        """Choose the epoch that the next iteration serves: it decides the order and the views.

        Args:
            epoch: Its number, from 0.
            first_batch: How many of its batches are left out, unread, because they were served before.
            view: The epoch whose views are served; by default the same.

        Raises:
            ConfigError: If a number is negative.
        """
        _require_whole(epoch, "epoch", at_least=0)
        _require_whole(first_batch, "first_batch", at_least=0)
        self._epoch, self._first_batch = epoch, first_batch
        self._view = epoch if view is None else view

    def with_views(self, augmentation: Augmentation | None, *, shuffle: bool) -> GalaxyLoader:
        """A loader of the same galaxies and pixels with this augmentation, shuffled alike or not at all."""
        loader = GalaxyLoader(
            self.catalog,
            self.preprocessing,
            batch_size=self.batch_size,
            augmentation=augmentation,
            shuffle=shuffle,
            seed=self.seed,
            num_workers=self.num_workers,
            max_failed_fraction=self.max_failed_fraction,
            cache_dir=self.cache_dir,
        )
        loader._said_grey = self._said_grey
        return loader

    def __len__(self) -> int:
        """Number of batches in an epoch, should no batch fail as a whole."""
        return len(self.plan_batches())

    def __iter__(self) -> Iterator[Batch]:
        """Serve the epoch's batches in order.

        Yields:
            Batches of at least one galaxy.

        Raises:
            ImageError: Instead of the last batch, if more than `max_failed_fraction` of the galaxies failed.
        """
        cv2.setNumThreads(1)  # the workers are the threads: OpenCV's own would stand in their way
        if self._cache is not None:
            self._cache.refresh()
        plan = self.plan_batches()
        served = range(self._first_batch, len(plan))
        failed: dict[int, Failure] = {}
        made = self._make_batches(plan, served, self._view)
        for number, (batch, batch_failures) in zip(served, made, strict=True):
            failed.update(batch_failures)
            for index, failure in batch_failures.items():
                self._failures.setdefault(index, failure)
            if number == len(plan) - 1:  # not after it: who counts batches never asks for more than there are
                self._check_failures(list(failed.values()), sum(len(indices) for indices in plan))
                self._say_grey()
            if batch is not None:
                yield batch

    def _say_grey(self) -> None:
        if self.says_grey and not self._said_grey and self._grey:
            self._said_grey.append(True)
            say_grey(self.grey, len(self.catalog))

    def plan_batches(self) -> list[NDArray[np.intp]]:
        """Catalog rows of each batch of this shard and epoch."""
        index, count = self.shard
        total = len(self.catalog)
        if not self.shuffle:
            rows = np.array_split(np.arange(total), count)[index]
            return [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]
        order = np.random.default_rng([self.seed, self._epoch]).permutation(total)
        if total == 0:
            return []
        # Devices that train in step need equally many batches: as many as the largest shard fills, unless
        # the smallest has too few galaxies (batch_size 1), which then share a batch.
        largest, smallest = math.ceil(total / count), total // count
        return np.array_split(order[index::count], min(math.ceil(largest / self.batch_size), smallest))

    def _make_batches(
        self, plan: list[NDArray[np.intp]], served: range, epoch: int
    ) -> Iterator[tuple[Batch | None, dict[int, Failure]]]:
        stop = threading.Event()
        if self.num_workers == 0:
            for number in served:
                yield self._load_planned(plan, number, epoch, stop, self._make_room(plan[number]))
            return
        executor = ThreadPoolExecutor(self.num_workers, thread_name_prefix="zoobot-loader")
        waiting: deque[Future[tuple[Batch | None, dict[int, Failure]]]] = deque()
        try:
            for number in served:
                # here, for memory that a worker frees goes back to the system
                room = self._make_room(plan[number])
                waiting.append(executor.submit(self._load_planned, plan, number, epoch, stop, room))
                if len(waiting) == self.num_workers + _BATCHES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # Reached as well when the consumer stops early, on an error and on Ctrl-C.
            stop.set()
            executor.shutdown(wait=True, cancel_futures=True)

    def _make_room(self, indices: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Memory for the images of a batch, which are of 8 bits until one is not."""
        size_pix, channels = self.preprocessing.image_size_pix, self.preprocessing.channels
        return np.empty((len(indices), size_pix, size_pix, channels), np.uint8)

    def _load_planned(
        self, plan: list[NDArray[np.intp]], number: int, epoch: int, stop: threading.Event, room: NDArray
    ) -> tuple[Batch | None, dict[int, Failure]]:
        """A batch of the plan; in training, the next one that can be read where nothing of it can be."""
        batch, failures = self._load_batch(plan[number], epoch, stop, room)
        if self.shuffle:
            for indices in (*plan[number + 1 :], *plan[:number]):
                if batch is not None or stop.is_set():
                    break
                batch, more = self._load_batch(indices, epoch, stop, self._make_room(indices))
                failures |= more
        return batch, failures

    def _load_batch(
        self, indices: NDArray[np.intp], epoch: int, stop: threading.Event, images: NDArray
    ) -> tuple[Batch | None, dict[int, Failure]]:
        rows: list[int] = []
        failures: dict[int, Failure] = {}
        for row in indices.tolist():
            if stop.is_set():
                return None, {}
            try:
                room = images[len(rows)]
                view = self._load_view(row, epoch, room)
            except ImageError as error:
                path = self.catalog.paths[row]
                reason = str(error).removeprefix(f"{path}: ")
                failures[row] = Failure(self.catalog.ids[row], path, reason)
                continue
            if view is not room:
                if view.dtype != np.uint8:
                    images = _to_unit_range(images)
                images[len(rows)] = _to_unit_range(view)
            if self._looks_for_grey and _is_grey(view):
                self._grey.add(row)
            rows.append(row)
        if not rows:
            return None, failures
        labels = None if self._labels is None else self._labels[rows]
        return Batch(images[: len(rows)], labels, [self.catalog.ids[row] for row in rows]), failures

    def _load_view(self, row: int, epoch: int, out: NDArray) -> NDArray:
        path = self.catalog.paths[row]
        if self._cache is None:
            source = read_source(path, self.preprocessing, self._needs)
        else:
            source = self._cache.read(path)
        return make_view(
            source.pixels,
            self.preprocessing,
            self.augmentation,
            seed=self.seed,
            epoch=epoch,
            galaxy_id=self.catalog.ids[row],
            frame=source.frame,
            out=out,
        )

    def _check_failures(self, failed: list[Failure], total: int) -> None:
        allowed = max(1.0, self.max_failed_fraction * total) if self.max_failed_fraction else 0
        if len(failed) <= allowed:
            return
        shown = "\n".join(f"  {f.id_str}: {f.file_loc}: {f.reason}" for f in failed[:_REASONS_SHOWN])
        more = f"\n  and {len(failed) - _REASONS_SHOWN:,} more" if len(failed) > _REASONS_SHOWN else ""
        raise ImageError(
            f"{len(failed):,} of {total:,} images of {self.catalog.name} could not be read, more than the "
            f"{self.max_failed_fraction:.1%} allowed (max_failed_fraction):\n{shown}{more}"
        )


def _to_unit_range(images: NDArray) -> NDArray[np.float32]:
    """8-bit images as float32 in [0, 1]; others are so already."""
    return images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images


def _is_grey(view: NDArray) -> bool:
    """Whether all channels are alike; a few pixels tell where they are not."""
    return all((some == some[..., :1]).all() for some in (view[::16, ::16], view))


def _require_whole(value: int, name: str, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise ConfigError(f"{name} must be a whole number of at least {at_least}, got {value!r}")


def _check_shard(shard: tuple[int, int], total: int, *, shuffle: bool) -> None:
    is_pair = isinstance(shard, (tuple, list)) and len(shard) == 2 and all(isinstance(n, int) for n in shard)
    if not (is_pair and 0 <= shard[0] < shard[1]):
        raise ConfigError(f"shard must be (index, count) with 0 <= index < count, got {shard!r}")
    if shuffle and 0 < total < shard[1]:
        raise ConfigError(f"{total} galaxies can't be shuffled over {shard[1]} shards; use fewer shards")
