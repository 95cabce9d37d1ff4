"""Finetune a pretrained galaxy encoder to a new task, with Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from zoobot.shared import defaults
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.public_names import advise
from zoobot.shared.schemas import Schema
from zoobot.shared.tasks import ClassificationTask, TreeTask, classification_task, regression_task, tree_task
from zoobot.shared.training.checks import check_classification_options, check_regression_options
from zoobot.shared.training.finetune_settings import FinetuneSettings
from zoobot.shared.training.targets import (
    balanced_weights,
    prior_concentrations,
    read_class_weights,
    target_statistics,
)
from zoobot.tensorflow import losses
from zoobot.tensorflow.learner import FinetuneableZoobot
from zoobot.tensorflow.trainer import get_trainer

__all__ = [
    "FinetuneableZoobotClassifier",
    "FinetuneableZoobotRegressor",
    "FinetuneableZoobotTree",
    "get_trainer",
]


@advise
class FinetuneableZoobotClassifier(FinetuneableZoobot):
    """A model that says which of several classes a galaxy is, or which of several labels it has.

    Args:
        num_classes: How many classes, or labels; may be left to `class_names`.
        class_names: A name for each class, in the order of the labels 0, 1, …
        multi_label: Any number of yes/no labels for each galaxy, one column each, instead of one class.
        label_cols: The label columns; None takes those of the data module.
        loss: "cross_entropy" or "focal" (which looks harder at what is still wrong).
        class_weights: A weight for each class, or "balanced" to make rare classes count as much as others.
            With `multi_label`, the weights of the yes labels.
        label_smoothing: How much of each label is spread over the other classes, in [0, 1).
        focal_gamma: How much harder the focal loss looks; 0 is cross-entropy.
        name: The encoder: a bundled name, `hf_hub:owner/name`, a checkpoint's folder, or a timm architecture
            (untrained).
        encoder: An encoder in memory, instead of `name`.
        preprocessing: How files become pixels, or a dict of changes to the encoder's own record.
        **settings: How the weights learn: see `zoobot.shared.training.finetune_settings.FinetuneSettings`.

    Raises:
        ConfigError: If an option is unknown or can't work.
        EncoderError: If the encoder can't be had.

    Example:
        >>> FinetuneableZoobotClassifier(num_classes=2, name="convnext_atto").task.num_outputs
        2
    """

    def __init__(
        self,
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        multi_label: bool = False,
        label_cols: Sequence[str] | None = None,
        loss: Literal["cross_entropy", "focal"] = "cross_entropy",
        class_weights: Literal["balanced"] | Sequence[float] | None = None,
        label_smoothing: float = defaults.LABEL_SMOOTHING,
        focal_gamma: float = defaults.FOCAL_GAMMA,
        name: str = defaults.ENCODER,
        encoder: keras.layers.Layer | None = None,
        preprocessing: Preprocessing | dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        task = classification_task(
            num_classes=num_classes, class_names=class_names, multi_label=multi_label, label_cols=label_cols
        )
        balanced, given_weights = read_class_weights(class_weights)
        check_classification_options(
            loss,
            task.num_outputs,
            label_smoothing=label_smoothing,
            class_weights=given_weights,
            focal_gamma=focal_gamma,
        )
        super().__init__(
            task,
            name=name,
            encoder=encoder,
            preprocessing=preprocessing,
            settings=FinetuneSettings.from_config(settings),
        )
        self._balanced = balanced
        self.class_weights = given_weights
        self._loss_options: dict[str, Any] = {
            "kind": loss,
            "label_smoothing": label_smoothing,
            "focal_gamma": focal_gamma,
        }
        self.needs_epochs = loss == "focal"

    def learn_label_statistics(self, labels: np.ndarray) -> None:
        """Balance the classes, if asked to."""
        if self._balanced:
            self.class_weights = balanced_weights(labels, self.task).tolist()

    def galaxy_losses(self, raw: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Cross-entropy or focal loss of each galaxy, (batch,); missing labels are left out."""
        if isinstance(self.task, ClassificationTask):
            return losses.classification_loss(
                raw, tf.cast(labels[:, 0], tf.int32), class_weights=self.class_weights, **self._loss_options
            )
        each = losses.multilabel_loss(raw, labels, class_weights=self.class_weights, **self._loss_options)
        return _mean_of_present(each, labels)


