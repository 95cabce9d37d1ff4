"""The Keras callbacks of a finetuning run: what happens around each batch and each epoch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoobot.shared.processes import is_first_process
from zoobot.shared.training.epochs import (
    BestEpoch,
    EpochLog,
    EpochProgress,
    ValidatedBatch,
    validation_scores,
)
from zoobot.shared.training.finetune_settings import seed_of_batch
from zoobot.shared.training.head_optimum import HeadLoss
from zoobot.shared.training.head_start import HeadInEngine
from zoobot.tensorflow import heads
from zoobot.tensorflow.data import TensorBatches
from zoobot.tensorflow.devices import agree_on
from zoobot.tensorflow.families.keras_settings import making_in, stated
from zoobot.tensorflow.learner import FinetuneableZoobot

Scores = dict[str, float] | None


class RunProgress(NamedTuple):
    """How far a run has come.

    Attributes:
        epochs: Finished ones.
        batches: Those learned from in the epoch that is not finished.
        sums: What the losses of these batches add up to, by name.
    """

    epochs: int = 0
    batches: int = 0
    sums: dict[str, np.ndarray] = {}  # noqa: RUF012  never changed


class EpochStart(keras.callbacks.Callback):
    """Tell the data which epoch it is, and seed dropout by it, so that a resumed run draws the same.

    Args:
        trainer: Is told the epoch, and the batch with which it begins here.
        resumed: How far the run had come that is resumed.
    """

    def __init__(self, trainer: Any, resumed: RunProgress) -> None:
        super().__init__()
        self.trainer = trainer
        self.resumed = resumed

    def on_epoch_begin(self, epoch: int, logs: Scores = None) -> None:
        """Begin the epoch, or go on with the one that a killed run was in."""
        goes_on = epoch == self.resumed.epochs
        self.trainer.current_epoch = epoch
        self.trainer.first_batch = self.resumed.batches if goes_on else 0
        if self.model.loss_sums is not None:
            self.model.loss_sums.reset_state()
        if goes_on and is_first_process():
            for name, total in self.resumed.sums.items():
                self.model.loss_variables()[name].assign(total)

    def on_train_batch_begin(self, batch: int, logs: Scores = None) -> None:
        """Begin the draws of this batch."""
        place = (self.trainer.current_epoch, self.trainer.first_batch + batch)
        self.model.seed_dropout(seed_of_batch(self.model.settings.seed, *place))


class ScheduledLearningRate(keras.callbacks.Callback):
    """Set the learning rate before each step.

    Args:
        factor: From steps taken to what `settings.learning_rate` is multiplied by.
    """

    def __init__(self, factor: Callable[[int], float]) -> None:
        super().__init__()
        self.factor = factor

    @property
    def steps_taken(self) -> int:
        """Optimiser steps so far, over all parts of a resumed run."""
        return int(self.model.optimizer.iterations.value.numpy())

    @property
    def next_rate(self) -> float:
        """The learning rate of the head in the coming step."""
        return self.model.settings.learning_rate * self.factor(self.steps_taken)

    def on_train_batch_begin(self, batch: int, logs: Scores = None) -> None:
        """Set the rate of the step that this batch is part of."""
        self.model.optimizer.learning_rate = self.next_rate


class GatheredSteps(keras.callbacks.Callback):
    """Take a step after every few batches, and after the last batch of an epoch, however few there are then.

    Args:
        num_batches: How many the gradients of a step are averaged over.
    """

    def __init__(self, num_batches: int) -> None:
        super().__init__()
        self.num_batches = num_batches
        self._gathered = 0

    def on_train_batch_end(self, batch: int, logs: Scores = None) -> None:
        """Take a step if there are enough."""
        self._gathered += 1
        if self._gathered == self.num_batches:
            self._step()

    def on_epoch_end(self, epoch: int, logs: Scores = None) -> None:
        """Take a step if there are any."""
        if self._gathered:
            self._step()

    @property
    def is_within_step(self) -> bool:
        """Whether gradients wait for more."""
        return self._gathered > 0

    def _step(self) -> None:
        self.model.step(self.num_batches)
        self._gathered = 0


class Validation(keras.callbacks.Callback):
    """Add `val_loss`, the task's metrics as `val_…`, and the training losses of a tree's questions.

    Args:
        batches: The validation galaxies.
        after_batch: Is called after each of their batches with how many were; may raise.
        strategy: How several devices train together.
    """

    def __init__(
        self,
        batches: TensorBatches,
        after_batch: Callable[[int], None],
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        super().__init__()
        self.batches = batches
        self.after_batch = after_batch
        self.strategy = strategy

    def on_epoch_end(self, epoch: int, logs: Scores = None) -> None:
        """Predict the validation galaxies, and score the predictions."""
        validated = []
        for images, labels, ids in self.batches:
            losses, predictions = self.model.validate_batch(images, labels)
            validated.append(ValidatedBatch(losses, predictions, labels.numpy(), ids))
            self.after_batch(len(validated))
        if logs is not None:
            scores = agree_on(validation_scores(self.model.task, validated), self.strategy)
            logs.pop("loss", None)  # there is none where a resumed epoch had only its validation left
            logs |= self.model.training_scores() | scores


class BestModel(keras.callbacks.Callback):
    """Write the neutral checkpoint whenever an epoch is the best so far.

    Args:
        folder: Where the checkpoint goes.
        best: Judges the epochs.
    """

    def __init__(self, folder: Path, best: BestEpoch) -> None:
        super().__init__()
        self.folder = folder
        self.best = best

    def on_epoch_end(self, epoch: int, logs: Scores = None) -> None:
        """Write the model if this epoch is the best so far."""
        scores = {name: value for name, value in (logs or {}).items() if name != "train_loss"}
        self.best.keep(self.model, self.folder, scores, {"epoch": epoch + 1}, writes=is_first_process())


class EarlyStopping(keras.callbacks.Callback):
    """Stop when there was no better epoch for a while.

    Args:
        best: Has judged the epochs.
        patience: Epochs without a better one.
    """

    def __init__(self, best: BestEpoch, patience: int) -> None:
        super().__init__()
        self.best = best
        self.patience = patience

    def on_epoch_end(self, epoch: int, logs: Scores = None) -> None:
        """Stop if patience is at its end, or the score is not a number any more."""
        lost = not np.isfinite((logs or {})[self.best.monitor])
        if lost or self.best.epochs_since >= self.patience:
            self.model.stop_training = True


class EpochMetrics(keras.callbacks.Callback):
    """Append every score to metrics.csv at the end of each epoch.

    Args:
        table: The file.
        schedule: Tells steps and learning rate.
    """

    def __init__(self, table: EpochLog, schedule: ScheduledLearningRate) -> None:
        super().__init__()
        self.table = table
        self.schedule = schedule

    def on_epoch_end(self, epoch: int, logs: Scores = None) -> None:
        """Write one row."""
        if not is_first_process():
            return
        self.table.note(epoch + 1, self.schedule.steps_taken, self.schedule.next_rate, logs or {})


class Progress(keras.callbacks.Callback):
    """Show how far training is, on a terminal or in a log; `EpochProgress` says how.

    Args:
        shown: Says it.
        num_training: Batches of an epoch to learn from.
        num_validation: Those to validate on.
        trainer: Tells where in a resumed epoch this part of the run began.
    """

    def __init__(self, shown: EpochProgress, num_training: int, num_validation: int, trainer: Any) -> None:
        super().__init__()
        self.shown = shown
        self.num_training = num_training
        self.num_batches = num_training + num_validation
        self.trainer = trainer

    def on_train_batch_end(self, batch: int, logs: Scores = None) -> None:
        """Move on."""
        self._reach(self.trainer.first_batch + batch + 1)

    def validated(self, batches: int) -> None:
        """Move on: so many batches of validation are done."""
        self._reach(self.num_training + batches)

    def _reach(self, batches: int) -> None:
        self.shown.reach(self.trainer.current_epoch, batches, of=self.num_batches)

    def on_epoch_end(self, epoch: int, logs: Scores = None) -> None:
        """Say what came of it."""
        self.shown.finish(epoch, logs or {})


class WandbLog(keras.callbacks.Callback):
    """Send the scores of each epoch to Weights & Biases.

    Args:
        save_dir: Where its files go.
    """

    def __init__(self, save_dir: Path) -> None:
        super().__init__()
        self.save_dir = save_dir

    def on_train_begin(self, logs: Scores = None) -> None:
        """Open a run, or go on with the one that is open."""
        import wandb

        self.run = wandb.run or wandb.init(dir=str(self.save_dir))

    def on_epoch_end(self, epoch: int, logs: Scores = None) -> None:
        """Send the scores."""
        self.run.log({"epoch": epoch + 1, **(logs or {})})


# The best head that there is, before the first step.

_TARGET_STATISTICS = ("target_mean", "target_std")


def head_in_engine(model: FinetuneableZoobot) -> HeadInEngine:
    """What finding the best head asks of a model."""
    linear = model.head.linear

    def set_head(weight: NDArray, bias: NDArray) -> None:
        linear.kernel.assign(weight.T)
        linear.bias.assign(bias)

    return HeadInEngine(partial(_head_loss, model), linear.bias.numpy(), set_head, model.validate_batch)


def _head_loss(model: FinetuneableZoobot) -> HeadLoss:
    """The model's loss as a function of what its head's linear layer gives, in float64, without dropout."""
    outputs = model.head.linear.units
    with making_in("float64"), stated():
        head: Any = heads.build_head(model.task, outputs, dropout_prob=0.0)
        # its outputs are given, and of a product in float64 TensorFlow warns
        head.linear = keras.layers.Identity()
    for name in _TARGET_STATISTICS:
        if hasattr(head, name):
            getattr(head, name).assign(getattr(model.head, name).numpy())

    @tf.function(
        input_signature=[tf.TensorSpec((None, outputs), tf.float64), tf.TensorSpec((None, None), tf.float64)]
    )
    def compute(given: tf.Tensor, labels: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(given)
            losses = model.galaxy_losses(head(given, training=False), labels)
        return losses, tape.gradient(losses, given)

    def loss(given: NDArray, labels: NDArray) -> tuple[NDArray, NDArray]:
        losses, slopes = compute(tf.constant(given), tf.constant(labels, tf.float64))
        return losses.numpy(), slopes.numpy()

    return loss
