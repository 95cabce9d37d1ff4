"""Finetune a pretrained galaxy encoder to a new task, with Keras.

What the models are made of and what they ask of their options is said, in either engine, by
`zoobot.shared.recipes`.
"""

from __future__ import annotations

import tensorflow as tf
from keras.layers import Layer

from zoobot.shared.recipes import ClassifierRecipe, RegressorRecipe, TreeRecipe
from zoobot.tensorflow import losses
from zoobot.tensorflow.learner import FinetuneableZoobot
from zoobot.tensorflow.trainer import get_trainer

__all__ = [
    "FinetuneableZoobotClassifier",
    "FinetuneableZoobotRegressor",
    "FinetuneableZoobotTree",
    "get_trainer",
]


class FinetuneableZoobotClassifier(ClassifierRecipe[Layer, tf.Tensor], FinetuneableZoobot):
    """A model that says which of several classes a galaxy is, or which labels it has: `ClassifierRecipe`."""

    def galaxy_losses(self, raw: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Cross-entropy or focal loss of each galaxy, (batch,); missing labels are left out."""
        options = {"class_weights": self.class_weights, **self._loss_options}
        if self.task.predicts == "classes":
            return losses.classification_loss(raw, tf.cast(labels[:, 0], tf.int32), **options)
        return _mean_of_present(getattr(losses, self.task.loss)(raw, labels, **options), labels)


class FinetuneableZoobotRegressor(RegressorRecipe[Layer, tf.Tensor], FinetuneableZoobot):
    """A model that measures one or many numbers of a galaxy: `RegressorRecipe`."""

    def galaxy_losses(self, raw: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The mean loss of each galaxy over the targets that it has, (batch,)."""
        targets = self.head.standardise(labels)
        return _mean_of_present(losses.regression_loss(raw, targets, **self._loss_options), labels)


class FinetuneableZoobotTree(TreeRecipe[Layer, tf.Tensor], FinetuneableZoobot):
    """A model that answers every question of a decision tree as volunteers would: `TreeRecipe`."""

    def galaxy_losses(self, raw: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The negative log-likelihood of each galaxy's votes, summed over questions, (batch,), in nats."""
        return tf.reduce_sum(self.loss_parts(raw, labels), axis=1)

    def loss_parts(self, raw: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The negative log-likelihood of each question's votes, (batch, questions), in nats."""
        return losses.dirichlet_multinomial_nll(raw, labels, self._question_slices)


FinetuneableZoobot.loadable = {
    kind.__name__: kind
    for kind in (FinetuneableZoobotClassifier, FinetuneableZoobotRegressor, FinetuneableZoobotTree)
}


def _mean_of_present(each: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The mean over the labels a galaxy has, (batch,); `each` is already zero where one is missing."""
    present = tf.reduce_sum(tf.cast(tf.math.is_finite(labels), each.dtype), axis=1)
    return tf.reduce_sum(each, axis=1) / tf.maximum(present, 1)