@advise
class FinetuneableZoobotRegressor(FinetuneableZoobot):
    """A model that measures one or many numbers of a galaxy.

    The head works in units of each target's mean and scatter, so that targets of any size learn alike;
    predictions come back in the target's own units. A missing target (NaN) is left out of the loss.

    Args:
        label_cols: The target columns; None takes those of the data module.
        num_targets: How many targets, where `label_cols` is None; 1 if neither is given.
        loss: "mse", "mae" or "huber", in units of each target's scatter.
        huber_delta: Where the Huber loss turns from squared to absolute, in the same units.
        unit_interval: The targets lie in [0, 1], and so must the predictions.
        name: The encoder, as for the classifier.
        encoder: An encoder in memory, instead of `name`.
        preprocessing: How files become pixels, or a dict of changes to the encoder's own record.
        **settings: How the weights learn: see `zoobot.shared.training.finetune_settings.FinetuneSettings`.

    Raises:
        ConfigError: If an option is unknown or can't work.
        EncoderError: If the encoder can't be had.
    """

    def __init__(
        self,
        *,
        label_cols: Sequence[str] | None = None,
        num_targets: int | None = None,
        loss: Literal["mse", "mae", "huber"] = "mse",
        huber_delta: float = defaults.HUBER_DELTA,
        unit_interval: bool = False,
        name: str = defaults.ENCODER,
        encoder: keras.layers.Layer | None = None,
        preprocessing: Preprocessing | dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        check_regression_options(loss, huber_delta=huber_delta)
        task = regression_task(num_targets=num_targets, label_cols=label_cols, unit_interval=unit_interval)
        super().__init__(
            task,
            name=name,
            encoder=encoder,
            preprocessing=preprocessing,
            settings=FinetuneSettings.from_config(settings),
        )
        self._loss_options: dict[str, Any] = {"kind": loss, "huber_delta": huber_delta}
        self.needs_epochs = unit_interval

    def learn_label_statistics(self, labels: np.ndarray) -> None:
        """Tell a new head the mean and scatter of each target; a trained one keeps what it has learned."""
        if self.head.is_untrained:
            self.head.set_target_statistics(*target_statistics(labels))

    def galaxy_losses(self, raw: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The mean loss of each galaxy over the targets that it has, (batch,)."""
        targets = self.head.standardise(labels)
        return _mean_of_present(losses.regression_loss(raw, targets, **self._loss_options), labels)


@advise
class FinetuneableZoobotTree(FinetuneableZoobot):
    """A model that answers every question of a decision tree as volunteers would.

    It predicts Dirichlet concentrations for every answer and learns by the Dirichlet-multinomial likelihood
    of the votes: galaxies with many votes count for more, questions nobody was asked count for nothing.

    Args:
        schema: The decision tree, or the name of a survey's.
        name: The encoder, as for the classifier.
        encoder: An encoder in memory, instead of `name`.
        preprocessing: How files become pixels, or a dict of changes to the encoder's own record.
        **settings: How the weights learn: see `zoobot.shared.training.finetune_settings.FinetuneSettings`.

    Raises:
        ConfigError: If an option is unknown or can't work.
        EncoderError: If the encoder can't be had.
        SchemaError: If no survey has that name.

    References:
        Walmsley et al. 2022, MNRAS 509, 3966 (Galaxy Zoo DECaLS), section 4.
    """

    def __init__(
        self,
        *,
        schema: Schema | str,
        name: str = defaults.ENCODER,
        encoder: keras.layers.Layer | None = None,
        preprocessing: Preprocessing | dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        task = tree_task(schema)
        super().__init__(
            task,
            name=name,
            encoder=encoder,
            preprocessing=preprocessing,
            settings=FinetuneSettings.from_config(settings),
        )
        self._question_slices = tuple(task.schema.question_slices)

    def learn_label_statistics(self, labels: np.ndarray) -> None:
        """Start a new head from what is common to all galaxies; a trained one keeps what it has learned."""
        if self.head.is_untrained and isinstance(self.task, TreeTask):
            self.head.set_prior(prior_concentrations(labels, self.task.schema))

    def galaxy_losses(self, raw: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The negative log-likelihood of each galaxy's votes, summed over questions, (batch,), in nats."""
        return tf.reduce_sum(self.loss_parts(raw, labels), axis=1)

    def loss_parts(self, raw: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The negative log-likelihood of each question's votes, (batch, questions), in nats."""
        return losses.dirichlet_multinomial_nll(raw, labels, self._question_slices)


def _mean_of_present(each: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The mean over the labels a galaxy has, (batch,); `each` is already zero where one is missing."""
    present = tf.reduce_sum(tf.cast(tf.math.is_finite(labels), each.dtype), axis=1)
    return tf.reduce_sum(each, axis=1) / tf.maximum(present, 1)
