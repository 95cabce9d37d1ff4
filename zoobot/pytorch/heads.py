"""Heads: dropout and one linear layer that turn an encoder's features into what a task predicts.

Each head answers twice. `forward` gives the raw outputs that the loss takes; `to_predictions` turns these
into what a user reads. Weights and biases begin at zero: one linear layer has no symmetry to break, training
starts from the prior (even odds, the mean target, the middle concentration) without a random layer's noise
running back into a pretrained encoder, and both engines start from the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from zoobot.shared import defaults
from zoobot.shared.tasks import Task
from zoobot.shared.training.checks import (
    check_features_shape,
    check_head,
    checked_calibration,
    checked_target_statistics,
    prior_logits,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["ClassificationHead", "DirichletHead", "MultiLabelHead", "RegressionHead", "build_head"]


class _Head(nn.Module):
    """Dropout, then one linear layer whose weights begin at zero."""

    def __init__(self, num_features: int, num_outputs: int, dropout_prob: float) -> None:
        super().__init__()
        check_head(num_features, num_outputs, dropout_prob)
        self.dropout = nn.Dropout(dropout_prob)
        self.linear = nn.Linear(num_features, num_outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @property
    def is_untrained(self) -> bool:
        """Whether the weights are still all zero."""
        return not bool(self.linear.weight.any())

    def _linear_outputs(self, features: Tensor) -> Tensor:
        check_features_shape(tuple(features.shape), self.linear.in_features)
        return self.linear(self.dropout(features))


class _CalibratedHead(_Head):
    """A head whose predictions are made of its raw outputs times factors, which are not trained."""

    calibration: Tensor

    def __init__(self, num_features: int, num_outputs: int, dropout_prob: float, num_factors: int) -> None:
        super().__init__(num_features, num_outputs, dropout_prob)
        self.register_buffer("calibration", torch.ones(num_factors))

    def set_calibration(self, factors: ArrayLike) -> None:
        """Multiply what predictions are made of by these factors from now on, (factors,).

        `zoobot.certainty.calibration` finds those of a tree, one for each answer;
        `zoobot.certainty.temperature` the one of all classes, and those of labels, one for each.

        Raises:
            LabelError: If there are not so many finite numbers above 0.
        """
        given = checked_calibration(factors, len(self.calibration))
        self.calibration.copy_(torch.from_numpy(given))

    def get_calibration(self) -> NDArray[np.float64]:
        """The factors, (factors,)."""
        return self.calibration.double().cpu().numpy()


class ClassificationHead(_CalibratedHead):
    """One of several classes: logits for the loss, probabilities that add up to 1 as predictions.

    Predictions are made of the logits times `calibration`, one factor, which is 1 until it is set, is not
    trained, and is saved with the weights.

    Args:
        num_features: Length of the encoder's feature vector.
        num_classes: How many classes.
        dropout_prob: Chance that a feature is dropped while training, in [0, 1).

    Raises:
        ConfigError: If a size or the chance can't work.

    Example:
        >>> head = ClassificationHead(1280, 4)
        >>> head.to_predictions(head(torch.randn(2, 1280)))[0].tolist()
        [0.25, 0.25, 0.25, 0.25]
    """

    def __init__(
        self, num_features: int, num_classes: int, *, dropout_prob: float = defaults.DROPOUT_PROB
    ) -> None:
        super().__init__(num_features, num_classes, dropout_prob, num_factors=1)

    def forward(self, features: Tensor) -> Tensor:
        """Logits, (batch, classes), from features, (batch, features)."""
        return self._linear_outputs(features)

    def to_predictions(self, raw: Tensor) -> Tensor:
        """Probabilities, (batch, classes), from logits."""
        return (raw * self.calibration).softmax(dim=1)


class MultiLabelHead(_CalibratedHead):
    """Any number of yes/no labels: logits for the loss, each label's probability as predictions.

    Predictions are made of the logits times `calibration`, a factor for each label, as for classes.

    Args:
        num_features: Length of the encoder's feature vector.
        num_labels: How many labels.
        dropout_prob: Chance that a feature is dropped while training, in [0, 1).

    Raises:
        ConfigError: If a size or the chance can't work.

    Example:
        >>> head = MultiLabelHead(1280, 2)
        >>> head.to_predictions(head(torch.randn(1, 1280))).tolist()
        [[0.5, 0.5]]
    """

    def __init__(
        self, num_features: int, num_labels: int, *, dropout_prob: float = defaults.DROPOUT_PROB
    ) -> None:
        super().__init__(num_features, num_labels, dropout_prob, num_factors=num_labels)

    def forward(self, features: Tensor) -> Tensor:
        """Logits, (batch, labels), from features, (batch, features)."""
        return self._linear_outputs(features)

    def to_predictions(self, raw: Tensor) -> Tensor:
        """Probabilities, (batch, labels), from logits."""
        return (raw * self.calibration).sigmoid()


class RegressionHead(_Head):
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

    Example:
        >>> head = RegressionHead(1280, 1)
        >>> head.set_target_statistics([20.0], [4.0])
        >>> head.standardise(torch.tensor([[24.0]])).item()
        1.0
        >>> head.to_predictions(head(torch.randn(1, 1280))).item()  # an untrained head predicts the mean
        20.0
    """

    target_mean: Tensor
    target_std: Tensor

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
        self.register_buffer("target_mean", torch.full((num_targets,), 0.5 if unit_interval else 0.0))
        self.register_buffer("target_std", torch.ones(num_targets))

    def set_target_statistics(self, mean: ArrayLike, std: ArrayLike) -> None:
        """Take the mean and the standard deviation of the training targets, (targets,) each, in their units.

        Raises:
            LabelError: If there is not one finite number for each target, or a deviation is not above 0.
        """
        mean, std = checked_target_statistics(mean, std, self.linear.out_features)
        self.target_mean.copy_(torch.from_numpy(mean))
        self.target_std.copy_(torch.from_numpy(std))

    def standardise(self, targets: Tensor) -> Tensor:
        """Targets, (batch, targets), in the units of the raw outputs; NaN stays NaN."""
        return (targets - self.target_mean) / self.target_std

    def forward(self, features: Tensor) -> Tensor:
        """Standardised values, (batch, targets), from features, (batch, features)."""
        values = self._linear_outputs(features)
        if not self.unit_interval:
            return values
        # Begin at the mean target, whose logit is finite only inside the interval.
        start = self.target_mean.logit(eps=defaults.UNIT_INTERVAL_MARGIN)
        return self.standardise((values + start).sigmoid())

    def to_predictions(self, raw: Tensor) -> Tensor:
        """Values in the targets' units, (batch, targets), from standardised ones."""
        values = raw * self.target_std + self.target_mean
        return values.clamp(0, 1) if self.unit_interval else values


