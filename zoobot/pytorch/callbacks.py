"""What happens around each batch and each epoch of a run: averages, last.ckpt, the head's start."""

from __future__ import annotations

import copy
import io
import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Checkpoint, ProgressBar
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn

from zoobot.pytorch.internals import follow, go_on_with_validation
from zoobot.pytorch.learner import FinetuneableZoobot
from zoobot.shared.checkpoint import read_checkpoint
from zoobot.shared.files.whole import replacing
from zoobot.shared.galaxy_data import GalaxyData
from zoobot.shared.training.epochs import BestEpoch, EpochLog, EpochProgress
from zoobot.shared.training.finetune_settings import TrainerPlan
from zoobot.shared.training.head_optimum import HeadLoss
from zoobot.shared.training.head_start import HeadInEngine, start_head, wants_start
from zoobot.shared.training.steps import BATCHES_BETWEEN_TALKS, SaveTimes, decay_at

logger = logging.getLogger("zoobot")


# Validate, and keep, a running average of the weights instead of the weights of the last step.


class AveragedWeights(pl.Callback):
    """Averages every parameter that learns, and the norm statistics, over the steps of a run.

    Validation sees the average, and so does whatever keeps the best model, if it stands before this callback.

    Args:
        decay: The share of the average that stays at each step, in the long run.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.average: dict[str, Tensor] = {}
        self._swapped = False

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Begin with the weights as they are, or with those of the run that goes on."""
        live = _averaged(model)
        saved = {name: tensor.to(live[name].device) for name, tensor in self.average.items()}
        self.average = saved or {name: tensor.detach().clone() for name, tensor in live.items()}
        self._steps = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, model: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the average, if this batch ended with a step."""
        if trainer.global_step == self._steps:
            return
        self._steps = trainer.global_step
        live = [tensor.detach() for tensor in _averaged(model).values()]
        follow(list(self.average.values()), live, 1 - decay_at(self.updates, self.decay))
        self.updates += 1

    def on_validation_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Put the average in the place of the weights."""
        if trainer.state.fn == TrainerFn.FITTING and self.updates:
            self._swap(model)

    def on_validation_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Put the weights back."""
        if self._swapped:
            self._swap(model)

    def on_exception(self, trainer: pl.Trainer, model: pl.LightningModule, exception: BaseException) -> None:
        """Put the weights back where validation was interrupted."""
        if self._swapped:
            self._swap(model)

    def _swap(self, model: pl.LightningModule) -> None:
        with torch.no_grad():
            for name, live in _averaged(model).items():
                kept = live.detach().clone()
                live.copy_(self.average[name])
                self.average[name].copy_(kept)
        self._swapped = not self._swapped

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a killed run's average."""
        self.updates, self.average = state_dict["updates"], dict(state_dict["average"])


def _averaged(model: pl.LightningModule) -> dict[str, Tensor]:
    """Parameters that learn, and the statistics that training changes."""
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    statistics = {
        name: buffer
        for name, buffer in model.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    }
    return learning | statistics


# last.ckpt: all that a killed run needs to go on as if nothing had happened, within an epoch too.


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
        times: Say when, within an epoch.
    """

    def __init__(self, path: Path, times: SaveTimes) -> None:
        self.path = path
        self.times = times

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
        """After the last batch of an epoch, have the run go on with its validation."""
        go_on_with_validation(checkpoint)


# The best model, metrics.csv, split.parquet, and how far training is.


class BestModel(pl.Callback):
    """Write the neutral checkpoint whenever `monitor` improves; put the best weights back at the end.

    Args:
        folder: Where the checkpoint goes.
        monitor: The logged number; lower is better.
    """

    def __init__(self, folder: Path, monitor: str) -> None:
        self.folder = folder
        self.best = BestEpoch(monitor)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return self.best.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a killed run's best score."""
        self.best.load_state_dict(state_dict)

    def on_validation_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Write the model if this epoch is the best so far."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        if isinstance(model, FinetuneableZoobot):
            epoch = {"epoch": trainer.current_epoch + 1}
            self.best.keep(model, self.folder, _scores_of(trainer), epoch, writes=trainer.is_global_zero)

    def on_fit_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Give the user the best weights, not the last ones, unless training ended before any was scored."""
        if not isinstance(model, FinetuneableZoobot):
            return
        if self.best.found:
            model.take_weights(read_checkpoint(self.folder))
        elif trainer.is_global_zero:
            logger.warning("training ended before any validation: %s holds the last weights", self.folder)
            model.save(self.folder, training={"epoch": trainer.current_epoch})


class KeptSplit(pl.Callback):
    """Write split.parquet: before the first step, and at the end, when it is known which images failed.

    Args:
        save_dir: The run's folder.
    """

    def __init__(self, save_dir: Path) -> None:
        self.save_dir = save_dir

    def on_fit_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Write it for a run that may be killed."""
        self._write(trainer)

    def on_fit_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Write it with the failures."""
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        galaxies = getattr(trainer, "datamodule", None)
        if trainer.is_global_zero and isinstance(galaxies, GalaxyData):
            galaxies.keep_split(self.save_dir)


class EpochMetrics(pl.Callback):
    """Append every logged number to metrics.csv at the end of each epoch.

    Args:
        table: The file.
    """

    def __init__(self, table: EpochLog) -> None:
        self.table = table

    def on_train_epoch_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Write one row."""
        if not trainer.is_global_zero:
            return
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.table.note(trainer.current_epoch + 1, trainer.global_step, rate, _scores_of(trainer))


