"""What heads of both engines have alike: sizes, what they keep, how they start; and what losses refuse.

A head is dropout and one linear layer. An engine adds how it computes: these classes come first among the
bases of its heads, and its own layer, a `Head` too, comes after them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.tasks import Task

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class Head:
    """The sizes of a head; and the names by which an engine keeps numbers that are saved and not trained.

    Args:
        num_features: Length of the encoder's feature vector.
        num_outputs: How many numbers its linear layer gives.
        dropout_prob: Chance that a feature is dropped while training, in [0, 1).
        **layer: What the engine's own layer is made with.

    Raises:
        ConfigError: If a size or the chance can't work.
    """

    def __init__(self, num_features: int, num_outputs: int, dropout_prob: float, **layer: Any) -> None:
        check_head(num_features, num_outputs, dropout_prob)
        super().__init__(**layer)
        self.num_features, self.num_outputs = num_features, num_outputs

    def _keep(self, name: str, size: int, value: float) -> None:
        """Have so many numbers, all of one value at first, as an attribute that is saved with the weights."""
        raise NotImplementedError

    def _set(self, kept: Any, values: NDArray[np.float64]) -> None:
        """Give kept numbers, or weights, other values."""
        raise NotImplementedError

    def _get(self, kept: Any) -> NDArray[np.float64]:
        """The values of kept numbers."""
        raise NotImplementedError


class CalibratedHead(Head):
    """A head whose predictions are made of its raw outputs times factors, which are not trained."""

    calibration: Any

    def set_calibration(self, factors: ArrayLike) -> None:
        """Multiply what predictions are made of by these factors from now on, (factors,).

        `zoobot.certainty.calibration` finds those of a tree, one for each answer;
        `zoobot.certainty.temperature` the one of all classes, and those of labels, one for each.

        Raises:
            LabelError: If there are not so many finite numbers above 0.
        """
        self._set(self.calibration, checked_calibration(factors, self.calibration.shape[0]))

    def get_calibration(self) -> NDArray[np.float64]:
        """The factors, (factors,)."""
        return self._get(self.calibration)


class ClassificationHead(CalibratedHead):
    """One of several classes: logits for the loss, probabilities that add up to 1 as predictions.

    Predictions are made of the logits times `calibration`, one factor, which is 1 until it is set, is not
    trained, and is saved with the weights.

    Args:
        num_features: Length of the encoder's feature vector.
        num_classes: How many classes.
        dropout_prob: Chance that a feature is dropped while training, in [0, 1).

    Raises:
        ConfigError: If a size or the chance can't work.
    """

    def __init__(
        self, num_features: int, num_classes: int, *, dropout_prob: float = defaults.DROPOUT_PROB
    ) -> None:
        super().__init__(num_features, num_classes, dropout_prob)
        self._keep("calibration", 1, 1.0)


class MultiLabelHead(CalibratedHead):
    """Any number of yes/no labels: logits for the loss, each label's probability as predictions.

    Predictions are made of the logits times `calibration`, a factor for each label, as for classes.

    Args:
        num_features: Length of the encoder's feature vector.
        num_labels: How many labels.
        dropout_prob: Chance that a feature is dropped while training, in [0, 1).

    Raises:
        ConfigError: If a size or the chance can't work.
    """

    def __init__(
        self, num_features: int, num_labels: int, *, dropout_prob: float = defaults.DROPOUT_PROB
    ) -> None:
        super().__init__(num_features, num_labels, dropout_prob)
        self._keep("calibration", num_labels, 1.0)


class RegressionHead(Head):
    """One or many numbers: standardised for the loss, in the targets' own units as predictions.

    Standardised means less the mean of the training targets and divided by their standard deviation, so that
    one learning rate suits targets of any size. Both are kept with the weights, and are not trained.

    Args:
        num_features: Length of the encoder's feature vector.
        num_targets: How many numbers.
        dropout_prob: Chance that a feature is dropped while training, in [0, 1).
        unit_interval: Whether predictions must lie in [0, 1].

    Raises:
        ConfigError: If a size or the chance can't work.
    """

    target_mean: Any
    target_std: Any

    def __init__(
        self,
        num_features: int,
        num_targets: int,
        *,
        dropout_prob: float = defaults.DROPOUT_PROB,
        unit_interval: bool = False,
    ) -> None:
        super().__init__(num_features, num_targets, dropout_prob)
        self.unit_interval = unit_interval
        self._keep("target_mean", num_targets, 0.5 if unit_interval else 0.0)
        self._keep("target_std", num_targets, 1.0)

    def set_target_statistics(self, mean: ArrayLike, std: ArrayLike) -> None:
        """Take the mean and the standard deviation of the training targets, (targets,) each, in their units.

        Raises:
            LabelError: If there is not one finite number for each target, or a deviation is not above 0.
        """
        means, deviations = checked_target_statistics(mean, std, self.num_outputs)
        self._set(self.target_mean, means)
        self._set(self.target_std, deviations)


class DirichletHead(CalibratedHead):
    """The answers of a decision tree: the concentrations of one Dirichlet distribution for each question.

    Concentrations lie between 1 (any vote fractions are as likely) and 101 (volunteers surely agree on them).
    Predictions are these times `calibration`, which is 1 until it is set, is not trained, and is saved with
    the weights: how sure a network is, and how sure it may be, are learned from different galaxies.

    Args:
        num_features: Length of the encoder's feature vector.
        num_answers: How many answers, over all questions.
        dropout_prob: Chance that a feature is dropped while training, in [0, 1).

    Raises:
        ConfigError: If a size or the chance can't work.

    References:
        Walmsley et al. 2022, MNRAS 509, 3966.
    """

    linear: Any

    def __init__(
        self, num_features: int, num_answers: int, *, dropout_prob: float = defaults.DROPOUT_PROB
    ) -> None:
        super().__init__(num_features, num_answers, dropout_prob)
        self._keep("calibration", num_answers, 1.0)

    def set_prior(self, concentrations: ArrayLike) -> None:
        """Predict these concentrations, (answers,), for every galaxy until something is learned.

        Raises:
            LabelError: If there is not one for each answer, between 1 and 101.
        """
        self._set(self.linear.bias, prior_logits(concentrations, self.num_outputs))


def make_head(heads: Iterable[type[Any]], task: Task, num_features: int, dropout_prob: float) -> Any:
    """The untrained head, of those that an engine has, that predicts what a task asks for."""
    (head,) = (each for each in heads if each.__name__ == task.head)
    return head(num_features, task.num_outputs, dropout_prob=dropout_prob, **task.head_options)


# What a head is made and started with, checked, so that both engines refuse in the same words.


def check_head(num_features: int, num_outputs: int, dropout_prob: float) -> None:
    """Raise a ConfigError unless a head can have these sizes and this dropout.

    Example:
        >>> check_head(1280, 2, 0.5)
    """
    for name, size in (("num_features", num_features), ("number of outputs", num_outputs)):
        if size < 1:
            raise ConfigError(f"the {name} of a head must be at least 1, got {size!r}")
    if not 0 <= dropout_prob < 1:
        raise ConfigError(f"dropout_prob must be in [0, 1), got {dropout_prob!r}")


def check_features_shape(shape: tuple[int, ...], num_features: int) -> None:
    """Raise a ConfigError unless features are (batch, num_features)."""
    if len(shape) != 2 or shape[1] != num_features:
        msg = f"a head made for {num_features} features takes (batch, {num_features}), got shape {shape}"
        raise ConfigError(msg)


def checked_target_statistics(
    mean: ArrayLike, std: ArrayLike, num_targets: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each target, (targets,), found to be usable.

    Raises:
        LabelError: If there is not one finite number for each target, or a deviation is not above 0.

    Example:
        >>> mean, std = checked_target_statistics([-1.5], [3.2], 1)
        >>> mean.shape
        (1,)
    """
    mean, std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    if mean.shape != (num_targets,) or std.shape != (num_targets,):
        msg = f"need mean and std of each of {num_targets} targets, got {mean.tolist()} and {std.tolist()}"
        raise LabelError(msg)
    if not np.isfinite(mean).all() or not np.isfinite(std).all() or (std <= 0).any():
        raise LabelError(f"targets need a finite mean and a std above 0, got {mean.tolist()}, {std.tolist()}")
    return mean, std