class DirichletHead(_CalibratedHead):
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

    Example:
        >>> DirichletHead(1280, 34)(torch.randn(2, 1280)).unique().tolist()
        [51.0]

    References:
        Walmsley et al. 2022, MNRAS 509, 3966.
    """

    def __init__(
        self, num_features: int, num_answers: int, *, dropout_prob: float = defaults.DROPOUT_PROB
    ) -> None:
        super().__init__(num_features, num_answers, dropout_prob, num_factors=num_answers)

    def forward(self, features: Tensor) -> Tensor:
        """Concentrations, (batch, answers), from features, (batch, features)."""
        share = self._linear_outputs(features).sigmoid()
        return defaults.CONCENTRATION_MIN + defaults.CONCENTRATION_RANGE * share

    def set_prior(self, concentrations: ArrayLike) -> None:
        """Predict these concentrations, (answers,), for every galaxy until something is learned.

        Raises:
            LabelError: If there is not one for each answer, between 1 and 101.
        """
        logits = prior_logits(concentrations, self.linear.out_features)
        with torch.no_grad():
            self.linear.bias.copy_(torch.from_numpy(logits))

    def to_predictions(self, raw: Tensor) -> Tensor:
        """The calibrated concentrations, (batch, answers)."""
        return raw * self.calibration


def build_head(
    task: Task, num_features: int, *, dropout_prob: float = defaults.DROPOUT_PROB
) -> ClassificationHead | MultiLabelHead | RegressionHead | DirichletHead:
    """The untrained head that predicts what a task asks for.

    Args:
        task: What the model learns.
        num_features: Length of the encoder's feature vector.
        dropout_prob: Chance that a feature is dropped while training, in [0, 1).

    Raises:
        ConfigError: If a size or the chance can't work.

    Example:
        >>> from zoobot.shared.tasks import RegressionTask
        >>> type(build_head(RegressionTask(num_targets=2), 1280)).__name__
        'RegressionHead'
    """
    known = (ClassificationHead, MultiLabelHead, RegressionHead, DirichletHead)
    (head,) = (each for each in known if each.__name__ == task.head)
    return head(num_features, task.num_outputs, dropout_prob=dropout_prob, **task.head_options)
