"""Make a classifier as sure as it may be: one factor for its logits, fitted on galaxies it has not seen.

The factor is the inverse of what is called a temperature: below 1, probabilities move towards each other;
above 1, apart. Which class is the most likely stays, and so does which side of one half a yes/no label is on;
labels have a factor each. It is fitted on galaxies that were not trained on.
`zoobot.shared.certainty.calibration` does the same for trees.

References:
    Guo et al. 2017, ICML (arXiv:1706.04599): temperature scaling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.errors import LabelError
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

__all__ = ["Temperature", "class_losses", "fit_temperature", "sharpen"]

#: A factor beyond these would say that the model has learned nothing, or that the labels are no labels.
_SMALLEST, _LARGEST = 0.02, 50.0

#: Probabilities are kept so far from 0 and 1 that their logits are finite; float32 knows nothing nearer to 1.
_TINY, _NEARLY_ONE = 1e-38, 1 - 2.0**-24


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """What logits are multiplied by, and how that was found.

    Args:
        task: What is predicted.
        factors: One for all classes, (1,), or one for each label, (labels,), for `head.set_calibration`.
        n: Galaxies that each was fitted on.
    """

    task: ClassificationTask | MultiLabelTask
    factors: FloatArray
    n: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What each factor is for."""
        if isinstance(self.task, ClassificationTask):
            return ("most likely class",)
        return self.task.label_cols or tuple(map(str, range(self.task.num_labels)))

    def apply(self, predicted: ArrayLike) -> FloatArray:
        """Calibrated probabilities from those without calibration, (galaxies, outputs)."""
        return sharpen(self.task, predicted, self.factors)

    def to_config(self) -> dict[str, Any]:
        """What a checkpoint's training record says of it, JSON-ready."""
        return {
            "objective": "likelihood",
            "factors": {name: round(float(f), 6) for name, f in zip(self.names, self.factors, strict=True)},
            "galaxies": dict(zip(self.names, self.n, strict=True)),
        }


def sharpen(
    task: ClassificationTask | MultiLabelTask, probabilities: ArrayLike, factors: ArrayLike
) -> FloatArray:
    """The probabilities whose logits are so many times as large; the inverse factors undo it.

    Args:
        task: Says whether these are classes, which add up to 1, or labels by themselves.
        probabilities: (…, outputs).
        factors: One for classes, (1,), or one for each label, (labels,).

    Example:
        >>> task = MultiLabelTask(num_labels=1, label_cols=("ring",))
        >>> sharpen(task, [[0.8]], [0.5]).round(3).tolist()
        [[0.667]]
    """
    from scipy.special import expit, logit, softmax

    given = np.clip(np.asarray(probabilities, dtype=np.float64), _TINY, None)
    if isinstance(task, ClassificationTask):
        found: FloatArray = softmax(np.log(given) * np.asarray(factors), axis=-1)
        return found
    moved: FloatArray = expit(logit(np.minimum(given, _NEARLY_ONE)) * np.asarray(factors))
    return moved


def class_losses(
    task: ClassificationTask | MultiLabelTask, probabilities: ArrayLike, labels: ArrayLike
) -> FloatArray:
    """The negative log-likelihood of labels, in nats: (galaxies, 1) of classes, (galaxies, labels) of labels.

    Args:
        task: What is predicted.
        probabilities: (galaxies, outputs).
        labels: (galaxies, label columns); of labels NaN where missing, which gives NaN.
    """
    given = np.clip(np.asarray(probabilities, dtype=np.float64), _TINY, None)
    truth = np.asarray(labels, dtype=np.float64)
    if isinstance(task, ClassificationTask):
        return -np.log(np.take_along_axis(given, truth.astype(np.int64), axis=1))
    given = np.minimum(given, _NEARLY_ONE)
    return -(truth * np.log(given) + (1 - truth) * np.log1p(-given))


def fit_temperature(
    task: ClassificationTask | MultiLabelTask,
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    min_galaxies: int = defaults.CALIBRATION_MIN_GALAXIES,
) -> Temperature:
    """The factors under which the labels of galaxies the model was not trained on are most likely.

    A factor stays 1 where too few galaxies have a label, and where not one of them is predicted wrongly: then
    nothing says how often the model errs.

    Args:
        task: What is predicted.
        probabilities: Predictions without calibration, (galaxies, outputs).
        labels: (galaxies, label columns); of labels NaN where missing.
        min_galaxies: Fewest galaxies with a label for its factor to be fitted.

    Raises:
        LabelError: If the shapes do not fit.

    Example:
        >>> found = fit_temperature(model.task, predictions, labels)  # doctest: +SKIP
        >>> model.head.set_calibration(found.factors)  # doctest: +SKIP
    """
    given, truth = np.asarray(probabilities, np.float64), np.asarray(labels, np.float64)
    if (
        given.ndim != 2
        or given.shape[1] != task.num_outputs
        or truth.shape != (len(given), task.num_label_cols)
    ):
        msg = f"expected predictions and labels of this task, got the shapes {given.shape} and {truth.shape}"
        raise LabelError(msg)
    known = np.isfinite(truth)
    if isinstance(task, ClassificationTask):
        wrong = given.argmax(axis=1, keepdims=True) != truth
    else:
        wrong = (given > 0.5) != (truth > 0.5)
    factors = np.ones(task.num_factors)
    for place in range(task.num_factors):
        rows = known[:, place]
        if rows.sum() >= max(1, min_galaxies) and wrong[rows, place].any():
            factors[place] = _most_likely(_loss_of_factor(task, given[rows], truth[rows], place))
    return Temperature(task=task, factors=factors, n=tuple(int(n) for n in known.sum(axis=0)))


def _loss_of_factor(
    task: ClassificationTask | MultiLabelTask, given: FloatArray, truth: FloatArray, place: int
) -> Callable[[float], float]:
    """The mean loss of the galaxies with a factor, of all classes or of one label."""
    alone = task
    if isinstance(task, MultiLabelTask):
        given, truth = given[:, [place]], truth[:, [place]]
        alone = MultiLabelTask(num_labels=1)

    def loss(factor: float) -> float:
        return float(class_losses(alone, sharpen(alone, given, [factor]), truth).mean())

    return loss


def _most_likely(loss: Callable[[float], float]) -> float:
    from scipy.optimize import minimize_scalar

    bounds, options = (np.log(_SMALLEST), np.log(_LARGEST)), {"xatol": 1e-6}
    found = minimize_scalar(lambda x: loss(np.exp(x)), bounds=bounds, method="bounded", options=options)
    return float(np.exp(found.x))
