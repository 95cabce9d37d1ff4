"""Batches of features in the place of images: under a frozen encoder each galaxy is encoded once."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.shared.counting_bar import counting_bar
from zoobot.shared.loader import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from zoobot.shared.augment import Augmentation
    from zoobot.shared.loader import Failure, GalaxyLoader

__all__ = ["FeatureLoader"]

#: Larger tables of features are kept in a temporary file, which the system deletes.
_BYTES_IN_MEMORY = 2**30


class FeatureLoader:
    """Serves the batches that a `GalaxyLoader` would, with each galaxy's features as its `images`.

    All galaxies are encoded when the loader is made. The first view of a galaxy is the plain one, as in
    prediction; further views are augmented like training images, and epochs take the views in turn.

    Args:
        loader: Says which galaxies, in which order, and how training images vary.
        encode: From images, (batch, height, width, channels), to features, (batch, features), float32.
        views: How many views of each galaxy, where the loader augments; otherwise one.
        progress: Whether a progress bar is drawn.

    Raises:
        ImageError: If more images can't be read than the loader allows.

    Attributes:
        features: (views, galaxies, features), float32, in the order of the catalog.
        is_known: Which galaxies could be read, (galaxies,).
    """

    def __init__(
        self,
        loader: GalaxyLoader,
        encode: Callable[[NDArray], NDArray[np.float32]],
        *,
        views: int = 1,
        progress: bool = False,
    ) -> None:
        self._loader = loader
        self.catalog = loader.catalog
        self.preprocessing = loader.preprocessing
        self.is_known = np.zeros(len(loader.catalog), bool)
        self._epoch = 0
        self._rows = {galaxy: row for row, galaxy in enumerate(loader.catalog.ids)}
        self._failures: dict[str, Failure] = {}
        augmentations = [None, *([loader.augmentation] * (views - 1 if loader.augmentation else 0))]
        self.features = self._encode(encode, augmentations, progress=progress)

    def _encode(
        self,
        encode: Callable[[NDArray], NDArray[np.float32]],
        augmentations: list[Augmentation | None],
        *,
        progress: bool,
    ) -> NDArray[np.float32]:
        table: Any = None
        with counting_bar(progress=progress) as bar:
            work = bar.add_task("Encoding galaxies", total=len(self.catalog) * len(augmentations))
            for view, augmentation in enumerate(augmentations):
                for images, _, ids in self._views(view, augmentation):
                    features = encode(images)
                    if table is None:
                        table = _make_table((len(augmentations), len(self.catalog), features.shape[1]))
                    rows = [self._rows[galaxy] for galaxy in ids]
                    table[view, rows] = features
                    self.is_known[rows] = True
                    bar.advance(work, len(ids))
        return np.zeros((len(augmentations), len(self.catalog), 0), np.float32) if table is None else table

    def _views(self, view: int, augmentation: Augmentation | None) -> Iterator[Batch]:
        """One view of every galaxy that can be read, in the order of the catalog."""
        ordered = self._loader.in_order(augmentation)
        ordered.set_epoch(view)
        yield from ordered
        self._failures |= {failure.id_str: failure for failure in ordered.failures}

    @property
    def failures(self) -> list[Failure]:
        """The galaxies that could not be read."""
        return list(self._failures.values())

    def labelled(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The features of all views, (views * galaxies read, features), and their labels, view after view."""
        known = np.flatnonzero(self.is_known)
        labels = np.asarray(self.catalog.labels, np.float32)[known]
        features = self.features[:, known].reshape(-1, self.features.shape[2])
        return features, np.tile(labels, (len(self.features), 1))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration serves: it decides the order and the view."""
        self._epoch = epoch
        self._loader.set_epoch(epoch)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        """Serve the epoch's batches in order."""
        view = self.features[self._epoch % len(self.features)]
        labels = None if self.catalog.labels is None else np.asarray(self.catalog.labels, np.float32)
        for planned in self._loader.plan_batches():
            rows = planned[self.is_known[planned]]
            if len(rows):
                ids = [self.catalog.ids[row] for row in rows]
                yield Batch(np.ascontiguousarray(view[rows]), None if labels is None else labels[rows], ids)


def _make_table(shape: tuple[int, int, int]) -> NDArray[np.float32]:
    if 4 * np.prod(shape, dtype=np.int64) <= _BYTES_IN_MEMORY:
        return np.zeros(shape, np.float32)
    with tempfile.TemporaryFile(prefix="zoobot-features-") as file:
        return np.memmap(file, np.float32, "w+", shape=shape)
