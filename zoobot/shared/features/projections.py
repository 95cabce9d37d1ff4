"""Features standardised, or reduced to principal components: fitted, saved, and applied to new galaxies."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from zoobot.shared import defaults
from zoobot.shared.errors import CheckpointError, ConfigError
from zoobot.shared.files.tensors import read_tensors, write_tensors
from zoobot.shared.files.whole import replacing
from zoobot.shared.imports import import_optional

# Mean, spread and covariance of any number of features, exact, from a few galaxies at a time.


class FeatureMoments:
    """Adds up what standardising and principal components need; memory is that of one covariance matrix.

    Pieces are joined by the formulas for means and centred sums, so that digits are lost neither to large
    means nor to many galaxies.

    Args:
        width: How many features there are.
        covariance: Whether the covariance is needed; means and spreads alone are had much sooner.

    References:
        Chan, Golub & LeVeque 1979, Stanford STAN-CS-79-773.

    Example:
        >>> moments = FeatureMoments(2)
        >>> moments.add(np.array([[1.0, 0.0], [3.0, 2.0]]))
        >>> moments.add(np.array([[5.0, 4.0]]))
        >>> moments.mean.tolist(), moments.covariance().tolist()
        ([3.0, 2.0], [[4.0, 4.0], [4.0, 4.0]])
    """

    def __init__(self, width: int, *, covariance: bool = True) -> None:
        self.count = 0
        self.mean: NDArray[np.float64] = np.zeros(width)
        self._squares: NDArray[np.float64] = np.zeros(width)
        self._products: NDArray[np.float64] | None = np.zeros((width, width)) if covariance else None

    def add(self, features: NDArray) -> None:
        """Take in the features of some more galaxies, (galaxies, width)."""
        count = len(features)
        if not count:
            return
        values = np.asarray(features, np.float64)
        mean = values.mean(axis=0)
        centred = values - mean
        shift = mean - self.mean
        total = self.count + count
        weight = self.count * count / total
        self._squares += (centred**2).sum(axis=0) + weight * shift**2
        if self._products is not None:
            self._products += centred.T @ centred + weight * np.outer(shift, shift)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    def spread(self) -> NDArray[np.float64]:
        """The standard deviation of each feature, (width,), which divides by one galaxy less.

        Raises:
            ConfigError: If there are fewer than two galaxies.
        """
        return np.sqrt(self._squares / self._degrees())

    def covariance(self) -> NDArray[np.float64]:
        """The covariance matrix, (width, width).

        Raises:
            ConfigError: If there are fewer than two galaxies.
        """
        if self._products is None:
            raise ConfigError("these moments were made without a covariance")
        return self._products / self._degrees()

    def _degrees(self) -> int:
        if self.count < 2:
            raise ConfigError(f"a spread takes two galaxies or more, got {self.count}")
        return self.count - 1


# A map of features in two or three dimensions, in which galaxies that are alike lie side by side.

_FEWEST = 4


def draw_map(
    features: NDArray, *, dimensions: int = 2, neighbours: int = 15, seed: int = defaults.SEED
) -> NDArray[np.float32]:
    """The places of galaxies on a map, (galaxies, dimensions), by UMAP: one thread, so that a seed decides.

    Distances on it mean little; who is near whom does. It is of these galaxies alone: nothing is kept with
    which others could be placed on it.

    Args:
        features: (galaxies, width); some tens of principal components are enough.
        dimensions: Of the map.
        neighbours: How many galaxies near each are to stay near.
        seed: Seeds all that is drawn.

    Raises:
        ConfigError: If there are too few galaxies.
        MissingPackageError: If umap-learn is not installed.

    References:
        McInnes, Healy & Melville 2018, arXiv:1802.03426.
    """
    with _without("tensorflow"):
        umap = import_optional("umap", needed_for="a map of features (UMAP)", package="umap-learn")
    if len(features) < max(_FEWEST, dimensions + 2):
        raise ConfigError(f"a map takes {max(_FEWEST, dimensions + 2)} galaxies or more, got {len(features)}")
    mapper = umap.UMAP(
        n_components=dimensions,
        n_neighbors=min(neighbours, len(features) - 1),
        random_state=seed,
        n_jobs=1,
    )
    return np.asarray(mapper.fit_transform(features), np.float32)


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Have a package seem absent for a while, unless it is loaded.

    umap-learn loads TensorFlow for a kind of map that is not drawn here; after it torch, which Keras may then
    load, ends the process (`zoobot.shared.imports`).
    """
    modules: dict[str, Any] = sys.modules
    if package in modules:
        yield
        return
    modules[package] = None
    try:
        yield
    finally:
        del modules[package]


FORMAT = 1
_METADATA_KEY = "zoobot"

#: Smaller variances, over the largest one, are rounding.
_NEGLIGIBLE = 1e-12

#: A smaller spread, over the mean, is rounding: features are float32.
_ROUNDING = 1e-7


