"""last.ckpt: all that a killed run needs to go on as if nothing had happened.

One safetensors file: weights and norm statistics, their average where one is kept, the optimiser's moments
and count of steps, and, beside them, the finished epochs and the best score. It is written beside the old
one and moved into its place, so a kill leaves the old one or the new one. Nothing in it is code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoobot.shared.errors import CheckpointError
from zoobot.shared.processes import is_first_process
from zoobot.tensorflow import weights

if TYPE_CHECKING:
    from zoobot.shared.best_epoch import BestEpoch
    from zoobot.tensorflow.averaged_weights import AveragedWeights
    from zoobot.tensorflow.learner import FinetuneableZoobot

__all__ = ["LastCheckpoint", "read_last"]

_PARTS = ("encoder", "head", "optimizer", "average")


class LastCheckpoint(keras.callbacks.Callback):
    """Write last.ckpt at the end of each epoch.

    Args:
        path: Where it is.
        best: Part of what a resumed run must know.
        average: Likewise, where one is kept.
    """

    def __init__(self, path: Path, best: BestEpoch, average: AveragedWeights | None = None) -> None:
        super().__init__()
        self.path = path
        self.best = best
        self.average = average

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write it."""
        if not is_first_process():
            return
        from safetensors.numpy import save_file

        updates, average = self.average.state() if self.average else (0, {})
        state = {"epochs": epoch + 1, "best": self.best.state_dict(), "averaged_steps": updates}
        arrays = {
            f"{part}/{name}": array
            for part, named in (_parts_of(self.model) | {"average": average}).items()
            for name, array in named.items()
        }
        temporary = self.path.with_name(f"{self.path.name}.tmp")
        save_file(arrays, temporary, metadata={"format": "pt", "zoobot": json.dumps(state)})
        temporary.replace(self.path)


def read_last(
    path: Path, model: FinetuneableZoobot, best: BestEpoch, average: AveragedWeights | None = None
) -> int:
    """Take up a killed run, and return how many epochs it had finished.

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
        with safe_open(path, framework="numpy") as file:
            state = json.loads((file.metadata() or {})["zoobot"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        msg = f"{path} is no last.ckpt of the TensorFlow engine, or is damaged ({error}); start the run anew"
        raise CheckpointError(msg) from error
    parts = {
        part: {n.removeprefix(f"{part}/"): a for n, a in arrays.items() if n.startswith(f"{part}/")}
        for part in _PARTS
    }
    _check_optimizer(path, parts["optimizer"], _parts_of(model)["optimizer"])
    weights.load_encoder_state(model.encoder, parts["encoder"])
    weights.load_module_state(model.head, parts["head"], name="head")
    for name, variable in _optimizer_variables(model).items():
        variable.assign(parts["optimizer"][name])
    if average and parts["average"]:
        average.load_state(state["averaged_steps"], parts["average"])
    best.load_state_dict(state["best"])
    return int(state["epochs"])


def _parts_of(model: FinetuneableZoobot) -> dict[str, dict[str, np.ndarray]]:
    return {
        "encoder": weights.encoder_state(model.encoder),
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
