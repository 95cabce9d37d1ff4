"""Choosing a batch of galaxies that are worth labelling and differ from each other.

The best scores often belong to galaxies that look alike, and the label of one would do for all. Features of
an encoder say how alike they are: of each candidate, the distance to the nearest galaxy that is chosen or
labelled already counts beside its score.

- kcentre: always the candidate with the largest score times distance (a greedy core-set).
- kmeans++: drawn with probabilities proportional to score times squared distance, so outliers rule less.
- clusters: galaxies are grouped by their features, into as many groups as there are labelled galaxies and
  galaxies to choose; the best score of each group that has no labelled galaxy, of equal ones the galaxy
  nearest to the group's middle; of the largest group first. So the choice stands for all galaxies.
- none: the largest scores.

References:
    Sener & Savarese 2018, arXiv:1708.00489 (core-sets); Arthur & Vassilvitskii 2007 (k-means++);
    Ash et al. 2020, arXiv:1906.03671 (k-means++ for batches); Hacohen et al. 2022, arXiv:2202.02794 (one of
    each cluster, at low budgets).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zoobot.choosing.strategy_names import DIVERSITIES
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.features.anomalies import pieces, sample_rows
from zoobot.shared.features.projections import fit_projection

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from zoobot.shared.votes import FloatArray

_ROWS_AT_ONCE = 4096

#: Clusters are made of the directions in which galaxies differ most, from at most so many galaxies, or so
#: many for each cluster; beyond the largest number of clusters, several galaxies are taken from each.
_DIRECTIONS = 32
_MOST_TO_CLUSTER = 10_000
_MOST_PER_CLUSTER = 20
_MOST_CLUSTERS = 2_000
_STEPS = 25


class Chosen(NamedTuple):
    """A batch of galaxies, best first.

    Attributes:
        rows: Their places among the candidates, (chosen,).
        distances: Of each, when it was chosen, to the nearest galaxy labelled or chosen before, in units of
            the features; NaN for the first of all, and without features. (chosen,)
        cost: What they cost together; their number, where galaxies have no costs.
    """

    rows: NDArray[np.int64]
    distances: FloatArray
    cost: float


def choose_galaxies(
    scores: ArrayLike,
    n: int,
    *,
    diversity: str = "none",
    features: ArrayLike | None = None,
    labelled: ArrayLike | None = None,
    costs: ArrayLike | None = None,
    budget: float | None = None,
    shortlist: int = defaults.SHORTLIST,
    seed: int = defaults.SEED,
) -> Chosen:
    """The galaxies to label next, at most `n`, best first; all that can be paid for.

    Args:
        scores: What each label is worth, at least 0, (galaxies,).
        n: Most galaxies to choose.
        diversity: One of `DIVERSITIES`.
        features: (galaxies, features); needed for diversity.
        labelled: Features of galaxies that are labelled already, from which the choice keeps away too.
        costs: What each label costs, above 0, (galaxies,): then score per cost decides.
        budget: Most that all may cost together; a galaxy that costs more than what is left is passed over.
        shortlist: Only the best `shortlist * n` galaxies by score (per cost) can be chosen for diversity;
            clusters are made of all.
        seed: Of the draws of k-means++, and of what clusters start from.

    Raises:
        ConfigError: If a value can't work, or diversity has no features.

    Example:
        >>> features = [[0.0], [0.0], [5.0]]
        >>> choose_galaxies([1.0, 0.9, 0.5], 2, diversity="kcentre", features=features).rows.tolist()
        [0, 2]
    """
    values = _checked_scores(scores, n, diversity, features)
    price = _checked_costs(costs, len(values))
    left = np.inf if budget is None else float(budget)
    if left <= 0:
        raise ConfigError(f"the budget must be above 0, got {budget!r}")
    worth = values / price
    order = np.argsort(-worth, kind="stable")
    if diversity == "none":
        rows = _affordable(order, price, n, left)
        nearest = _Nearest.of(features, labelled, rows)
        return Chosen(rows, nearest.one_after_another(), float(price[rows].sum()))
    if diversity == "clusters":
        in_turn = _cluster_by_cluster(worth, np.asarray(features), labelled, n, seed)
        rows = _affordable(in_turn, price, n, left)
        nearest = _Nearest.of(features, labelled, rows)
        return Chosen(rows, nearest.one_after_another(), float(price[rows].sum()))
    rows = np.sort(order[price[order] <= left][: shortlist * n])
    nearest = _Nearest.of(features, labelled, rows)
    pick = _PICKS[diversity](np.random.default_rng(seed))
    return _one_by_one(rows, worth[rows], price[rows], n, left, nearest, pick)


class _Nearest:
    """The distance of candidates to the nearest of the galaxies met so far.

    Args:
        features: (candidates, features); None knows no distances.
        n_candidates: How many there are.
    """

    def __init__(self, features: NDArray[np.float32] | None, n_candidates: int) -> None:
        self.features = features
        self.squared = np.full(n_candidates, np.inf)

    @classmethod
    def of(cls, features: ArrayLike | None, labelled: ArrayLike | None, rows: NDArray[np.int64]) -> _Nearest:
        nearest = cls(None if features is None else np.asarray(features, np.float32)[rows], len(rows))
        for one in () if features is None or labelled is None else np.asarray(labelled, np.float32):
            nearest.meet(one)
        return nearest

    def meet(self, one: NDArray[np.float32]) -> None:
        if self.features is None:
            return
        for start in range(0, len(self.features), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            apart = self.features[part] - one
            squared = np.einsum("gf,gf->g", apart, apart, dtype=np.float64)
            np.minimum(self.squared[part], squared, out=self.squared[part])

    def distance(self, place: int) -> float:
        known = self.features is not None and np.isfinite(self.squared[place])
        return float(np.sqrt(self.squared[place])) if known else float("nan")

    def choose(self, place: int) -> None:
        if self.features is not None:
            self.meet(self.features[place])

    def one_after_another(self) -> FloatArray:
        """The distance of each to the nearest before it."""
        distances = np.full(len(self.squared), np.nan)
        for place in range(len(distances)):
            distances[place] = self.distance(place)
            self.choose(place)
        return distances


#: From worths and squared distances of what can be chosen to the place of the next.
_Pick = Callable[["FloatArray", "FloatArray"], int]


def _farthest(generator: np.random.Generator) -> _Pick:
    del generator  # nothing is drawn

    def pick(worth: FloatArray, squared: FloatArray) -> int:
        return int(np.argmax(worth * np.sqrt(squared)))

    return pick


def _drawn(generator: np.random.Generator) -> _Pick:
    def pick(worth: FloatArray, squared: FloatArray) -> int:
        chances = worth * squared
        total = chances.sum()
        if not total > 0:
            return int(np.argmax(worth))
        return int(np.searchsorted(np.cumsum(chances), generator.random() * total, side="right"))

    return pick


_PICKS: dict[str, Callable[[np.random.Generator], _Pick]] = {"kcentre": _farthest, "kmeans++": _drawn}


def _one_by_one(
    rows: NDArray[np.int64],
    worth: FloatArray,
    price: FloatArray,
    n: int,
    left: float,
    nearest: _Nearest,
    pick: _Pick,
) -> Chosen:
    open_ = np.ones(len(rows), bool)
    chosen: list[int] = []
    distances: list[float] = []
    total = 0.0
    while len(chosen) < n:
        places = np.flatnonzero(open_ & (price <= left - total))
        if not len(places):
            break
        squared = nearest.squared[places]
        if np.isinf(squared).all():  # nothing is labelled: the first is the best alone
            place = int(places[np.argmax(worth[places])])
        else:
            place = int(places[min(pick(worth[places], squared), len(places) - 1)])
        chosen.append(place)
        distances.append(nearest.distance(place))
        total += float(price[place])
        open_[place] = False
        nearest.choose(place)
    return Chosen(rows[chosen], np.array(distances), total)


def _cluster_by_cluster(
    worth: FloatArray, features: NDArray, labelled: ArrayLike | None, n: int, seed: int
) -> NDArray[np.int64]:
    """All candidates in turn: first the best of each cluster without a label, of the largest cluster first.

    Then the second best of these and the best of clusters with one label, and so on.
    """
    known = features[:0] if labelled is None else np.asarray(labelled)
    (own, squared), (of_known, _) = _clusters_of([features, known], len(known) + n, seed)
    size, labels = (np.bincount(one, minlength=len(features) + len(known)) for one in (own, of_known))
    best_first = np.lexsort((squared, -worth, own))
    turn = np.empty(len(own), np.int64)
    turn[best_first] = np.arange(len(own)) - np.searchsorted(own[best_first], own[best_first])
    turn += labels[own]
    return np.lexsort((squared, -worth, -(size + labels)[own], turn)).astype(np.int64)


_Clusters = tuple["NDArray[np.int64]", "FloatArray"]


def _clusters_of(parts: list[NDArray], wanted: int, seed: int) -> list[_Clusters]:
    """Of the galaxies of each part, the cluster and the squared distance to its middle, (galaxies,) both."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    n_clusters = min(wanted, _MOST_CLUSTERS)
    most = max(_MOST_TO_CLUSTER, _MOST_PER_CLUSTER * n_clusters)
    sample = np.concatenate([part[sample_rows(len(part), most, seed)] for part in parts])
    if (sample == sample[0]).all():
        return [(np.zeros(len(part), np.int64), np.zeros(len(part))) for part in parts]
    projection = fit_projection([sample], components=_DIRECTIONS, at_most=True)
    reduced = projection.apply(sample)
    n_clusters = min(n_clusters, len(np.unique(reduced, axis=0)))
    with threadpool_limits(1):  # the same sums in the same order, whatever the machine
        means = KMeans(n_clusters, n_init=1, max_iter=_STEPS, random_state=seed).fit(reduced)

        def assign(part: NDArray) -> _Clusters:
            cluster, squared = np.empty(len(part), np.int64), np.empty(len(part))
            for rows in pieces(len(part)):
                reduced = projection.apply(part[rows])
                cluster[rows] = means.predict(reduced)
                squared[rows] = np.square(reduced - means.cluster_centers_[cluster[rows]]).sum(axis=1)
            return cluster, squared

        return [assign(part) for part in parts]


