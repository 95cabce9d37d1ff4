"""last.ckpt: all that a killed run needs to go on as if nothing had happened, in the middle of an epoch too.

One safetensors file: weights and norm statistics, their average where one is kept, the optimiser's moments
and count of steps, the sums of losses of the epoch so far, and, beside them, the finished epochs and
batches and the best score. It is written beside the old one and moved into its place, so a kill or a full
disk leaves the old one or the new one. Nothing in it is code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from zoobot.shared.errors import CheckpointError
from zoobot.shared.files.safe import replacing
from zoobot.shared.files.tensors import check_header, write_tensors
from zoobot.shared.processes import is_first_process
from zoobot.shared.training.save_times import BATCHES_BETWEEN_TALKS, SaveTimes
from zoobot.tensorflow import weights
from zoobot.tensorflow.strategies import has_several_processes, tell_processes, totals_of

if TYPE_CHECKING:
    from zoobot.shared.training.best_epoch import BestEpoch
    from zoobot.tensorflow.averaged_weights import AveragedWeights
    from zoobot.tensorflow.bad_steps import NonFiniteGuard
    from zoobot.tensorflow.callbacks import GatheredSteps
    from zoobot.tensorflow.learner import FinetuneableZoobot

__all__ = ["LastCheckpoint", "Progress", "read_last"]

_PARTS = ("encoder", "head", "optimizer", "average", "sums")


class Progress(NamedTuple):
    """How far a run has come.

    Attributes:
        epochs: Finished ones.
        batches: Those learned from in the epoch that is not finished.
        sums: What the losses of these batches add up to, by name.
    """

    epochs: int = 0
    batches: int = 0
    sums: dict[str, np.ndarray] = {}  # noqa: RUF012  never changed


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
        self._save(Progress())

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
        self._save(Progress(epoch + 1))
        if tell_processes([self.times.is_told_to_stop], self.trainer.strategy)[0]:
            self.times.leave()

    def _save_within_epoch(self) -> None:
        variables = self.model.loss_variables()
        sums = dict(zip(variables, totals_of(list(variables.values())), strict=True))
        self._save(Progress(self.trainer.current_epoch, self._batches, sums))

    def _save(self, progress: Progress) -> None:
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

    def _write(self, parts: dict[str, dict[str, np.ndarray]], progress: Progress) -> None:
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
) -> Progress:
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
    return Progress(int(state["epochs"]), int(state["batches"]), parts["sums"])


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
