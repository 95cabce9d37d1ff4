"""A Lightning Trainer that keeps the best model, a metrics table, and what a killed run needs to go on."""

from __future__ import annotations

import inspect
import logging
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments import ClusterEnvironment, LightningEnvironment
from pytorch_lightning.callbacks import EarlyStopping, ProgressBar
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from zoobot.pytorch import weights
from zoobot.pytorch.callbacks import AveragedWeights, HeadStart, LastCheckpoint, SafeCheckpointIO
from zoobot.pytorch.devices import kept_memory
from zoobot.pytorch.learner import FinetuneableZoobot
from zoobot.shared import defaults
from zoobot.shared.checkpoint import read_checkpoint
from zoobot.shared.errors import CheckpointError, ConfigError
from zoobot.shared.galaxy_data import GalaxyData
from zoobot.shared.processes import expect_processes, tasks_together
from zoobot.shared.public_names import advise, unknown_option
from zoobot.shared.training.epochs import BestEpoch, EpochLog, EpochProgress
from zoobot.shared.training.finetune_settings import check_trainer_options, in_our_names

__all__ = ["QuietTrainer", "get_trainer"]


# Lightning's Trainer, without its small talk, with one last.ckpt, and with Ctrl-C as Python knows it.

logger = logging.getLogger("zoobot")

#: Lightning's warnings on what is meant to be so here.
_EXPECTED = (
    r"Checkpoint directory .* exists and is not empty",  # run.json and metrics.csv are there already
    r"Found \d+ module\(s\) in eval mode at the start of training",  # the frozen ones
    r"The '.*_dataloader' does not have many workers",  # the shared loader has its own threads
    r"You're resuming from a checkpoint that ended before the epoch ended",  # the loader goes on there
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # between torch and Lightning
)


