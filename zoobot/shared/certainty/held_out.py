"""Whether a factor fitted on some galaxies foretells others better: cross-validation for calibration.

A factor that is fitted on galaxies always suits those galaxies. Whether it is any good is seen on others: the
galaxies are parted by chance into folds, each fold is judged by the factor of the other folds, and the factor
is kept only where that foretells better. What calibration is said to bring is measured so, too.

References:
    Stone 1974, J. R. Statist. Soc. B 36, 111: cross-validatory choice and assessment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import LabelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

__all__ = [
    "FOLDS",
    "LARGEST",
    "SMALLEST",
    "foretells_better",
    "held_out_factors",
    "likeliest_factor",
    "order_of_chance",
]

#: A factor beyond these would say that the model has learned nothing, or that the labels are no labels.
SMALLEST, LARGEST = 0.02, 50.0

FOLDS = 5

#: How far factors lie from 1, before galaxies tell: the standard deviation of their logarithm.
SPREAD = 0.5


def order_of_chance(n: int, ids: Sequence[str] | None, seed: int) -> NDArray[np.int64]:
    """Each galaxy's place in an order that its id and a seed decide, (galaxies,); without ids, its number.

    Raises:
        LabelError: If there is not one id for each galaxy.
    """
    if ids is None:
        return np.random.default_rng(seed).permutation(n)
    if len(ids) != n:
        msg = f"expected an id for each of {n} galaxies, got {len(ids)}"
        raise LabelError(msg)
    key = hashlib.sha256(str(int(seed)).encode()).digest()
    marks = [
        hashlib.blake2b(i.encode("utf-8", "surrogatepass"), digest_size=16, key=key).digest() for i in ids
    ]
    places = np.empty(n, np.int64)
    places[sorted(range(n), key=marks.__getitem__)] = np.arange(n)
    return places


def held_out_factors(fit: Callable[[NDArray[np.bool_]], float], order: NDArray[np.int64]) -> FloatArray:
    """For each galaxy the factor that is fitted on the other folds, (galaxies,).

    Args:
        fit: The factor of the galaxies that a mask (galaxies,) selects.
        order: Any order of the galaxies; neighbours in it fall into different folds.
    """
    folds = np.argsort(np.argsort(order, kind="stable"), kind="stable") % FOLDS
    factors = np.ones(len(order))
    for fold in range(min(FOLDS, len(order))):
        held_out = folds == fold
        factors[held_out] = fit(~held_out)
    return factors


def foretells_better(gains: FloatArray) -> bool:
    """Whether galaxies gain more than could be chance: on average, by more than the error of the average."""
    if len(gains) < 2:
        return False
    return bool(gains.mean() > gains.std(ddof=1) / np.sqrt(len(gains)))


def likeliest_factor(loss: Callable[[float], float], galaxies: int) -> float:
    """The most likely factor, for a mean loss in nats a galaxy; few galaxies leave it nearer to 1.

    Factors are taken to scatter around 1 as much as those of most networks do, which counts for as much as
    the labels of a few galaxies.
    """
    from scipy.optimize import minimize_scalar

    def cost(log_factor: float) -> float:
        return loss(float(np.exp(log_factor))) + (log_factor / SPREAD) ** 2 / (2 * galaxies)

    bounds, options = (np.log(SMALLEST), np.log(LARGEST)), {"xatol": 1e-6}
    return float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded", options=options).x))
