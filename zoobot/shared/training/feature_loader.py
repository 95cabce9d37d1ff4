"""Batches of what a frozen network makes of images, in the images' place: each view is encoded once."""

from __future__ import annotations

import math
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoobot.shared.counting_bar import CountingBar
from zoobot.shared.errors import ConfigError, NonFiniteError
from zoobot.shared.files.whole import large_array
from zoobot.shared.loader import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from zoobot.shared.augment import Augmentation
    from zoobot.shared.loader import Failure, GalaxyLoader


class FrozenPart(NamedTuple):
    """The part of a network that does not learn, and how what it gives is kept.

    Attributes:
        encode: From images, (batch, height, width, channels), to what the part above takes, (batch, width).
        width: Numbers that it gives for each image.
        views: How many views of each training galaxy are kept.
        dtype: What they are kept as: float32; or float16, which halves the space and is all that a network
            above needs.
        ahead: Whether all views are encoded before the first epoch; otherwise each epoch encodes its own view
            on the way, unless an earlier one did.
    """

    encode: Callable[[NDArray], NDArray]
    width: int
    views: int = 1
    dtype: type[np.floating[Any]] = np.float32
    ahead: bool = True

    @classmethod
    def below(cls, encode: Callable[[NDArray], NDArray], width: int, views: int) -> FrozenPart:
        """The part below blocks that learn, whose output is many times larger than features."""
        return cls(encode, width, views=views, dtype=np.float16, ahead=False)


class FeatureLoader:
    """Serves the batches that a `GalaxyLoader` would, with what a frozen part makes of them as `images`.

    The first view of a galaxy is the plain one, as in prediction; further views are augmented like training
    images, and epochs take the views in turn.

    Args:
        loader: Says which galaxies, in which order, and how training images vary; where it does not augment,
            there is one view.
        part: What encodes images.
        progress: Whether a progress bar is drawn while galaxies are encoded ahead.
        folder: Where a large table lies; None is the system's folder for temporary files.

    Raises:
        ImageError: If more images can't be read than the loader allows.
        NonFiniteError: If what is to be kept is not finite.

    Attributes:
        features: (views, galaxies, width), in the order of the catalog; zero where not encoded yet.
        is_known: Which galaxies have been encoded in each view, (views, galaxies).
    """

    def __init__(
        self, loader: GalaxyLoader, part: FrozenPart, *, progress: bool = False, folder: str | None = None
    ) -> None:
        self._loader = loader
        self._part = part
        self.catalog = loader.catalog
        self.preprocessing = loader.preprocessing
        self.batch_size = loader.batch_size
        views = part.views if loader.augmentation else 1
        self._augmentations: list[Augmentation | None] = [None, *([loader.augmentation] * (views - 1))]
        self.features = _make_table((views, len(loader.catalog), part.width), part.dtype, folder)
        self.is_known = np.zeros((views, len(loader.catalog)), bool)
        self._passes: list[tuple[int, GalaxyLoader]] = []  # each view, and what read it
        self._epoch = 0
        self._first_batch = 0
        self._rows = {galaxy: row for row, galaxy in enumerate(loader.catalog.ids)}
        if part.ahead:
            self._encode_ahead(progress=progress)

    def _encode_ahead(self, *, progress: bool) -> None:
        views = len(self.features)
        what = "Encoding galaxies" if views == 1 else f"Encoding {views} views of galaxies"
        with CountingBar(what, self.is_known.size, unit="images", shown=progress) as bar:
            for view in range(len(self.features)):
                for batch in self._encode_view(view, shuffle=False):
                    bar.advance(len(batch.ids))

    def _encode_view(self, view: int, *, shuffle: bool, first_batch: int = 0) -> Iterator[Batch]:
        """Encode one view of every galaxy that can be read, and serve it on the way."""
        loader = self._loader.with_views(self._augmentations[view], shuffle=shuffle)
        loader.set_epoch(self._epoch, first_batch, view=view)
        self._passes.append((view, loader))
        for images, labels, ids in loader:
            yield Batch(self._keep(view, ids, self._part.encode(images)), labels, ids)

    def _is_whole(self, view: int) -> bool:
        """Whether a view of each galaxy has been encoded, or can't be; trainers stop before a loader ends."""
        failed = {failure.id_str for of, loader in self._passes if of == view for failure in loader.failures}
        return all(self.catalog.ids[row] in failed for row in np.flatnonzero(~self.is_known[view]))

    def _keep(self, view: int, ids: list[str], encoded: NDArray) -> NDArray:
        with np.errstate(over="ignore"):
            kept = encoded.astype(self._part.dtype, copy=False)
        bad = np.flatnonzero(~np.isfinite(kept).all(axis=1))
        if len(bad):
            named = [ids[row] for row in bad[:10]]
            raise NonFiniteError(
                f"what the frozen part of the encoder makes of {len(bad)} galaxies can't be kept: it "
                f"is not finite, or too large for {np.dtype(self._part.dtype).name}: {named}; train without "
                "keeping it (cache_features=False, or activation_views=0)"
            )
        rows = [self._rows[galaxy] for galaxy in ids]
        self.features[view, rows] = kept
        self.is_known[view, rows] = True
        return kept

    @property
    def failures(self) -> list[Failure]:
        """The galaxies that could not be read."""
        failures = (failure for _, loader in self._passes for failure in loader.failures)
        return list({failure.id_str: failure for failure in failures}.values())

    def labelled(self) -> tuple[NDArray, NDArray[np.float32]]:
        """The features of all views, (views * galaxies read, width), and their labels, view after view."""
        known = self._known_rows()
        labels = np.asarray(self.catalog.labels, np.float32)[known]
        features = self.features[:, known].reshape(-1, self.features.shape[2])
        return features, np.tile(labels, (len(self.features), 1))

    def known_ids(self) -> list[str]:
        """The galaxies that were read."""
        return [self.catalog.ids[row] for row in self._known_rows()]

    def _known_rows(self) -> NDArray[np.intp]:
        return np.flatnonzero(self.is_known.all(axis=0))

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Choose the epoch that the next iteration serves, as for `GalaxyLoader`."""
        self._epoch, self._first_batch = epoch, first_batch
        self._loader.set_epoch(epoch)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        """Serve the epoch's batches in order."""
        view = self._epoch % len(self.features)
        if self._is_whole(view):
            yield from self._kept_batches(view)
        else:
            yield from self._encode_view(view, shuffle=self._loader.shuffle, first_batch=self._first_batch)

    def _kept_batches(self, view: int) -> Iterator[Batch]:
        labels = None if self.catalog.labels is None else np.asarray(self.catalog.labels, np.float32)
        readable = [rows[self.is_known[view, rows]] for rows in self._loader.plan_batches()]
        for number in range(self._first_batch, len(readable)):
            rows = readable[number]
            if self._loader.shuffle and not len(rows):
                rows = next(filter(len, (*readable[number + 1 :], *readable[:number])), rows)
            if len(rows):
                ids = [self.catalog.ids[row] for row in rows]
                yield Batch(self.features[view, rows], None if labels is None else labels[rows], ids)


def _make_table(shape: tuple[int, int, int], dtype: Any, folder: str | None) -> NDArray:
    try:
        return large_array(shape, dtype, folder)
    except OSError as error:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        raise ConfigError(
            f"keeping {shape[0]} views of {shape[1]:,} galaxies needs {size / 1e9:.1f} GB in "
            f"{folder or tempfile.gettempdir()}: {error.strerror or error}; keep fewer views, or choose "
            "another folder with cache_dir"
        ) from error
