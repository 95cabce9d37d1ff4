"""last.ckpt: all that a killed run needs to go on as if nothing had happened, in the middle of an epoch too.

One safetensors file: weights and norm statistics, their average where one is kept, the optimiser's moments
and count of steps, the sums of losses of the epoch so far, and, beside them, the finished epochs and
batches and the best score. It is written beside the old one and moved into its place, so a kill or a full
disk leaves the old one or the new one. Nothing in it is code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoobot.shared.errors import CheckpointError
from zoobot.shared.files.tensors import check_header, write_tensors
from zoobot.shared.files.whole import replacing
from zoobot.shared.processes import is_first_process
from zoobot.shared.training.epochs import BestEpoch
from zoobot.shared.training.steps import (
    BATCHES_BETWEEN_TALKS,
    STEPS_BETWEEN_CHECKS,
    SaveTimes,
    TrainedBatch,
    decay_at,
    refuse_bad_batches,
    refuse_bad_weights,
)
from zoobot.tensorflow import weights
from zoobot.tensorflow.callbacks import GatheredSteps, RunProgress
from zoobot.tensorflow.data import TensorBatches
from zoobot.tensorflow.devices import has_several_processes, tell_processes, totals_of
from zoobot.tensorflow.learner import FinetuneableZoobot

# Stop at a training loss or weight that is not finite, and name the galaxies, without slowing steps.


class NonFiniteGuard(keras.callbacks.Callback):
    """Look at the losses of the last steps, which the model keeps, every so many steps.

    Args:
        trainer: Tells the epoch, and where in it this part of the run began.
        batches: Tell which galaxies a step had.
    """

    def __init__(self, trainer: Any, batches: TensorBatches) -> None:
        super().__init__()
        self.trainer = trainer
        self.batches = batches
        self._unchecked: list[tuple[int, int]] = []
        self._last: TrainedBatch | None = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check if there are enough steps to look at."""
        self._unchecked.append((self.trainer.current_epoch, self.trainer.first_batch + batch))
        if len(self._unchecked) == STEPS_BETWEEN_CHECKS:
            self.check_losses()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check what was learned before it is scored."""
        self.check_losses()

    def check_losses(self) -> None:
        """Raise if a loss since the last call is not finite.

        Raises:
            NonFiniteError: Naming the galaxies of the first such step.
        """
        unchecked, self._unchecked = self._unchecked, []
        if not unchecked:
            return
        tables = [table[-len(unchecked) :] for table in self.model.recent_losses()]
        trained = [self._batch(*step, [t[row] for t in tables]) for row, step in enumerate(unchecked)]
        refuse_bad_batches(trained)
        self._last = trained[-1]

    def _batch(self, epoch: int, number: int, padded: list[np.ndarray]) -> TrainedBatch:
        """The batches of this process's devices as one."""
        ids = self.batches.ids_of(epoch, number)
        losses = [losses[: len(names)] for losses, names in zip(padded, ids, strict=True)]
        return TrainedBatch(epoch, number, np.concatenate(losses), [name for names in ids for name in names])

    def check_weights(self, arrays: dict[str, np.ndarray]) -> None:
        """Raise if a weight is not finite.

        Raises:
            NonFiniteError: Naming galaxies of the last step.
        """
        finite = all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f")
        refuse_bad_weights(self._last, are_finite=finite)


# Validate, and keep, a running average of the weights instead of the weights of the last step.


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


_PARTS = ("encoder", "head", "optimizer", "average", "sums")


