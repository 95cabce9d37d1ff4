"""Validate, and keep, a running average of the weights instead of the weights of the last step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from zoobot.shared.training.averaging import decay_at

if TYPE_CHECKING:
    from zoobot.tensorflow.learner import FinetuneableZoobot

__all__ = ["AveragedWeights", "SwapWeights"]


class AveragedWeights(keras.callbacks.Callback):
    """Averages every parameter that learns, and the norm statistics, over the steps of a run.

    It stands before what validates and keeps the best model; a `SwapWeights` before these, and one after
    them, put the average in the place of the weights meanwhile.

    Args:
        model: What learns.
        decay: The share of the average that stays at each step, in the long run.
    """

    def __init__(self, model: FinetuneableZoobot, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.updates = 0
        self.swapped = False
        self._live = _averaged(model)
        self.average = {name: tf.Variable(v.value, trainable=False) for name, v in self._live.items()}
        self._follow = tf.function(self._follow_eagerly)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Begin with the weights as they are, or with those of the run that goes on."""
        self._steps = self._steps_taken()
        if not self.updates:
            for name, average in self.average.items():
                average.assign(self._live[name].value)

    def _steps_taken(self) -> int:
        return int(self.model.optimizer.iterations.value.numpy())

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Move the average, if this batch ended with a step."""
        self._keep_up()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Move it for the last step of an epoch, which may come after its last batch."""
        self._keep_up()

    def _keep_up(self) -> None:
        steps = self._steps_taken()
        if steps == self._steps:
            return
        self._steps = steps
        self._follow(tf.constant(1 - decay_at(self.updates, self.decay), tf.float64))
        self.updates += 1

    def _follow_eagerly(self, share: tf.Tensor) -> None:
        for name, average in self.average.items():
            live = tf.convert_to_tensor(self._live[name])
            average.assign_add(tf.cast(share, live.dtype) * (live - average))

    def swap(self) -> None:
        """Put the average in the place of the weights, or the weights back."""
        for name, average in self.average.items():
            kept = average.numpy()
            average.assign(self._live[name].value)
            self._live[name].assign(kept)
        self.swapped = not self.swapped

    def put_back(self) -> None:
        """Put the weights back where validation was interrupted."""
        if self.swapped:
            self.swap()

    def state(self) -> tuple[int, dict[str, np.ndarray]]:
        """What a resumed run must know: how many updates there were, and the average."""
        return self.updates, {name: np.asarray(average.numpy()) for name, average in self.average.items()}

    def load_state(self, updates: int, average: dict[str, np.ndarray]) -> None:
        """Take up a killed run's average."""
        self.updates = updates
        for name, variable in self.average.items():
            variable.assign(average[name])


class SwapWeights(keras.callbacks.Callback):
    """At the end of an epoch, swap the weights and their average.

    Args:
        average: Holds the average.
    """

    def __init__(self, average: AveragedWeights) -> None:
        super().__init__()
        self.average = average

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Swap them, if there is an average yet."""
        if self.average.updates:
            self.average.swap()


def _averaged(model: FinetuneableZoobot) -> dict[str, Any]:
    """Parameters that learn, and the statistics that training changes."""
    named = model.encoder.timm_variables()
    learning = {id(variable) for variable, _ in model.learning}
    chosen = {
        f"encoder.{name}": v
        for name, v in named.items()
        if id(v) in learning or name.endswith(("running_mean", "running_var"))
    }
    linear = model.head.linear
    return chosen | {"head.linear.weight": linear.kernel, "head.linear.bias": linear.bias}