def checked_calibration(factors: ArrayLike, num_factors: int) -> NDArray[np.float64]:
    """The factors that calibrate a head, (factors,), found to be usable.

    Raises:
        LabelError: If they are not so many finite numbers above 0.

    Example:
        >>> checked_calibration([0.5, 0.5], 2).tolist()
        [0.5, 0.5]
    """
    given = np.asarray(factors, dtype=np.float64)
    if given.shape != (num_factors,) or not (np.isfinite(given) & (given > 0)).all():
        raise LabelError(f"need {num_factors} finite factors above 0, got {given}")
    return given


def prior_logits(concentrations: ArrayLike, num_answers: int) -> NDArray[np.float64]:
    """The biases with which a Dirichlet head without weights predicts these concentrations: (answers,).

    Raises:
        LabelError: If there is not one for each answer, within what the head can predict.

    Example:
        >>> prior_logits([51.0], 1).tolist()
        [0.0]
    """
    given = np.asarray(concentrations, dtype=np.float64)
    share = (given - defaults.CONCENTRATION_MIN) / defaults.CONCENTRATION_RANGE
    if given.shape != (num_answers,) or not ((share > 0) & (share < 1)).all():
        low = defaults.CONCENTRATION_MIN
        high = low + defaults.CONCENTRATION_RANGE
        msg = f"need {num_answers} concentrations between {low:g} and {high:g}, one an answer, got {given}"
        raise LabelError(msg)
    return np.log(share) - np.log1p(-share)


