"""The best linear head on fixed features, exact, with its weight decay chosen by validation.

With the encoder frozen, what is left to learn is convex for most losses: L-BFGS finds the one best head that
gradient steps would approach over many epochs. Features are standardised and, where there are fewer galaxies
than features, turned into the directions that the galaxies span, which changes nothing in the solution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zoobot.shared import defaults

__all__ = ["BestHead", "HeadLoss", "find_best_head", "find_head"]

FloatArray: TypeAlias = NDArray[np.float64]

#: From features, labels, weights (outputs, features) and biases (outputs,) to the losses of the galaxies,
#: (galaxies,), and the derivatives of their mean with respect to weights and biases.
HeadLoss: TypeAlias = Callable[
    [FloatArray, NDArray, FloatArray, FloatArray], tuple[FloatArray, FloatArray, FloatArray]
]

#: Pulls towards zero, per standardised weight: from none that matters to nothing learned.
DECAYS = tuple(np.geomspace(1000.0, 1e-3, 9))

_FOLDS = 5
_DECAYS_PAST_BEST = 2

#: A feature is standardised by its own scatter, but at least by this part of the median of all.
_LEAST_SCATTER = 0.3
_MAX_ITERATIONS = 200


class BestHead(NamedTuple):
    """A linear head and how it was chosen.

    Attributes:
        weight: (outputs, features), for features as they are.
        bias: (outputs,).
        decay: The chosen pull towards zero: half of it times the squared standardised weights is added to
            the mean loss.
        score: The mean loss of galaxies that the chosen decay was judged on.
    """

    weight: FloatArray
    bias: FloatArray
    decay: float
    score: float


class _Basis(NamedTuple):
    """Features standardised, and expressed in fewer directions where few galaxies span no more.

    They become (features - mean) * scale and, where there are directions, (features, fewer), times these.
    """

    mean: FloatArray
    scale: FloatArray
    directions: FloatArray | None

    @classmethod
    def of(cls, features: NDArray) -> _Basis:
        mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
        # a feature that hardly varies here may do so elsewhere: blown up, it would rule predictions there
        varying = std > 1e-6 * std.max(initial=0.0)
        floor = _LEAST_SCATTER * np.median(std[varying]) if varying.any() else 1.0
        scale = np.where(varying, 1 / np.maximum(std, floor), 0.0)
        if len(features) >= features.shape[1]:
            return cls(mean, scale, None)
        sizes, spanned = _decompose((features - mean) * scale)
        spanned = spanned[sizes > 1e-9 * sizes.max(initial=0.0)]
        return cls(mean, scale, spanned.T)

    def apply(self, features: NDArray) -> FloatArray:
        standardised = (features - self.mean) * self.scale
        return standardised if self.directions is None else standardised @ self.directions

    def weights_of_features(self, weight: FloatArray) -> FloatArray:
        """Weights, (outputs, features), of features as they are, from those of what `apply` makes of them."""
        return (weight if self.directions is None else weight @ self.directions.T) * self.scale


def _decompose(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Singular values and right singular vectors, largest first."""
    from scipy.linalg import svd

    try:
        _, sizes, spanned = np.linalg.svd(features, full_matrices=False)
    except np.linalg.LinAlgError:  # the fast method may not converge, as where galaxies stand in several rows
        _, sizes, spanned = svd(features, full_matrices=False, lapack_driver="gesvd")
    return sizes, spanned