def _affordable(order: NDArray[np.int64], price: FloatArray, n: int, left: float) -> NDArray[np.int64]:
    """The first of an order, without those that cost more than what is left."""
    chosen: list[int] = []
    for place in order.tolist():
        if len(chosen) == n:
            break
        if price[place] <= left:
            chosen.append(place)
            left -= price[place]
    return np.array(chosen, np.int64)


def _checked_scores(scores: ArrayLike, n: int, diversity: str, features: ArrayLike | None) -> FloatArray:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any():
        msg = f"scores must be finite numbers of at least 0, (galaxies,), got shape {values.shape}"
        raise ConfigError(msg)
    if n < 1:
        raise ConfigError(f"the number of galaxies to choose must be at least 1, got {n!r}")
    if diversity not in DIVERSITIES:
        raise ConfigError(f"diversity must be one of {list(DIVERSITIES)}, got {diversity!r}")
    if diversity != "none" and features is None:
        msg = f"diversity {diversity!r} needs features of the galaxies; without them choose 'none'"
        raise ConfigError(msg)
    if features is not None and len(np.asarray(features)) != len(values):
        msg = f"features must have a row for each of {len(values)} galaxies, got {len(np.asarray(features))}"
        raise ConfigError(msg)
    return values


def _checked_costs(costs: ArrayLike | None, n_galaxies: int) -> FloatArray:
    if costs is None:
        return np.ones(n_galaxies)
    price = np.asarray(costs, np.float64)
    if price.shape != (n_galaxies,) or not (np.isfinite(price) & (price > 0)).all():
        raise ConfigError(f"costs must be finite numbers above 0, one for each of {n_galaxies} galaxies")
    return price
