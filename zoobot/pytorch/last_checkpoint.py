"""last.ckpt: all that a killed run needs to go on as if nothing had happened, within an epoch too."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from zoobot.shared.files.safe import replacing
from zoobot.shared.training.save_times import BATCHES_BETWEEN_TALKS, SaveTimes

if TYPE_CHECKING:
    from zoobot.pytorch.learner import FinetuneableZoobot

__all__ = ["LastCheckpoint", "SafeCheckpointIO"]


class SafeCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, replaced whole or not at all; its own may pass through another disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write one.

        Raises:
            WriteError: If it can't be written; the older one stays.
        """
        buffer = io.BytesIO()  # what torch writes to a file by itself ends a full disk's process
        torch.save(checkpoint, buffer)
        with replacing(path) as draft:
            draft.write_bytes(buffer.getbuffer())


class LastCheckpoint(Checkpoint):
    """Write last.ckpt at the end of each epoch, every few minutes, and before a signal ends the run.

    Lightning calls callbacks of this kind after all others.

    Args:
        path: Where it is.
        minutes: Time between two of them within an epoch.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        self.path = path
        self.times = SaveTimes(minutes)

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Hear signals in Lightning's place, and stop at once where a killed run had decided to."""
        self.times.begin()
        if trainer.should_stop:  # there is nothing left to learn
            self._save(trainer, model)  # type: ignore[arg-type]
        stopping = trainer.early_stopping_callback
        if stopping is not None and stopping.wait_count >= stopping.patience:
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, model: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save where it is time, between two steps."""
        done = batch_idx + 1
        if done % trainer.accumulate_grad_batches and done < trainer.num_training_batches:
            return
        if trainer.world_size > 1 and (done // trainer.accumulate_grad_batches) % BATCHES_BETWEEN_TALKS:
            return
        agree = trainer.strategy.reduce_boolean_decision
        told = agree(self.times.is_told_to_stop, all=False)
        if told or agree(self.times.is_due, all=False):
            self._save(trainer, model)
        if told:
            self.times.leave()

    def on_validation_batch_end(self, trainer: pl.Trainer, *arguments: Any, **options: Any) -> None:
        """Don't wait for the end of validation when told to stop; several devices, out of step, do."""
        fitting = trainer.state.fn == TrainerFn.FITTING
        if fitting and trainer.world_size == 1 and self.times.is_told_to_stop:
            self.times.leave()

    def on_train_epoch_end(self, trainer: pl.Trainer, model: Any) -> None:
        """Save; stop if told to since the last batch."""
        self._save(trainer, model)
        if trainer.strategy.reduce_boolean_decision(self.times.is_told_to_stop, all=False):
            self.times.leave()

    def on_exception(self, trainer: pl.Trainer, model: Any, exception: BaseException) -> None:
        """Save what training had come to where a signal ended its validation; leave signals alone again."""
        try:
            if trainer.validating and isinstance(exception, SystemExit) and self.times.is_told_to_stop:
                self._save(trainer, model)
        finally:
            self.times.end()  # after an exception Lightning asks for no teardown

    def teardown(self, trainer: pl.Trainer, model: pl.LightningModule, stage: str) -> None:
        """Leave signals alone again."""
        self.times.end()

    def _save(self, trainer: pl.Trainer, model: FinetuneableZoobot) -> None:
        model.check_training()
        trainer.save_checkpoint(self.path, weights_only=False)
        self.times.saved()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, model: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """After the last batch of an epoch, have the run go on with its validation.

        By itself, Lightning would take a run that was saved there for one that has validated.
        """
        loops = checkpoint["loops"]["fit_loop"]
        epochs, batches = loops["epoch_progress"]["current"], loops["epoch_loop.batch_progress"]
        if epochs["processed"] == epochs["started"] or not batches["is_last_batch"]:
            return
        for counts in (batches["total"], batches["current"]):
            counts["completed"] = counts["processed"]
        validation = loops["epoch_loop.val_loop.batch_progress"]
        for counts in (validation["total"], validation["current"]):
            counts |= {"ready": 1, "started": 1, "processed": 0, "completed": 0}
