"""The best linear head on fixed features, exact, with its weight decay chosen by validation.

With the encoder frozen, what is left to learn is convex for most losses: L-BFGS finds the one best head that
gradient steps would approach over many epochs. It takes few steps because features are standardised, turned
into their principal directions, and each weight is measured in units of how sharply the loss bends with it:
none of which changes the solution.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from zoobot.shared import defaults

# Features standardised and turned into the directions in which galaxies differ most.

FloatArray: TypeAlias = NDArray[np.float64]

#: A feature is standardised by its own scatter, but at least by this part of the median of all. Measured on
#: classes, votes and a T-type: losses of other galaxies are up to 3% less at 1 than at 0.3.
_LEAST_SCATTER = 1.0

#: Directions in which galaxies differ less than by this part of the largest scatter are rounding.
_ROUNDING = 1e-7


class PrincipalDirections(NamedTuple):
    """What turns features into (features - mean) * scale @ directions.

    Attributes:
        mean: (features,).
        scale: (features,), 0 for one that never varies.
        directions: Orthonormal, (features, directions); all that the galaxies span.
    """

    mean: FloatArray
    scale: FloatArray
    directions: FloatArray

    @classmethod
    def of(cls, features: NDArray) -> PrincipalDirections:
        """Those of some galaxies' features, (galaxies, features)."""
        mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
        # a feature that hardly varies here may do so elsewhere: blown up, it would rule predictions there
        varying = std > 1e-6 * std.max(initial=0.0)
        floor = _LEAST_SCATTER * np.median(std[varying]) if varying.any() else 1.0
        scale = np.where(varying, 1 / np.maximum(std, floor), 0.0)
        return cls(mean, scale, _spanned((features - mean) * scale))

    def apply(self, features: NDArray) -> FloatArray:
        """Features, (galaxies, features), along the directions, (galaxies, directions)."""
        return ((features - self.mean) * self.scale) @ self.directions

    def head_on_features(self, weight: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The head on features as they are that gives what a head gives on the directions.

        Args:
            weight: (outputs, directions).
            bias: (outputs,).

        Returns:
            Weights, (outputs, features), and biases, (outputs,).
        """
        raw = (weight @ self.directions.T) * self.scale
        return raw, bias - raw @ self.mean


def _spanned(standardised: FloatArray) -> FloatArray:
    """The directions that galaxies span, (features, directions), from the smaller of two square matrices."""
    galaxies, width = standardised.shape
    wide = galaxies < width
    squares, vectors = np.linalg.eigh(
        standardised @ standardised.T if wide else standardised.T @ standardised
    )
    sizes = np.sqrt(np.maximum(squares, 0))
    kept = sizes > _ROUNDING * sizes.max(initial=0.0)
    return standardised.T @ (vectors[:, kept] / sizes[kept]) if wide else vectors[:, kept]


#: From what the linear layer gives, (galaxies, outputs), and labels to the losses of the galaxies,
#: (galaxies,), and the derivatives of each with respect to its outputs, (galaxies, outputs).
HeadLoss: TypeAlias = Callable[[FloatArray, NDArray], tuple[FloatArray, FloatArray]]

#: Features, (galaxies, features), and labels.
Labelled: TypeAlias = tuple[NDArray, NDArray]

#: Pulls towards zero, per standardised weight: from none that matters to nothing learned.
DECAYS = tuple(np.geomspace(1000.0, 1e-3, 9))

_FOLDS = 5

#: The search for a decay ends this many past the best, where the loss is larger by this part: under the
#: strongest decays, which learn next to nothing, it may hardly change.
_TURNED_AWAY = ((2, 1e-3), (1, 2e-2))

#: It never ends before so many: there, too, the loss of a tree may rise before it falls.
_LEAST_TRIED = 4

_MAX_ITERATIONS = 1000

#: Steps that L-BFGS remembers: its own work grows with them, and more lessen no evaluations here (measured).
_REMEMBERED = 4

#: L-BFGS ends with a step that lessens the loss by no more than this part; a choice takes less than a head,
#: and features in half the bytes.
_PRECISION = 1e-8
_PRECISION_OF_CHOICE = 1e-4
_TYPE_OF_CHOICE = np.float32

#: How far from 1 (in its logarithm) a factor of logits is expected; the more galaxies, the less that matters.
_SPREAD_OF_FACTORS = 0.25
_MOST_OF_FACTORS = 1.5


class BestHead(NamedTuple):
    """A linear head and how it was chosen.

    Attributes:
        weight: (outputs, features), for features as they are.
        bias: (outputs,).
        decay: The chosen pull towards zero: half of it times the squared standardised weights is added to
            the mean loss.
        score: The mean loss of galaxies that the chosen decay was judged on.
        factor: What weights and biases were multiplied by since; 1 but for logits.
    """

    weight: FloatArray
    bias: FloatArray
    decay: float
    score: float
    factor: float


def find_best_head(
    loss: HeadLoss,
    training: Labelled,
    validation: Labelled,
    *,
    start: FloatArray,
    views: int = 1,
    is_logits: bool = False,
    seed: int = defaults.SEED,
    on_trial: Callable[[int, int], None] | None = None,
) -> BestHead:
    """The head of least loss on the training galaxies, with the weight decay that foretells others best.

    Logits may be multiplied by a factor, chosen with the decay: a strong decay and a factor above 1 foretell
    classes better than any decay alone (measured: their loss is 1 to 5% less).

    Args:
        loss: The loss and its derivatives.
        training: Features, (views * galaxies, features), and labels, view after view; the plain view first,
            which alone chooses the decay.
        validation: Features, (galaxies, features), and labels.
        start: Biases to begin with, (outputs,).
        views: How often each training galaxy stands in `training`.
        is_logits: Whether the loss is that of logits, such as a cross-entropy.
        seed: Seeds the folds of the cross-validation.
        on_trial: Is told how many heads were tried, and how many there are at most.

    Example:
        >>> def squares(outputs, y):
        ...     return ((outputs - y) ** 2)[:, 0], 2 * (outputs - y)
        >>> x = np.random.default_rng(0).normal(size=(200, 3))
        >>> data = (x, x[:, :1] * 2)
        >>> head = find_best_head(squares, data, data, start=np.zeros(1))
        >>> head.weight.round(2).tolist() == [[2.0, 0.0, 0.0]]
        True
    """
    galaxies = len(training[0]) // views
    plain = training[0][:galaxies], training[1][:galaxies]
    with threadpool_limits(1):  # on matrices as small as these, threads wait for each other
        trials = _Trials(loss, plain, validation, start=start, is_logits=is_logits, seed=seed)
        decay, judged = choose_decay(trials, on_trial)
        weight, bias = find_head(loss, training, decay, start=start)
    return BestHead(weight * judged.factor, bias * judged.factor, decay, judged.mean, judged.factor)


def find_head(
    loss: HeadLoss,
    training: Labelled,
    decay: float,
    *,
    start: FloatArray,
    precision: float = _PRECISION,
) -> tuple[FloatArray, FloatArray]:
    """Weights, (outputs, features), and biases, (outputs,), of least loss for one weight decay.

    Args:
        loss: The loss and its derivatives.
        training: Features, (galaxies, features), and labels.
        decay: Pull towards zero, as in `BestHead`.
        start: Biases to begin with, (outputs,).
        precision: It ends with a step that lessens the loss by no more than this part.
    """
    with threadpool_limits(1):
        directions = PrincipalDirections.of(training[0])
        head = _solve(loss, directions.apply(training[0]), training[1], decay, start, precision)
        return directions.head_on_features(*head)


class _Judged(NamedTuple):
    """How well the heads of one decay foretell others: their mean loss, with logits times `factor`."""

    mean: float
    factor: float = 1.0


class _Trials:
    """Galaxies to learn from, and others to judge by.

    These are the validation galaxies, and where they are few, or none, those of a cross-validation too.

    Args:
        loss: The loss and its derivatives.
        training: Features, (galaxies, features), and labels.
        validation: Likewise.
        start: Biases to begin with, (outputs,).
        is_logits: Whether a factor may be chosen with the decay; where galaxies are few it stays 1, since one
            surprise among them would rule it.
        seed: Seeds the folds of the cross-validation.
    """

    def __init__(
        self,
        loss: HeadLoss,
        training: Labelled,
        validation: Labelled,
        *,
        start: FloatArray,
        is_logits: bool,
        seed: int,
    ) -> None:
        self.loss, self.start = loss, start
        directions = PrincipalDirections.of(training[0])
        features, labels = directions.apply(training[0]).astype(_TYPE_OF_CHOICE), training[1]
        self.pairs: list[tuple[Labelled, Labelled]] = []
        if len(validation[0]):
            others = directions.apply(validation[0]).astype(_TYPE_OF_CHOICE), validation[1]
            self.pairs.append(((features, labels), others))
        if len(validation[0]) < defaults.ENOUGH_TO_VALIDATE and len(features) > 1:
            fold_of = np.random.default_rng(seed).permutation(len(features)) % min(_FOLDS, len(features))
            for fold in range(fold_of.max() + 1):
                out = fold_of == fold
                self.pairs.append(((features[~out], labels[~out]), (features[out], labels[out])))
        self.labels = np.concatenate([labels for _, (_, labels) in self.pairs])
        self.chooses_factor = is_logits and len(self.labels) >= defaults.ENOUGH_TO_VALIDATE

    def judge(self, decay: float, on_head: Callable[[], None]) -> _Judged:
        """How well the heads of a decay do; `on_head` is called for each."""
        outputs = []
        for known, (features, _) in self.pairs:
            weight, bias = _solve(self.loss, *known, decay, self.start, _PRECISION_OF_CHOICE)
            outputs.append(_outputs(features, weight, bias))
            on_head()
        together = np.concatenate(outputs)
        factor = self._likeliest_factor(together) if self.chooses_factor else 1.0
        mean = float(self.loss(together * factor, self.labels)[0].mean())
        return _Judged(mean if np.isfinite(mean) else np.inf, factor)

    def _likeliest_factor(self, outputs: FloatArray) -> float:
        from scipy.optimize import minimize_scalar

        def surprise(log_factor: float) -> float:
            expected = 0.5 * (log_factor / _SPREAD_OF_FACTORS) ** 2 / len(outputs)
            return float(self.loss(outputs * np.exp(log_factor), self.labels)[0].mean()) + expected

        bounds = (-_MOST_OF_FACTORS, _MOST_OF_FACTORS)
        return float(np.exp(minimize_scalar(surprise, bounds=bounds, method="bounded").x))


def choose_decay(
    trials: _Trials, on_trial: Callable[[int, int], None] | None = None
) -> tuple[float, _Judged]:
    """The weight decay whose heads foretell other galaxies best, and how well.

    Of decays far apart, one more is tried, where a parabola has the best. The search begins with the
    strongest and ends once the losses have turned away, since the weaker it is the longer L-BFGS takes.

    Args:
        trials: Judge a decay.
        on_trial: Is told how many heads were tried, and how many there are at most.
    """
    judged: list[_Judged] = []
    heads, most = itertools.count(1), (len(DECAYS) + 1) * len(trials.pairs)

    def on_head() -> None:
        if on_trial is not None:
            on_trial(next(heads), most)

    for decay in DECAYS:
        judged.append(trials.judge(decay, on_head))
        means = [one.mean for one in judged]
        best = int(np.argmin(means))
        past = len(means) - 1 - best
        if len(judged) >= _LEAST_TRIED and any(
            past >= many and means[-1] > means[best] + part * abs(means[best]) for many, part in _TURNED_AWAY
        ):
            break
    between = _between(means, best)
    if between != DECAYS[best] and (found := trials.judge(between, on_head)).mean < means[best]:
        return between, found
    return DECAYS[best], judged[best]


def _between(means: list[float], best: int) -> float:
    """Where the losses are least between the decays that were tried, by a parabola through the best three."""
    if not 0 < best < len(means) - 1 or not np.isfinite(means[best - 1 : best + 2]).all():
        return DECAYS[best]
    before, least, after = means[best - 1 : best + 2]
    bend = before - 2 * least + after
    offset = 0.5 * (before - after) / bend if bend > 0 else 0.0  # within half a step, for the middle is least
    return float(DECAYS[best] * (DECAYS[best + 1] / DECAYS[best]) ** offset)


def _solve(
    loss: HeadLoss, features: FloatArray, labels: NDArray, decay: float, start: FloatArray, precision: float
) -> tuple[FloatArray, FloatArray]:
    """The best head on features along their principal directions.

    It is sought from `start`, never from the head of a stronger decay: a tree's concentrations have bounds,
    and what ran to one there, where the loss is flat, would not come back.
    """
    from scipy.optimize import minimize

    outputs, width = len(start), features.shape[1]
    bends, variances = _curvatures(loss, labels, start), np.square(features).mean(axis=0)
    units = 1 / np.sqrt(bends[:, None] * variances + decay), 1 / np.sqrt(bends)

    def head_at(point: FloatArray) -> tuple[FloatArray, FloatArray]:
        weight, bias = point[: outputs * width].reshape(outputs, width), point[outputs * width :]
        return weight * units[0], bias * units[1]

    def objective(point: FloatArray) -> tuple[float, FloatArray]:
        weight, bias = head_at(point)
        losses, slopes = loss(_outputs(features, weight, bias), labels)
        pulled = slopes.T.astype(features.dtype, copy=False) @ features
        of_weight = pulled.astype(np.float64, copy=False) / len(features) + decay * weight
        value = losses.mean() + 0.5 * decay * np.square(weight).sum()
        return value, np.concatenate([(of_weight * units[0]).ravel(), slopes.mean(axis=0) * units[1]])

    begin = np.concatenate([np.zeros(outputs * width), start / units[1]])
    options = {"maxiter": _MAX_ITERATIONS, "maxcor": _REMEMBERED, "ftol": precision, "gtol": 1e-6}
    return head_at(minimize(objective, begin, jac=True, method="L-BFGS-B", options=options).x)


def _outputs(features: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    """What a head gives of features, (galaxies, outputs); the product in the precision of the features."""
    return features @ weight.T.astype(features.dtype, copy=False) + bias


def _curvatures(loss: HeadLoss, labels: NDArray, bias: FloatArray) -> FloatArray:
    """About how sharply the mean loss bends with each output where training begins, (outputs,).

    From one step to a random side for each galaxy and output, so that outputs that act together do not
    disturb each other on average (Hutchinson's estimate of a diagonal).
    """
    outputs = np.tile(bias, (len(labels), 1))
    step = 0.1 * np.random.default_rng(0).choice([-1.0, 1.0], outputs.shape)
    change = loss(outputs + step, labels)[1] - loss(outputs - step, labels)[1]
    bends = (change / (2 * step)).mean(axis=0)
    return np.maximum(bends, 1e-2 * max(np.abs(bends).max(), 1e-6))