class QuietTrainer(pl.Trainer):
    """A Trainer that says nothing a user need not know, and raises KeyboardInterrupt when interrupted.

    Args:
        **options: Those of `pytorch_lightning.Trainer`.
    """

    def __init__(self, **options: Any) -> None:
        with _quiet():
            super().__init__(**options)

    @property
    def on_cpu(self) -> bool:
        """Whether it trains on a CPU."""
        return self.strategy.root_device.type == "cpu"

    def fit(self, *arguments: Any, **options: Any) -> None:
        """Train, as `pytorch_lightning.Trainer.fit` does; `ckpt_path="last"` is the run's own last.ckpt.

        Of a last.ckpt, tensors and plain values alone are read: nothing that it says is run.

        Raises:
            CheckpointError: If a last.ckpt holds anything else.
            KeyboardInterrupt: On Ctrl-C. Lightning would end the whole process instead, notebooks included.
        """
        if options.get("ckpt_path") == "last":
            options["ckpt_path"] = self._last_checkpoint()
        try:
            with _quiet(), _signals_left_alone(), kept_memory():
                super().fit(*arguments, **{**options, "weights_only": True})
        except pickle.UnpicklingError as error:
            reason = "damaged, or asks for code to be run, which is refused"
            msg = f"last.ckpt is {reason}; start the run anew: {error}"
            raise CheckpointError(msg) from error
        except SystemExit as ending:
            if isinstance(ending.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from ending
            raise

    def _last_checkpoint(self) -> Path | None:
        path = Path(self.default_root_dir) / "last.ckpt"
        if path.exists():
            return path
        logger.warning("there is no last.ckpt in %s to go on from: the run starts anew", path.parent)
        return None


@contextmanager
def _signals_left_alone() -> Iterator[None]:
    """Put the handlers of signals back: Lightning leaves Ctrl-C switched off, and others to itself."""
    numbers = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGUSR1")]
    before = {number: signal.getsignal(number) for number in numbers if number is not None}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:  # which was not set from Python, and can't be
                    signal.signal(number, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Mute Lightning's remarks on devices, products and the expected; warnings and errors stay."""
    chatter = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = chatter.level
    chatter.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _EXPECTED:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        chatter.setLevel(level)


#: Options of Lightning's Trainer that ask for training beyond the best head.
_ASK_FOR_STEPS = {"max_steps", "min_steps", "min_epochs"}


@advise
def get_trainer(
    save_dir: str | Path,
    *,
    max_epochs: int | None = None,
    patience: int = defaults.PATIENCE,
    monitor: str = defaults.MONITOR,
    accelerator: str = "auto",
    devices: int | str = "auto",
    num_nodes: int = 1,
    precision: str = "auto",
    gradient_clip: float | None = None,
    accumulate_batches: int = 1,
    ema_decay: float = 0.0,
    checkpoint_minutes: float = defaults.CHECKPOINT_MINUTES,
    progress: bool = True,
    loggers: Sequence[Literal["tensorboard", "wandb"]] = (),
    **trainer_kwargs: Any,
) -> pl.Trainer:
    """A trainer whose `fit(model, galaxies)` leaves the best model in `model` and in `save_dir`.

    In `save_dir`: `checkpoint/` (the best model so far, neutral format), `metrics.csv` (a row for each
    epoch), `split.parquet` (which galaxies trained, which validated, which failed) and `last.ckpt`, from
    which `fit(model, galaxies, ckpt_path="last")` goes on after a kill as if nothing had happened.

    Args:
        save_dir: Folder for everything the run leaves.
        max_epochs: Most passes over the training galaxies; None is 50, or none where the best head on fixed
            features is found at once (`n_blocks=0`) and its loss is convex.
        patience: Epochs without a better `monitor` after which training stops.
        monitor: The logged number that decides which epoch is best; lower is better.
        accelerator: "auto", "cpu", "gpu"…, as Lightning names them.
        devices: How many devices on each machine, or "auto". A step's batch is shared out among all of them.
        num_nodes: How many machines; SLURM's processes are found by themselves.
        precision: "auto" is mixed precision where a GPU is and float32 elsewhere; or Lightning's names.
        gradient_clip: Longest gradient, as a norm over all weights; None does not clip.
        accumulate_batches: Batches whose gradients are averaged for one step: large steps in little memory.
        checkpoint_minutes: Write last.ckpt within an epoch too, at least this often. SIGTERM and SIGUSR1 have
            it written after the step that runs, and end the process.
        ema_decay: Validate and keep a running average of the weights, of which this share stays at each step;
            0 keeps the weights themselves.
        progress: Whether progress bars are drawn.
        loggers: Further places to log to: "tensorboard", "wandb".
        **trainer_kwargs: Anything else that `pytorch_lightning.Trainer` takes: `logger`, your own or several,
            beside those of `loggers`; `callbacks`, `max_steps`, `strategy`… With `enable_checkpointing=False`
            no last.ckpt is written. `enable_progress_bar`, `gradient_clip_val` and `accumulate_grad_batches`
            are taken for `progress`, `gradient_clip` and `accumulate_batches`.

    Raises:
        ConfigError: If a value can't work.
        MissingPackageError: If a logger's package is not installed.

    Example:
        >>> trainer = get_trainer("results/rings", max_epochs=20)  # doctest: +SKIP
        >>> trainer.fit(model, galaxies)  # doctest: +SKIP
    """
    asked = in_our_names(
        trainer_kwargs,
        progress=progress,
        gradient_clip=gradient_clip,
        accumulate_batches=accumulate_batches,
    )
    check_trainer_options(
        max_epochs=max_epochs,
        patience=patience,
        loggers=loggers,
        gradient_clip=asked.gradient_clip,
        accumulate_batches=asked.accumulate_batches,
        ema_decay=ema_decay,
        num_nodes=num_nodes,
        checkpoint_minutes=checkpoint_minutes,
    )
    options = dict(asked.others)
    _check_options(options)
    expect_processes(devices, num_nodes)
    save_dir = Path(save_dir)
    given = _listed(options.pop("callbacks", None))
    may_end = max_epochs is None and not _ASK_FOR_STEPS & set(options)
    best_model = BestModel(save_dir / "checkpoint", monitor)
    callbacks = [
        EarlyStopping(monitor, mode="min", patience=patience, strict=False),
        HeadStart(best_model, save_dir / "metrics.csv", may_end=may_end),
        best_model,
        *([AveragedWeights(ema_decay)] if ema_decay else []),
        EpochMetrics(save_dir / "metrics.csv"),
        KeptSplit(save_dir),
        *([LastCheckpoint(save_dir / "last.ckpt", checkpoint_minutes)] if asked.resumable else []),
        *given,
    ]
    if asked.progress and not any(isinstance(callback, ProgressBar) for callback in given):
        callbacks.append(TrainingProgress(best_model.best))
    quiet = {"enable_model_summary": False, "log_every_n_steps": 1, "num_sanity_val_steps": 0}
    plugins = [SafeCheckpointIO(), *_listed(options.pop("plugins", None))]
    if not any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
        plugins += _environment(num_nodes)
    chosen = _choose_loggers(options.pop("logger", None), loggers, save_dir)
    try:
        return QuietTrainer(
            default_root_dir=save_dir,
            max_epochs=defaults.MAX_EPOCHS if max_epochs is None else max_epochs,
            accelerator=accelerator,
            devices=devices,
            num_nodes=num_nodes,
            gradient_clip_val=asked.gradient_clip,
            accumulate_grad_batches=asked.accumulate_batches,
            precision=_choose_precision(precision, accelerator),
            callbacks=callbacks,
            plugins=plugins,
            logger=chosen,
            enable_progress_bar=asked.progress,
            enable_checkpointing=asked.resumable,
            **(quiet | options),
        )
    except (MisconfigurationException, TypeError, ValueError) as error:
        msg = f"Lightning can't make such a trainer: {error}"
        raise ConfigError(msg) from error


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
        scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if isinstance(model, FinetuneableZoobot):
            self.judge(model, scores, {"epoch": trainer.current_epoch + 1})

    def judge(self, model: FinetuneableZoobot, scores: dict[str, float], training: dict[str, Any]) -> None:
        """Write the model if its scores are the best so far, with what is said of its training."""
        is_best = self.best.judge(scores)
        if is_best and model.trainer.is_global_zero:
            model.save(self.folder, training={**training, self.best.monitor: self.best.score})

    def on_fit_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Give the user the best weights, not the last ones, unless training ended before any was scored."""
        if not isinstance(model, FinetuneableZoobot):
            return
        if self.best.found:
            weights.load_model_state(model, read_checkpoint(self.folder))
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
        path: Where the table is.
    """

    def __init__(self, path: Path) -> None:
        self.table = EpochLog(path)

    def on_train_epoch_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Write one row."""
        if not trainer.is_global_zero:
            return
        row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.table.append(row | dict(sorted(scores.items())))


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
            scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
            self.shown.finish(trainer.current_epoch, scores)

    def on_train_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Leave the terminal as it was."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, model: pl.LightningModule, error: BaseException) -> None:
        """Likewise."""
        self._close()

    def _close(self) -> None:
        if self.shown is not None:
            self.shown.close()


def _choose_precision(precision: str, accelerator: str) -> str:
    if precision != "auto":
        return precision
    if accelerator == "cpu" or not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"


def _check_options(options: dict[str, Any]) -> None:
    """Find what Lightning's Trainer does not know, or what leaves nothing to choose the best epoch by."""
    known = inspect.signature(pl.Trainer.__init__).parameters
    for name in options:
        if name not in known:
            own = inspect.signature(get_trainer).parameters
            raise ConfigError(unknown_option(name, [*own, *(k for k in known if k not in own)]))
    if options.get("limit_val_batches") == 0:
        msg = "limit_val_batches must be above 0: the best epoch is the one that validates best"
        raise ConfigError(msg)


def _listed(items: Any) -> list[Any]:
    """None, one thing or several, as a list."""
    if items is None:
        return []
    return list(items) if isinstance(items, (list, tuple)) else [items]


def _environment(num_nodes: int) -> list[LightningEnvironment]:
    """What Lightning is told of a SLURM job whose tasks do not train together; it would join them, or stop.

    Raises:
        ConfigError: If several machines were asked for, and nothing has started processes on them.
    """
    if "WORLD_SIZE" in os.environ or tasks_together() > 1:
        return []
    if num_nodes > 1 and "SLURM_JOB_ID" in os.environ:
        msg = (
            f"num_nodes={num_nodes} was asked for, but this process is one of 1: start one for each device, "
            "by SLURM's srun"
        )
        raise ConfigError(msg)
    if "SLURM_NTASKS" not in os.environ:
        return []
    rank_zero_only.rank = 0  # type: ignore[attr-defined]  # which it has from the task's number: loggers would be silent
    return [LightningEnvironment()]


def _choose_loggers(logger: Any, names: Sequence[str], save_dir: Path) -> list[Logger] | bool:
    """The user's own loggers and those asked for by name; True alone is Lightning's default one."""
    makers: dict[str, Any] = {"tensorboard": TensorBoardLogger, "wandb": WandbLogger}
    made = [makers[name](save_dir=str(save_dir)) for name in names]
    if logger is None or isinstance(logger, bool):
        return made or bool(logger)
    return [*_listed(logger), *made]