@dataclass(frozen=True, eq=False, kw_only=True)
class Projection:
    """A linear map of features: less the mean, over the scale, onto components.

    Args:
        mean: Of each feature, (width,).
        scale: What each is divided by, (width,): its standard deviation, or 1.
        components: Unit vectors, the one of the largest variance first, (components, width); None keeps the
            features as they are.
        variances: Of the galaxies along each component, (components,); empty without components.
        whiten: Whether each component is divided by its standard deviation.
        explained: Share of all variance that the components have; 1 without components.
        galaxies: How many it was fitted on.
        origin: What features it is of, JSON-ready.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    components: NDArray[np.float64] | None = None
    variances: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    whiten: bool = False
    explained: float = 1.0
    galaxies: int = 0
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """How many features it takes."""
        return len(self.mean)

    @property
    def num_outputs(self) -> int:
        """How many numbers it gives."""
        return self.width if self.components is None else len(self.components)

    @property
    def output_columns(self) -> list[str]:
        """The names of these numbers in a table."""
        stem = "feature" if self.components is None else "pca"
        return [f"{stem}_{number:04d}" for number in range(self.num_outputs)]

    def apply(self, features: NDArray) -> NDArray[np.float32]:
        """The projection of features, (galaxies, width), to (galaxies, outputs).

        Raises:
            ConfigError: If they are of another width.
        """
        if features.ndim != 2 or features.shape[1] != self.width:
            msg = f"the projection is of {self.width:,} features, got an array of shape {features.shape}: "
            msg += "they come from another model or block"
            raise ConfigError(msg)
        values = (np.asarray(features, np.float64) - self.mean) / self.scale
        if self.components is not None:
            values = values @ self.components.T
            if self.whiten:
                values /= np.sqrt(self.variances)
        return values.astype(np.float32)

    def save(self, path: str | Path) -> Path:
        """Write it to a .safetensors file, whole or not at all; what is no array is JSON in its header.

        Raises:
            WriteError: If it can't be written.
        """
        path = Path(path).expanduser()
        arrays = {"mean": self.mean, "scale": self.scale, "variances": self.variances}
        if self.components is not None:
            arrays["components"] = self.components
        facts = {
            "format": FORMAT,
            "whiten": self.whiten,
            "explained": self.explained,
            "galaxies": self.galaxies,
            "origin": self.origin,
        }
        with replacing(path) as draft:
            write_tensors(draft, arrays, metadata={_METADATA_KEY: json.dumps(facts)})
        return path

    @classmethod
    def load(cls, path: str | Path) -> Projection:
        """The projection back from a file.

        Raises:
            CheckpointError: If the file is absent, damaged, or no projection.
        """
        path = Path(path).expanduser()
        fields: dict[str, Any] = dict(read_tensors(path))
        try:
            fields |= json.loads(_read_header(path)[_METADATA_KEY])
            number = fields.pop("format")
            found = cls(**fields)
            found._check(number)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{path} is no projection of features that can be used: {type(error).__name__}: {error}"
            raise CheckpointError(msg) from error
        return found

    def _check(self, number: int) -> None:
        if number != FORMAT:
            raise ValueError(f"it has format {number!r}, this Zoobot reads {FORMAT}")
        shapes = [self.mean.shape, self.scale.shape]
        if self.components is not None:
            shapes += [(self.components.shape[1],), (len(self.components),)]
        expected = [(self.width,)] * 3 + [self.variances.shape]
        fits = all(a == b for a, b in zip(shapes, expected, strict=False))
        if not fits or not (self.scale > 0).all() or not (self.variances > 0).all():
            raise ValueError(f"its arrays do not fit together: {shapes}")


def fit_projection(
    pieces: Iterable[NDArray],
    *,
    components: int | None = None,
    standardise: bool = True,
    whiten: bool = False,
    at_most: bool = False,
    origin: dict[str, Any] | None = None,
) -> Projection:
    """Standardise features, and find their principal components, exactly, in one pass at constant memory.

    Each feature loses its mean and, with `standardise`, is divided by its standard deviation (a constant one
    by 1). The components are the eigenvectors of the covariance of the result; the largest entry of each is
    positive, so that the same features give the same signs on any machine.

    Args:
        pieces: Features of some galaxies at a time, (galaxies, width).
        components: How many principal components to keep; None keeps all features, and rotates nothing.
        standardise: Whether features count alike, whatever their spread.
        whiten: Whether components do.
        at_most: Whether fewer components do, where galaxies differ in fewer directions.
        origin: What features these are, JSON-ready, for the record.

    Raises:
        ConfigError: If there are fewer than two galaxies, or not as many components.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(100, 8))
        >>> fit_projection([features[:50], features[50:]], components=2).apply(features).shape
        (100, 2)
    """
    moments = None
    for piece in pieces:
        if moments is None:
            moments = FeatureMoments(piece.shape[1], covariance=components is not None)
        with threadpool_limits(1, user_api="blas"):  # more threads would wait for each other
            moments.add(piece)
    if moments is None:
        raise ConfigError("a projection is fitted to features of galaxies, and there were none")
    spread = moments.spread()
    # a constant feature has the rounding of its mean as its spread
    scale = (
        np.where(spread > _ROUNDING * np.abs(moments.mean), spread, 1.0)
        if standardise
        else np.ones_like(spread)
    )
    shared: dict[str, Any] = {"mean": moments.mean, "scale": scale, "galaxies": moments.count}
    shared["origin"] = dict(origin or {})
    if components is None:
        return Projection(**shared)
    with threadpool_limits(1, user_api="blas"):
        variances, vectors = np.linalg.eigh(moments.covariance() / np.outer(scale, scale))
    variances, vectors = variances[::-1], vectors.T[::-1]
    rank = int((variances > _NEGLIGIBLE * variances[0]).sum())
    components = min(components, rank) if at_most else components
    if not 1 <= components <= rank:
        raise ConfigError(
            f"components must be a number from 1 to {rank}: so many directions there are in which these "
            f"{moments.count:,} galaxies of {len(spread):,} features differ; got {components!r}"
        )
    kept = vectors[:components]
    kept = kept * np.sign(kept[np.arange(components), np.abs(kept).argmax(axis=1)])[:, None]
    explained = float(variances[:components].sum() / variances.sum())
    return Projection(
        **shared, components=kept, variances=variances[:components], whiten=whiten, explained=explained
    )


def _read_header(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return file.metadata() or {}