def find_best_head(
    loss: HeadLoss,
    training: tuple[NDArray, NDArray],
    validation: tuple[NDArray, NDArray],
    *,
    start: FloatArray,
    views: int = 1,
    seed: int = defaults.SEED,
) -> BestHead:
    """The head of least loss on the training galaxies, with the weight decay that foretells others best.

    Where validation galaxies are few, or none, cross-validation over the training galaxies chooses with them.

    Args:
        loss: The loss and its derivatives.
        training: Features, (views * galaxies, features), and labels, view after view; the plain view first,
            which alone chooses the decay.
        validation: Features, (galaxies, features), and labels.
        start: Biases to begin with, (outputs,).
        views: How often each training galaxy stands in `training`.
        seed: Seeds the folds of the cross-validation.

    Example:
        >>> def squares(x, y, weight, bias):
        ...     error = x @ weight.T + bias - y
        ...     return (error**2)[:, 0], 2 * error.T @ x / len(x), 2 * error.mean(axis=0)
        >>> x = np.random.default_rng(0).normal(size=(200, 3))
        >>> data = (x, x[:, :1] * 2)
        >>> find_best_head(squares, data, data, start=np.zeros(1)).weight.round(2).tolist()
        [[2.0, 0.0, 0.0]]
    """
    galaxies = len(training[0]) // views
    plain = training[0][:galaxies], training[1][:galaxies]
    if len(validation[0]) >= defaults.ENOUGH_TO_VALIDATE or galaxies == 1:
        scores = [_path_losses(loss, plain, validation, start, stop_early=True)]
    else:
        scores = _cross_validated(loss, plain, start, seed)
        if len(validation[0]):
            scores.append(_path_losses(loss, plain, validation, start))
    mean = np.concatenate(scores, axis=1).mean(axis=1)
    best = int(np.argmin(np.where(np.isfinite(mean), mean, np.inf)))
    basis = _Basis.of(training[0])
    *_, (weight, bias) = _solutions(loss, basis.apply(training[0]), training[1], DECAYS[: best + 1], start)
    raw = basis.weights_of_features(weight)
    return BestHead(raw, bias - raw @ basis.mean, DECAYS[best], float(mean[best]))


def find_head(
    loss: HeadLoss, training: tuple[NDArray, NDArray], decay: float, *, start: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Weights, (outputs, features), and biases, (outputs,), of least loss for one weight decay.

    Args:
        loss: The loss and its derivatives.
        training: Features, (galaxies, features), and labels.
        decay: Pull towards zero, as in `BestHead`.
        start: Biases to begin with, (outputs,).
    """
    basis = _Basis.of(training[0])
    ((weight, bias),) = _solutions(loss, basis.apply(training[0]), training[1], (decay,), start)
    raw = basis.weights_of_features(weight)
    return raw, bias - raw @ basis.mean


def _cross_validated(
    loss: HeadLoss, training: tuple[NDArray, NDArray], start: FloatArray, seed: int
) -> list[FloatArray]:
    """The losses of the galaxies of each fold, found by the others: (decays, galaxies) each."""
    features, labels = training
    fold_of = np.random.default_rng(seed).permutation(len(features)) % min(_FOLDS, len(features))
    losses = []
    for fold in range(fold_of.max() + 1):
        out = fold_of == fold
        kept, others = (features[~out], labels[~out]), (features[out], labels[out])
        losses.append(_path_losses(loss, kept, others, start))
    return losses


def _path_losses(
    loss: HeadLoss,
    training: tuple[NDArray, NDArray],
    others: tuple[NDArray, NDArray],
    start: FloatArray,
    *,
    stop_early: bool = False,
) -> FloatArray:
    """The losses of other galaxies for each decay of the path, (decays, galaxies); infinite beyond a stop.

    The weaker the decay the longer L-BFGS takes, so where these galaxies decide alone the path ends once they
    have turned away from it.
    """
    basis = _Basis.of(training[0])
    features = basis.apply(others[0])
    losses = np.full((len(DECAYS), len(features)), np.inf)
    for place, head in enumerate(_solutions(loss, basis.apply(training[0]), training[1], DECAYS, start)):
        losses[place] = loss(features, others[1], *head)[0]
        means = losses[: place + 1].mean(axis=1)
        if stop_early and place - int(np.argmin(means)) >= _DECAYS_PAST_BEST:
            break
    return losses


def _solutions(
    loss: HeadLoss, features: FloatArray, labels: NDArray, decays: tuple[float, ...], start: FloatArray
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """The best head for each decay, from the strongest on, each found from the one before."""
    from scipy.optimize import minimize

    outputs, width = len(start), features.shape[1]
    point = np.concatenate([np.zeros(outputs * width), start])
    for decay in decays:

        def objective(flat: FloatArray, decay: float = decay) -> tuple[float, FloatArray]:
            weight, bias = flat[: outputs * width].reshape(outputs, width), flat[outputs * width :]
            losses, of_weight, of_bias = loss(features, labels, weight, bias)
            value = losses.mean() + 0.5 * decay * np.square(weight).sum()
            return value, np.concatenate([(of_weight + decay * weight).ravel(), of_bias])

        options = {"maxiter": _MAX_ITERATIONS, "ftol": 1e-8, "gtol": 1e-6}
        point = minimize(objective, point, jac=True, method="L-BFGS-B", options=options).x
        yield point[: outputs * width].reshape(outputs, width), point[outputs * width :]