class LastCheckpoint(keras.callbacks.Callback):
    """Write last.ckpt at the end of each epoch, every few minutes, and before a signal ends the run.

    It stands after all callbacks that change what it writes.

    Args:
        path: Where it is.
        times: Say when.
        trainer: Tells the epoch, and where in it this part of the run began.
        best: Part of what a resumed run must know.
        guard: Keeps what is not finite out of it.
        average: Part of what a resumed run must know, where one is kept.
        gathering: Tells whether a batch ended with a step, where not every one does.
    """

    def __init__(
        self,
        path: Path,
        times: SaveTimes,
        trainer: Any,
        best: BestEpoch,
        guard: NonFiniteGuard,
        average: AveragedWeights | None = None,
        gathering: GatheredSteps | None = None,
    ) -> None:
        super().__init__()
        self.path = path
        self.times = times
        self.trainer = trainer
        self.best = best
        self.guard = guard
        self.average = average
        self.gathering = gathering
        self._batches = 0
        self._frozen: dict[str, np.ndarray] | None = None

    def save_start(self) -> None:
        """Save a run before its first step: of one that ends there, all that there is."""
        self._save(RunProgress())

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Save where it is time, between two steps."""
        self._batches = self.trainer.first_batch + batch + 1
        if self.gathering is not None and self.gathering.is_within_step:
            return
        steps = self._batches // self.trainer.accumulate_batches
        if has_several_processes(self.trainer.strategy) and steps % BATCHES_BETWEEN_TALKS:
            return
        told, due = tell_processes([self.times.is_told_to_stop, self.times.is_due], self.trainer.strategy)
        if told or due:
            self._save_within_epoch()
        if told:
            self.times.leave()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Begin to count."""
        self._batches = self.trainer.first_batch

    def stop_validation(self) -> None:
        """Don't wait for the end of validation when told to stop; several processes do, to agree on it."""
        if not self.times.is_told_to_stop or has_several_processes(self.trainer.strategy):
            return
        if self.average:
            self.average.put_back()
        self._save_within_epoch()
        self.times.leave()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save; stop if told to since the last batch."""
        self._save(RunProgress(epoch + 1))
        if tell_processes([self.times.is_told_to_stop], self.trainer.strategy)[0]:
            self.times.leave()

    def _save_within_epoch(self) -> None:
        variables = self.model.loss_variables()
        sums = dict(zip(variables, totals_of(list(variables.values())), strict=True))
        self._save(RunProgress(self.trainer.current_epoch, self._batches, sums))

    def _save(self, progress: RunProgress) -> None:
        self.guard.check_losses()
        parts = self._parts()
        self.guard.check_weights(parts["encoder"] | parts["head"])
        if is_first_process():
            self._write(parts, progress)
        self.times.saved()

    def _parts(self) -> dict[str, dict[str, np.ndarray]]:
        """All that is saved of the model; an encoder that does not learn is read once."""
        encoder = self._frozen or weights.encoder_state(self.model.encoder)
        if not self.model.encoder_learns:
            self._frozen = encoder
        return {"encoder": encoder, **_learning_parts_of(self.model)}

    def _write(self, parts: dict[str, dict[str, np.ndarray]], progress: RunProgress) -> None:
        updates, average = self.average.state() if self.average else (0, {})
        state = {
            "epochs": progress.epochs,
            "batches": progress.batches,
            "best": self.best.state_dict(),
            "averaged_steps": updates,
        }
        arrays = {
            f"{part}/{name}": array
            for part, named in (parts | {"average": average, "sums": progress.sums}).items()
            for name, array in named.items()
        }
        with replacing(self.path) as draft:
            write_tensors(draft, arrays, metadata={"zoobot": json.dumps(state)})


def read_last(
    path: Path, model: FinetuneableZoobot, best: BestEpoch, average: AveragedWeights | None = None
) -> RunProgress:
    """Take up a killed run, and return how far it had come.

    Args:
        path: A last.ckpt of this engine.
        model: Compiled; receives weights and the optimiser's state.
        best: Receives the best score.
        average: Receives the average of the weights, if both runs keep one.

    Raises:
        CheckpointError: If the file is damaged, of another engine, or of another model.
    """
    from safetensors import SafetensorError, safe_open

    try:
        check_header(path)
        with safe_open(path, framework="numpy") as file:
            state = json.loads((file.metadata() or {})["zoobot"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, CheckpointError, OSError, KeyError, ValueError) as error:
        msg = f"{path} is no last.ckpt of the TensorFlow engine, or is damaged ({error}); start the run anew"
        raise CheckpointError(msg) from error
    parts = {
        part: {n.removeprefix(f"{part}/"): a for n, a in arrays.items() if n.startswith(f"{part}/")}
        for part in _PARTS
    }
    _check_optimizer(path, parts["optimizer"], _learning_parts_of(model)["optimizer"])
    weights.load_encoder_state(model.encoder, parts["encoder"])
    weights.load_module_state(model.head, parts["head"], name="head")
    for name, variable in _optimizer_variables(model).items():
        variable.assign(parts["optimizer"][name])
    if average and parts["average"]:
        average.load_state(state["averaged_steps"], parts["average"])
    best.load_state_dict(state["best"])
    return RunProgress(int(state["epochs"]), int(state["batches"]), parts["sums"])


def _learning_parts_of(model: FinetuneableZoobot) -> dict[str, dict[str, np.ndarray]]:
    return {
        "head": weights.module_state(model.head),
        "optimizer": {n: np.asarray(v.value.numpy()) for n, v in _optimizer_variables(model).items()},
    }


def _optimizer_variables(model: FinetuneableZoobot) -> dict[str, Any]:
    return {str(number): variable for number, variable in enumerate(model.optimizer.variables)}


def _check_optimizer(path: Path, saved: dict[str, np.ndarray], own: dict[str, np.ndarray]) -> None:
    """The optimiser holds the parameters that learn: others, if the run was started with other options."""
    if {n: a.shape for n, a in saved.items()} != {n: a.shape for n, a in own.items()}:
        msg = f"{path} is of a run in which other parameters learn; resume it with the options it began with"
        raise CheckpointError(msg)
