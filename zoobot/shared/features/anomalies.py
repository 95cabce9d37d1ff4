"""How strange each galaxy is among all others, by its features alone.

- local-outlier-factor: how thinly its surroundings are peopled, beside those of its neighbours
  (Breunig et al. 2000).
- isolation-forest: how few random cuts have it alone (Liu, Ting & Zhou 2008).

Both are scikit-learn's, fitted to a sample of the galaxies and asked about all of them a piece at a time, so
that memory does not grow with their number. On galaxies: Lochner & Bassett 2021, arXiv:2010.11202;
Walmsley et al. 2022, arXiv:2110.12735.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, NonFiniteError
from zoobot.shared.features.projections import fit_projection

# Features of galaxies on common scales and in fewer dimensions, fitted on a sample of them.
#
# Features of an encoder lie on different scales and repeat each other. Standardised, turned to their
# principal components and scaled again (whitened), a few dozen numbers say nearly as much, and distances
# mean more.

_ROWS_AT_ONCE = 16_384
_SHOWN = 10


def reduce_features(features: NDArray, sample: NDArray[np.int64], n_components: int) -> NDArray[np.float32]:
    """Features as a few numbers on which galaxies have a spread of 1, (galaxies, components).

    Args:
        features: (galaxies, width).
        sample: Rows of the galaxies that the components are of.
        n_components: Principal components to keep, at most; fewer where galaxies differ in fewer directions,
            and of few galaxies one for five of them: scaled along as many directions as there are, all would
            lie equally far apart. None is left where all are alike.
    """
    known = features[sample]
    if (known == known[0]).all():
        return np.zeros((len(features), 0), np.float32)
    wanted = min(n_components, share_of_few(len(sample)))
    projection = fit_projection([known], components=wanted, whiten=True, at_most=True)
    return np.concatenate([projection.apply(features[rows]) for rows in pieces(len(features))])


def check_features(ids: Sequence[str], features: ArrayLike) -> NDArray:
    """Features as (galaxies, width), once found usable: finite, a row for each galaxy, no galaxy twice.

    Raises:
        ConfigError: If the shape is another, or an id is repeated.
        NonFiniteError: If a feature is NaN or infinite; the message names the galaxies.
    """
    table = np.asarray(features)
    if table.ndim != 2 or 0 in table.shape or len(table) != len(ids):
        msg = f"expected the features of {len(ids):,} galaxies, (galaxies, width), got {table.shape}"
        raise ConfigError(msg)
    if len(set(ids)) < len(ids):
        order = sorted(ids)
        twice = sorted({one for one, next_one in pairwise(order) if one == next_one})
        msg = f"every galaxy must come once, but {len(twice):,} ids are repeated: {twice[:_SHOWN]}"
        raise ConfigError(msg)
    bad = [
        rows.start + row
        for rows in pieces(len(table))
        for row in np.flatnonzero(~np.isfinite(table[rows]).all(axis=1))
    ]
    if bad:
        named = [ids[row] for row in bad[:_SHOWN]]
        raise NonFiniteError(f"the features of {len(bad):,} galaxies are not finite: {named}")
    return table


def share_of_few(count: int) -> int:
    """A fifth of them, one at least: as many components or neighbours as few galaxies bear."""
    return max(1, count // 5)


def sample_rows(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """At most `most` of `count` rows, at random, in their order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def pieces(count: int, size: int = _ROWS_AT_ONCE) -> Iterator[slice]:
    """Slices that cover `count` rows, some at a time."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


_TREES = 300


def score_anomalies(
    ids: Sequence[str],
    features: ArrayLike,
    *,
    method: str = defaults.ANOMALY_METHOD,
    n_components: int = defaults.ANOMALY_COMPONENTS,
    neighbours: int = defaults.ANOMALY_NEIGHBOURS,
    fitted_to: int = defaults.ANOMALY_SAMPLE,
    seed: int = defaults.SEED,
) -> NDArray[np.float64]:
    """How strange each galaxy is, (galaxies,): the higher, the stranger.

    Args:
        ids: The galaxies, for messages.
        features: What an encoder makes of them, (galaxies, width).
        method: One of `METHODS`.
        n_components: Principal components of the standardised features that count.
        neighbours: Of the local outlier factor: how many make the surroundings. A kind of strange galaxy
            with more members than this is a kind of its own, and not strange. At most a fifth of all.
        fitted_to: Most galaxies, chosen at random, that the others are compared with.
        seed: Of that choice, and of the forest.

    Raises:
        ConfigError: If there are fewer than two galaxies, one comes twice, or an option can't work.
        NonFiniteError: If a feature is NaN or infinite; the message names the galaxies.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(200, 8))
        >>> features[17] += 9
        >>> int(score_anomalies([str(i) for i in range(200)], features).argmax())
        17
    """
    table = check_features(ids, features)
    sample = sample_rows(len(table), fitted_to, seed)
    reduced = reduce_features(table, sample, n_components)
    return score_reduced(reduced, method=method, neighbours=neighbours, sample=sample, seed=seed)


def score_reduced(
    reduced: NDArray,
    *,
    method: str,
    neighbours: int,
    sample: NDArray[np.int64],
    seed: int,
) -> NDArray[np.float64]:
    """As `score_anomalies`, of features that `reduce_features` has reduced.

    Args:
        reduced: (galaxies, components).
        method: One of `METHODS`.
        neighbours: Of the local outlier factor.
        sample: Rows of the galaxies that the others are compared with.
        seed: Of the forest.
    """
    if len(sample) < 2:
        msg = f"strange means unlike the others: expected two or more galaxies, got {len(sample)}"
        raise ConfigError(msg)
    if method not in METHODS:
        raise ConfigError(f"unknown method {method!r}; expected one of {list(METHODS)}")
    if not reduced.shape[1]:  # all galaxies are alike
        return np.zeros(len(reduced))
    if method == "isolation-forest":
        return _isolation(reduced, sample, seed)
    return _outlier_factor(reduced, sample, neighbours)


def _isolation(reduced: NDArray, sample: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=_TREES, random_state=seed).fit(reduced[sample])
    return np.concatenate([-forest.score_samples(reduced[rows]) for rows in pieces(len(reduced))])


def _outlier_factor(reduced: NDArray, sample: NDArray[np.int64], neighbours: int) -> NDArray[np.float64]:
    """Galaxies of the sample are judged by their neighbours, others by those they would have in it."""
    from sklearn.neighbors import LocalOutlierFactor

    factor = LocalOutlierFactor(n_neighbors=min(neighbours, share_of_few(len(sample))), novelty=True)
    factor.fit(reduced[sample])
    scores = np.empty(len(reduced))
    others = np.setdiff1d(np.arange(len(reduced)), sample, assume_unique=True)
    for some in pieces(len(others)):
        scores[others[some]] = -factor.score_samples(reduced[others[some]])
    scores[sample] = -factor.negative_outlier_factor_
    return scores


#: Ways to tell strange galaxies, the default first.
METHODS = ("local-outlier-factor", "isolation-forest")