class TrainingProgress(ProgressBar):
    """Show how far training is, on a terminal or in a log; `EpochProgress` says how.

    Args:
        best: Judges the epochs.
    """

    def __init__(self, best: BestEpoch) -> None:
        super().__init__()
        self.best = best
        self.is_enabled = True
        self.shown: EpochProgress | None = None

    def disable(self) -> None:
        """Show nothing from now on."""
        self.is_enabled = False

    def enable(self) -> None:
        """Show it again."""
        self.is_enabled = True

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Begin."""
        self.shown = EpochProgress(trainer.max_epochs or 1, self.best)

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any, **options: Any) -> None:
        """Move on."""
        self._reach(trainer, trainer.fit_loop.batch_idx + 1)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, model: Any, outputs: Any, batch: Any, batch_index: int, *more: Any
    ) -> None:
        """Move on."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._reach(trainer, int(trainer.num_training_batches) + batch_index + 1)

    def _reach(self, trainer: pl.Trainer, batches: int) -> None:
        if self.shown is not None and self.is_enabled:
            total = int(self.total_train_batches + self.total_val_batches)
            self.shown.reach(trainer.current_epoch, batches, of=max(batches, total))

    def on_train_epoch_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Say what came of it."""
        if self.shown is not None and self.is_enabled:
            self.shown.finish(trainer.current_epoch, _scores_of(trainer))

    def on_train_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Leave the terminal as it was."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, model: pl.LightningModule, error: BaseException) -> None:
        """Likewise."""
        self._close()

    def _close(self) -> None:
        if self.shown is not None:
            self.shown.close()


def _scores_of(trainer: pl.Trainer) -> dict[str, float]:
    """What was logged of the epoch."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


# Before the first step, the best head there is.


class HeadStart(pl.Callback):
    """Before the first step, give a new head the best weights for its features, and score them.

    Args:
        best: Judges that head as epoch 0.
        plan: What the trainer is asked to do.
        may_end: Whether a run ends with it where no epoch can beat it.
    """

    def __init__(self, best: BestEpoch, plan: TrainerPlan, *, may_end: bool) -> None:
        self.best = best
        self.plan = plan
        self.may_end = may_end

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Find the head, if this run begins, and features were cached."""
        learner: Any = model
        if self.best.is_final and self.may_end:  # the killed run had come to its end
            trainer.should_stop = True
            return
        training: Any = getattr(trainer.train_dataloader, "loader", None)
        untrained = learner.head.is_untrained and trainer.global_step == 0
        if not wants_start(learner.settings, training, is_untrained=untrained):
            return
        # Lightning loads no validation before it validates, which may be in a later epoch
        validating: Any = trainer.val_dataloaders or trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
        validation = validating.loader
        first = trainer.is_global_zero
        progress = trainer.progress_bar_callback is not None and first
        scores, is_done = start_head(
            learner,
            head_in_engine(learner),
            training,
            validation,
            self.best,
            self.plan,
            may_end=self.may_end,
            writes=first,
            progress=progress,
        )
        stopping = trainer.early_stopping_callback
        if stopping is not None:
            stopping.best_score = torch.tensor(scores[stopping.monitor])  # an epoch must beat the start
        if is_done:
            trainer.should_stop = True
            for logger in trainer.loggers:
                logger.log_metrics(scores, step=0)


def head_in_engine(model: FinetuneableZoobot) -> HeadInEngine:
    """What finding the best head asks of a model."""
    linear = model.head.linear

    def set_head(weight: NDArray, bias: NDArray) -> None:
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))

    bias = linear.bias.detach().cpu().numpy().copy()
    return HeadInEngine(partial(_head_loss, model), bias, set_head, model.validate_batch)


def _head_loss(model: FinetuneableZoobot) -> HeadLoss:
    """The model's loss as a function of what its head's linear layer gives, in float64, without dropout."""
    outputs = model.head.linear.out_features
    head = copy.deepcopy(model.head).double().cpu().eval()
    head.linear = nn.Identity()  # its outputs are given
    head.linear.in_features = outputs

    def loss(given: NDArray, labels: NDArray) -> tuple[NDArray, NDArray]:
        leaf = torch.from_numpy(given).requires_grad_()
        losses = model.galaxy_losses(head(leaf), torch.from_numpy(np.asarray(labels, np.float64)))
        (slopes,) = torch.autograd.grad(losses.sum(), [leaf])
        return losses.detach().numpy(), slopes.numpy()

    return loss
