"""Finetune a pretrained galaxy encoder to a new task, with PyTorch Lightning.

What the models are made of and what they ask of their options is said, in either engine, by
`zoobot.shared.recipes`.
"""

from __future__ import annotations

from torch import Tensor, nn

from zoobot.pytorch import losses
from zoobot.pytorch.learner import FinetuneableZoobot
from zoobot.pytorch.trainer import get_trainer
from zoobot.shared.recipes import ClassifierRecipe, RegressorRecipe, TreeRecipe

__all__ = [
    "FinetuneableZoobotClassifier",
    "FinetuneableZoobotRegressor",
    "FinetuneableZoobotTree",
    "get_trainer",
]


class FinetuneableZoobotClassifier(ClassifierRecipe[nn.Module, Tensor], FinetuneableZoobot):  # type: ignore[misc]
    """A model that says which of several classes a galaxy is, or which labels it has: `ClassifierRecipe`.

    Example:
        >>> FinetuneableZoobotClassifier(num_classes=2, name="convnext_atto").task.num_outputs
        2
    """

    def galaxy_losses(self, raw: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy or focal loss of each galaxy, (batch,); missing labels are left out."""
        options = {"class_weights": self.class_weights, **self._loss_options}
        if self.task.predicts == "classes":
            return losses.classification_loss(raw, labels[:, 0].long(), **options)
        return _mean_of_present(getattr(losses, self.task.loss)(raw, labels, **options), labels)


class FinetuneableZoobotRegressor(RegressorRecipe[nn.Module, Tensor], FinetuneableZoobot):  # type: ignore[misc]
    """A model that measures one or many numbers of a galaxy: `RegressorRecipe`."""

    def galaxy_losses(self, raw: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of each galaxy over the targets that it has, (batch,)."""
        targets = self.head.standardise(labels)
        return _mean_of_present(losses.regression_loss(raw, targets, **self._loss_options), labels)


class FinetuneableZoobotTree(TreeRecipe[nn.Module, Tensor], FinetuneableZoobot):  # type: ignore[misc]
    """A model that answers every question of a decision tree as volunteers would: `TreeRecipe`."""

    def galaxy_losses(self, raw: Tensor, labels: Tensor) -> Tensor:
        """The negative log-likelihood of each galaxy's votes, summed over questions, (batch,), in nats."""
        return self.loss_parts(raw, labels).sum(dim=1)

    def loss_parts(self, raw: Tensor, labels: Tensor) -> Tensor:
        """The negative log-likelihood of each question's votes, (batch, questions), in nats."""
        return losses.dirichlet_multinomial_nll(raw, labels, self._question_slices)


FinetuneableZoobot.loadable = {
    kind.__name__: kind
    for kind in (FinetuneableZoobotClassifier, FinetuneableZoobotRegressor, FinetuneableZoobotTree)
}


def _mean_of_present(each: Tensor, labels: Tensor) -> Tensor:
    """The mean over the labels a galaxy has, (batch,); `each` is already zero where one is missing."""
    return each.sum(dim=1) / labels.isfinite().sum(dim=1).clamp(min=1)
