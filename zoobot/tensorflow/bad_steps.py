"""Stop at a training loss or weight that is not finite, and name the galaxies, without slowing steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoobot.shared.training.bad_steps import (
    STEPS_BETWEEN_CHECKS,
    TrainedBatch,
    refuse_bad_batches,
    refuse_bad_weights,
)

if TYPE_CHECKING:
    from zoobot.tensorflow.data import TensorBatches

__all__ = ["NonFiniteGuard"]


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
