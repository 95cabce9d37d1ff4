"""Looking for interesting galaxies together: somebody rates a few, and all others are ranked anew.

As Astronomaly does (Lochner & Bassett 2021, arXiv:2010.11202), on an encoder's features and with a Gaussian
process, as Walmsley et al. (2022, arXiv:2110.12735) do. The session is a folder (`rating_folder`), which
needs neither the features nor the images to go on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from zoobot.rating.folder import (
    RATINGS_FILE,
    RatingLog,
    Start,
    as_rating,
    fingerprint,
    read_start,
    refuse_occupied,
    write_start,
)
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.features.anomalies import (
    check_features,
    pieces,
    reduce_features,
    sample_rows,
    score_reduced,
)
from zoobot.version import __version__

_SHOWN = 10


class RatingSession:
    """A session in its folder; `start` makes one, and the class itself opens one that is there.

    Args:
        folder: The session's folder.

    Raises:
        ConfigError: If there is no session, or it is damaged.
        LabelError: If its ratings are damaged.

    Attributes:
        folder: Its folder.
        settings: What session.json says.
        table: `id_str`, `file_loc`, `anomaly`: a row for each galaxy.
        reduced: Their reduced features, (galaxies, components).

    Example:
        >>> session = RatingSession.start("strange", ids, features)  # doctest: +SKIP
        >>> session.propose(20)["id_str"]  # doctest: +SKIP
        >>> session.rate({"J0001": 5, "J0002": 0})  # doctest: +SKIP
        >>> session.ranking().head(20)  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self.settings, self.table, self.reduced = read_start(self.folder)
        self._rows = {galaxy: row for row, galaxy in enumerate(self.table["id_str"])}
        self._log = RatingLog(self.folder / RATINGS_FILE)
        self._given = self._known_only(self._log.read(), source=RATINGS_FILE)
        self._learned: tuple[Any, Interest] | None = None

    @classmethod
    def start(
        cls,
        folder: str | Path,
        ids: Sequence[str],
        features: ArrayLike,
        *,
        file_locs: Sequence[str] | None = None,
        origin: Mapping[str, Any] | None = None,
        seed: int = defaults.SEED,
    ) -> RatingSession:
        """A new session, without ratings.

        Args:
            folder: Where it goes: a new or empty folder.
            ids: The galaxies.
            features: What an encoder makes of them, (galaxies, width).
            file_locs: Their images, for pictures; empty where unknown.
            origin: Where the features come from, JSON-ready.
            seed: Of all that is drawn at random.

        Raises:
            ConfigError: If the folder holds something else, there are fewer than two galaxies, or one twice.
            NonFiniteError: If a feature is NaN or infinite; the message names the galaxies.
            WriteError: If it can't be written.
        """
        folder = Path(folder).expanduser()
        refuse_occupied(folder)
        table = check_features(ids, features)
        sample = sample_rows(len(table), defaults.ANOMALY_SAMPLE, seed)
        reduced = reduce_features(table, sample, defaults.ANOMALY_COMPONENTS)
        anomaly = score_reduced(
            reduced,
            method=defaults.ANOMALY_METHOD,
            neighbours=defaults.ANOMALY_NEIGHBOURS,
            sample=sample,
            seed=seed,
        )
        settings = {
            "zoobot": __version__,
            "galaxies": len(ids),
            "width": table.shape[1],
            "fingerprint": fingerprint(ids, table),
            "seed": seed,
            "origin": dict(origin or {}),
        }
        places = [""] * len(ids) if file_locs is None else list(file_locs)
        galaxies = pd.DataFrame({"id_str": list(ids), "file_loc": places, "anomaly": anomaly})
        write_start(folder, Start(settings, galaxies, reduced))
        return cls(folder)

    def check_same(self, ids: Sequence[str], features: ArrayLike) -> None:
        """Raise a ConfigError unless these are the features that the session started from."""
        table, width = np.asarray(features), self.settings["width"]
        if table.ndim != 2 or table.shape[1] != width:
            raise ConfigError(f"the session in {self.folder} is of features {width} wide, got {table.shape}")
        if fingerprint(ids, table) != self.settings["fingerprint"]:
            msg = f"the session in {self.folder} is of other features; start one in another folder for these"
            raise ConfigError(msg)

    @property
    def ratings(self) -> dict[str, float]:
        """The rating of each galaxy that has one."""
        return dict(self._given)

    def rate(self, ratings: Mapping[str, Any]) -> int:
        """Keep what galaxies were rated, and say how many ratings are new; all are refused if one is wrong.

        Args:
            ratings: From ids to ratings, from 0 (dull) to 5 (most interesting). A galaxy may be rated again.

        Raises:
            LabelError: If a galaxy is not of this session, or a rating is none.
            WriteError: If they can't be written.
        """
        read = self._known_only({galaxy: as_rating(rating) for galaxy, rating in ratings.items()})
        new = {galaxy: rating for galaxy, rating in read.items() if self._given.get(galaxy) != rating}
        self._log.add(new)
        self._given |= new
        return len(new)

    def ranking(self, *, model: str | None = None) -> pd.DataFrame:
        """All galaxies, the most interesting first.

        Args:
            model: What learns from the ratings: one of `interest.MODELS`; None chooses it.

        Returns:
            `rank`, `id_str`, `file_loc`, `score` (the own rating, or else what is expected; while no two
            ratings differ, how strange the galaxy is), `expected` and `spread` (its standard deviation; NaN
            so far), `anomaly`, `rating` (NaN where there is none).
        """
        interest = self._interest(model)
        table = self.table.assign(expected=np.nan, spread=np.nan, rating=np.nan, score=self.table["anomaly"])
        table.loc[self._rated(), "rating"] = list(self._given.values())
        if interest is not None:
            table["expected"], table["spread"] = interest
            table["score"] = table["rating"].fillna(table["expected"])
        table = table.sort_values(["score", "anomaly"], ascending=False, kind="stable", ignore_index=True)
        table["rank"] = np.arange(1, len(table) + 1)
        return table[["rank", "id_str", "file_loc", "score", "expected", "spread", "anomaly", "rating"]]

    def propose(
        self, n: int, *, model: str | None = None, ask_for: str = defaults.RATING_ACQUISITION
    ) -> pd.DataFrame:
        """The galaxies to rate next, at most `n`, first first: `id_str`, `file_loc`, `expected`, `anomaly`.

        While no two ratings differ, nothing can be learned from them. Then the galaxies are those most like
        the interesting ones that are known; where all were dull, some drawn at random; and of those to begin
        with half are drawn, and half are the strangest.

        Args:
            n: How many.
            model: As for `ranking`.
            ask_for: One of `interest.ACQUISITIONS`.
        """
        interest = self._interest(model)
        left = np.setdiff1d(np.arange(len(self.table)), self._rated())
        if interest is None:
            rows = self._first_to_ask(left, n)
            expected = np.full(len(rows), np.nan)
        else:
            hope = acquisition(interest, max(self._given.values()), ask_for)
            rows = left[np.argsort(-hope[left], kind="stable")[:n]]
            expected = interest.expected[rows]
        found = self.table.iloc[rows].assign(expected=expected)
        return found[["id_str", "file_loc", "expected", "anomaly"]].reset_index(drop=True)

    def _first_to_ask(self, left: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """What to ask about while no two ratings differ."""
        if self._given and max(self._given.values()) >= defaults.TOP_RATING / 2:
            return left[np.argsort(self._distances()[left], kind="stable")[:n]]
        strangest = left[np.argsort(-self.table["anomaly"].to_numpy()[left], kind="stable")]
        first, others = np.split(strangest, [0 if self._given else -(-n // 2)])
        rng = np.random.default_rng([self.settings["seed"], len(self._given)])
        return np.concatenate([first, rng.permutation(np.sort(others))[: n - len(first)]])

    def _distances(self) -> NDArray[np.float64]:
        """From each galaxy to the nearest that is rated."""
        from sklearn.neighbors import NearestNeighbors

        if not self.reduced.shape[1]:  # all galaxies are alike
            return np.zeros(len(self.reduced))
        nearest = NearestNeighbors(n_neighbors=1).fit(self.reduced[self._rated()])
        found = [nearest.kneighbors(self.reduced[some])[0][:, 0] for some in pieces(len(self.reduced))]
        return np.concatenate(found)

    def _interest(self, model: str | None) -> Interest | None:
        """What is learned from the ratings; None while no two of them differ."""
        if len(set(self._given.values())) < 2:
            return None
        key = (model, *self._given.items())
        if self._learned is None or self._learned[0] != key:
            values = list(self._given.values())
            seed = self.settings["seed"]
            learned = predict_ratings(self.reduced, self._rated(), values, model=model, seed=seed)
            self._learned = (key, learned)
        return self._learned[1]

    def _rated(self) -> NDArray[np.int64]:
        return np.array([self._rows[galaxy] for galaxy in self._given], np.int64)

    def _known_only(self, ratings: dict[str, float], source: str = "") -> dict[str, float]:
        unknown = [galaxy for galaxy in ratings if galaxy not in self._rows]
        if unknown:
            place = f"{self.folder / source}: " if source else ""
            msg = f"{place}{len(unknown)} of {len(ratings)} rated galaxies are not of the session in "
            raise LabelError(msg + f"{self.folder}: {unknown[:_SHOWN]!r}")
        return ratings


# How interesting galaxies are to somebody who has rated a few of them.
#
# A regression from features to ratings says what the others would be rated, and how sure that is:
#
# - gaussian-process: a smooth function of the features, with an uncertainty that grows away from the rated
#   galaxies (Walmsley et al. 2022, arXiv:2110.12735). Its cost grows with the square of the ratings.
# - ridge: linear regressions of resampled ratings, whose spread is the uncertainty. For thousands of ratings.
#
# What to ask next are the galaxies from which most is hoped: `acquisition`.

_Predict = Callable[["NDArray"], "tuple[NDArray[np.float64], NDArray[np.float64]]"]

_RESAMPLES = 30
_PENALTIES = np.logspace(-1, 4, 11)
_LEAST_SPREAD = 1e-9

#: Fewer ratings fit any kernel: the shortest length would be the likeliest, and say the mean of all others.
_FEWEST_TO_FIT = 8


class Interest(NamedTuple):
    """What galaxies would be rated.

    Attributes:
        expected: The expected rating, (galaxies,).
        spread: Its standard deviation, (galaxies,).
    """

    expected: NDArray[np.float64]
    spread: NDArray[np.float64]


def predict_ratings(
    reduced: NDArray,
    rows: ArrayLike,
    ratings: ArrayLike,
    *,
    model: str | None = None,
    seed: int = defaults.SEED,
) -> Interest:
    """What all galaxies would be rated, after the ratings of some.

    Args:
        reduced: Features of all galaxies, as `zoobot.shared.features.anomalies` reduces them,
            (galaxies, components).
        rows: Which galaxies are rated, (rated,).
        ratings: Their ratings, (rated,), not all equal.
        model: One of `MODELS`; None is the Gaussian process for up to a thousand ratings.
        seed: Of the resampling.

    Raises:
        ConfigError: If nothing can be learned from the ratings, or the model is unknown.

    Example:
        >>> reduced = np.linspace(-1, 1, 21)[:, None]
        >>> interest = predict_ratings(reduced, [0, 10, 20], [0.0, 1.0, 5.0])
        >>> bool(interest.expected[18] > interest.expected[2])
        True
    """
    known, values = np.asarray(rows, np.int64), np.asarray(ratings, np.float64)
    if len(known) != len(values) or not np.isfinite(values).all():
        msg = f"expected a finite rating for each of {len(known)} galaxies, got {len(values)}: {values}"
        raise ConfigError(msg)
    if len(np.unique(values)) < 2:
        msg = f"the ratings must differ for anything to be learned from them, got {np.unique(values)}"
        raise ConfigError(msg)
    name = model or ("gaussian-process" if len(values) <= defaults.MOST_RATINGS_OF_PROCESS else "ridge")
    if name not in MODELS:
        raise ConfigError(f"unknown model {name!r}; expected one of {list(MODELS)}")
    if not reduced.shape[1]:  # all galaxies are alike
        return Interest(np.full(len(reduced), values.mean()), np.full(len(reduced), values.std()))
    from sklearn.linear_model import Ridge  # noqa: F401  with it come the libraries that are limited

    with threadpool_limits(1, user_api="blas"):  # on matrices as small as these, threads wait for each other
        predict = MODELS[name](reduced[known], values, seed)
        found = [predict(reduced[some]) for some in pieces(len(reduced))]
    return Interest(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def acquisition(
    interest: Interest, best: float, name: str = defaults.RATING_ACQUISITION
) -> NDArray[np.float64]:
    """How much is hoped from asking about each galaxy, (galaxies,).

    Args:
        interest: What the galaxies would be rated.
        best: The highest rating so far.
        name: One of `ACQUISITIONS`. expected-improvement: by how much the galaxy would beat the best so far,
            on average. upper-bound: what it might be rated if things go well, a standard deviation above what
            is expected. expected: what it would be rated.

    Raises:
        ConfigError: If there is no such acquisition.
    """
    if name not in ACQUISITIONS:
        raise ConfigError(f"unknown acquisition {name!r}; expected one of {list(ACQUISITIONS)}")
    return ACQUISITIONS[name](interest, best)


def _expected_improvement(interest: Interest, best: float) -> NDArray[np.float64]:
    from scipy.stats import norm

    spread = np.maximum(interest.spread, _LEAST_SPREAD)
    gain = interest.expected - best
    return np.asarray(gain * norm.cdf(gain / spread) + spread * norm.pdf(gain / spread))


def _fit_process(rated: NDArray, ratings: NDArray[np.float64], seed: int) -> _Predict:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    typical = float(np.sqrt(rated.shape[1]))  # whitened features of unrelated galaxies lie so far apart
    smooth = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(typical, (typical / 10, typical * 10))
    process = GaussianProcessRegressor(
        smooth + WhiteKernel(0.1, (1e-3, 1e1)),
        optimizer="fmin_l_bfgs_b" if len(ratings) >= _FEWEST_TO_FIT else None,
        normalize_y=True,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # few ratings leave a length at its bound
        process.fit(rated.astype(np.float64), ratings)

    def predict(reduced: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return process.predict(reduced.astype(np.float64), return_std=True)

    return predict


def _fit_ridges(rated: NDArray, ratings: NDArray[np.float64], seed: int) -> _Predict:
    from sklearn.linear_model import Ridge, RidgeCV

    rng = np.random.default_rng(seed)
    penalty = RidgeCV(_PENALTIES).fit(rated, ratings).alpha_
    slopes, offsets = [], []
    for _ in range(_RESAMPLES):
        drawn = rng.integers(0, len(ratings), len(ratings))
        fitted = Ridge(penalty).fit(rated[drawn], ratings[drawn])
        slopes.append(fitted.coef_)
        offsets.append(fitted.intercept_)

    def predict(reduced: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        members = reduced.astype(np.float64) @ np.transpose(slopes) + np.array(offsets)
        return members.mean(axis=1), members.std(axis=1)

    return predict


#: Models of ratings, by name.
MODELS: dict[str, Callable[[NDArray, NDArray[np.float64], int], _Predict]] = {
    "gaussian-process": _fit_process,
    "ridge": _fit_ridges,
}

#: What is hoped from asking about a galaxy, by name.
ACQUISITIONS: dict[str, Callable[[Interest, float], NDArray[np.float64]]] = {
    "expected-improvement": _expected_improvement,
    "upper-bound": lambda interest, _: interest.expected + interest.spread,
    "expected": lambda interest, _: interest.expected,
}
