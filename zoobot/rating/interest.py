"""How interesting galaxies are to somebody who has rated a few of them.

A regression from features to ratings says what the others would be rated, and how sure that is:

- gaussian-process: a smooth function of the features, with an uncertainty that grows away from the rated
  galaxies (Walmsley et al. 2022, arXiv:2110.12735). Its cost grows with the square of the ratings.
- ridge: linear regressions of resampled ratings, whose spread is the uncertainty. For thousands of ratings.

What to ask next are the galaxies from which most is hoped: `acquisition`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.features.anomalies import pieces

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
        msg = f"unknown model {name!r}; expected one of {list(MODELS)}"
        raise ConfigError(msg)
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
        msg = f"unknown acquisition {name!r}; expected one of {list(ACQUISITIONS)}"
        raise ConfigError(msg)
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