# What a loss refuses before work starts, in the same words in either engine.

CLASSIFICATION_LOSSES = ("cross_entropy", "focal")
REGRESSION_LOSSES = ("mse", "mae", "huber")

Shape = tuple[int, ...]


def check_classification_options(
    kind: str,
    num_classes: int,
    label_smoothing: float,
    class_weights: Sequence[float] | None,
    focal_gamma: float,
) -> None:
    """Raise a ConfigError unless these can be the options of a loss over classes, or over yes/no labels.

    Example:
        >>> check_classification_options("focal", 2, 0.1, [1.0, 3.0], 2.0)
    """
    _check_kind(kind, CLASSIFICATION_LOSSES)
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"label_smoothing must be in [0, 1), got {label_smoothing!r}")
    if not 0 <= focal_gamma < math.inf:
        raise ConfigError(f"focal_gamma must be finite and not negative, got {focal_gamma!r}")
    if class_weights is None:
        return
    weights = np.asarray(class_weights, dtype=np.float64)
    check_class_weights_shape(weights.shape, num_classes)
    if not np.isfinite(weights).all() or (weights <= 0).any():
        raise ConfigError(f"class_weights must be finite numbers above 0, got {weights.tolist()}")


def check_class_weights_shape(shape: Shape, num_classes: int) -> None:
    """Raise a ConfigError unless there is one weight for each class, or label."""
    if shape != (num_classes,):
        msg = f"class_weights must be one number for each of {num_classes} classes, got shape {shape}"
        raise ConfigError(msg)


def check_regression_options(kind: str, huber_delta: float) -> None:
    """Raise a ConfigError unless these can be the options of a `regression_loss`."""
    _check_kind(kind, REGRESSION_LOSSES)
    if not 0 < huber_delta < math.inf:
        raise ConfigError(f"huber_delta must be finite and above 0, got {huber_delta!r}")


def check_class_labels(logits_shape: Shape, labels_shape: Shape, *, is_integer: bool) -> None:
    """Raise a LabelError unless labels are one whole number for each galaxy of (batch, classes) logits."""
    if len(logits_shape) != 2 or labels_shape != logits_shape[:1]:
        raise LabelError(
            "expected logits (batch, classes) and labels (batch,), "
            f"got shapes {logits_shape} and {labels_shape}"
        )
    if not is_integer:
        raise LabelError("labels of classes must have an integer type: each is the number of a class, from 0")


def check_same_shape(predictions_shape: Shape, labels_shape: Shape) -> None:
    """Raise a LabelError unless both are (batch, columns) of the same size; nothing is broadcast."""
    if len(predictions_shape) != 2 or labels_shape != predictions_shape:
        raise LabelError(
            "expected predictions and labels of one shape (batch, columns), "
            f"got {predictions_shape} and {labels_shape}"
        )


def check_votes_shape(concentrations_shape: Shape, votes_shape: Shape, num_answers: int) -> None:
    """Raise a LabelError unless both are (batch, answers), with the answers of the question slices."""
    if len(votes_shape) != 2 or votes_shape[1] != num_answers or concentrations_shape != votes_shape:
        raise LabelError(
            f"expected concentrations and votes of one shape (batch, {num_answers} answers), as the question "
            f"slices say, got {concentrations_shape} and {votes_shape}"
        )


def _check_kind(kind: str, known: Sequence[str]) -> None:
    if kind not in known:
        raise ConfigError(f"the loss must be one of {list(known)}, got {kind!r}")
