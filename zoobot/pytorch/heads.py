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
from zoobot.shared.training import heads as recipes
from zoobot.shared.training.heads import check_features_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ClassificationHead", "DirichletHead", "MultiLabelHead", "RegressionHead", "build_head"]


class _Head(recipes.Head, nn.Module):
    """Dropout, then one linear layer whose weights begin at zero."""

    def __init__(self, num_features: int, num_outputs: int, dropout_prob: float) -> None:
        super().__init__(num_features, num_outputs, dropout_prob)
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

    def _keep(self, name: str, size: int, value: float) -> None:
        self.register_buffer(name, torch.full((size,), value))

    @torch.no_grad()
    def _set(self, kept: Tensor, values: NDArray[np.float64]) -> None:
        kept.copy_(torch.from_numpy(values))

    def _get(self, kept: Tensor) -> NDArray[np.float64]:
        return kept.double().cpu().numpy()


class ClassificationHead(recipes.ClassificationHead, _Head):
    """One of several classes: logits for the loss, probabilities that add up to 1 as predictions.

    All is as told in `zoobot.shared.training.heads.ClassificationHead`.

    Example:
        >>> head = ClassificationHead(1280, 4)
        >>> head.to_predictions(head(torch.randn(2, 1280)))[0].tolist()
        [0.25, 0.25, 0.25, 0.25]
    """

    def forward(self, features: Tensor) -> Tensor:
        """Logits, (batch, classes), from features, (batch, features)."""
        return self._linear_outputs(features)

    def to_predictions(self, raw: Tensor) -> Tensor:
        """Probabilities, (batch, classes), from logits."""
        return (raw * self.calibration).softmax(dim=1)


class MultiLabelHead(recipes.MultiLabelHead, _Head):
    """Any number of yes/no labels: logits for the loss, each label's probability as predictions.

    All is as told in `zoobot.shared.training.heads.MultiLabelHead`.

    Example:
        >>> head = MultiLabelHead(1280, 2)
        >>> head.to_predictions(head(torch.randn(1, 1280))).tolist()
        [[0.5, 0.5]]
    """

    def forward(self, features: Tensor) -> Tensor:
        """Logits, (batch, labels), from features, (batch, features)."""
        return self._linear_outputs(features)

    def to_predictions(self, raw: Tensor) -> Tensor:
        """Probabilities, (batch, labels), from logits."""
        return (raw * self.calibration).sigmoid()


class RegressionHead(recipes.RegressionHead, _Head):
    """One or many numbers: standardised for the loss, in the targets' own units as predictions.

    All is as told in `zoobot.shared.training.heads.RegressionHead`.

    Example:
        >>> head = RegressionHead(1280, 1)
        >>> head.set_target_statistics([20.0], [4.0])
        >>> head.standardise(torch.tensor([[24.0]])).item()
        1.0
        >>> head.to_predictions(head(torch.randn(1, 1280))).item()  # an untrained head predicts the mean
        20.0
    """

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


class DirichletHead(recipes.DirichletHead, _Head):
    """The answers of a decision tree: the concentrations of one Dirichlet distribution for each question.

    All is as told in `zoobot.shared.training.heads.DirichletHead`.

    Example:
        >>> DirichletHead(1280, 34)(torch.randn(2, 1280)).unique().tolist()
        [51.0]
    """

    def forward(self, features: Tensor) -> Tensor:
        """Concentrations, (batch, answers), from features, (batch, features)."""
        share = self._linear_outputs(features).sigmoid()
        return defaults.CONCENTRATION_MIN + defaults.CONCENTRATION_RANGE * share

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
    heads = (ClassificationHead, MultiLabelHead, RegressionHead, DirichletHead)
    return recipes.make_head(heads, task, num_features, dropout_prob)
