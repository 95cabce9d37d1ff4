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
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments import ClusterEnvironment, LightningEnvironment
from pytorch_lightning.callbacks import EarlyStopping, ProgressBar
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from zoobot.pytorch.callbacks import (
    AveragedWeights,
    BestModel,
    EpochMetrics,
    HeadStart,
    KeptSplit,
    LastCheckpoint,
    SafeCheckpointIO,
    TrainingProgress,
)
from zoobot.pytorch.devices import kept_memory
from zoobot.pytorch.internals import act_as_first_process
from zoobot.shared.errors import CheckpointError, ConfigError
from zoobot.shared.processes import expect_processes, tasks_together
from zoobot.shared.public_names import advise, arguments_of, unknown_option
from zoobot.shared.training.finetune_settings import TrainerPlan, plan_trainer

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
            raise CheckpointError(f"last.ckpt is {reason}; start the run anew: {error}") from error
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
@arguments_of(plan_trainer)
def get_trainer(plan: TrainerPlan) -> pl.Trainer:
    """A trainer whose `fit(model, galaxies)` leaves the best model in `model` and in `save_dir`.

    In `save_dir`: `checkpoint/` (the best model so far, neutral format), `metrics.csv` (a row for each
    epoch), `split.parquet` (which galaxies trained, which validated, which failed) and `last.ckpt`, from
    which `fit(model, galaxies, ckpt_path="last")` goes on after a kill as if nothing had happened.

    It takes anything else that `pytorch_lightning.Trainer` does: `logger`, your own or several, beside those
    of `loggers`; `callbacks`, `max_steps`, `strategy`…

    Example:
        >>> trainer = get_trainer("results/rings", max_epochs=20)  # doctest: +SKIP
        >>> trainer.fit(model, galaxies)  # doctest: +SKIP
    """
    settings, options = plan.settings, dict(plan.others)
    _check_options(options)
    expect_processes(plan.devices, settings.num_nodes)
    callbacks = _callbacks(plan, _listed(options.pop("callbacks", None)))
    quiet = {"enable_model_summary": False, "log_every_n_steps": 1, "num_sanity_val_steps": 0}
    plugins = [SafeCheckpointIO(), *_listed(options.pop("plugins", None))]
    if not any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
        plugins += _environment(settings.num_nodes)
    chosen = _choose_loggers(options.pop("logger", None), settings.loggers, plan.save_dir)
    try:
        return QuietTrainer(
            default_root_dir=plan.save_dir,
            max_epochs=plan.max_epochs,
            accelerator=plan.accelerator,
            devices=plan.devices,
            num_nodes=settings.num_nodes,
            gradient_clip_val=settings.gradient_clip,
            accumulate_grad_batches=settings.accumulate_batches,
            precision=_choose_precision(plan.precision, plan.accelerator),
            callbacks=callbacks,
            plugins=plugins,
            logger=chosen,
            enable_progress_bar=plan.progress,
            enable_checkpointing=plan.resumable,
            **(quiet | options),
        )
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise ConfigError(f"Lightning can't make such a trainer: {error}") from error


def _callbacks(plan: TrainerPlan, given: list[Any]) -> list[pl.Callback]:
    """In order: what runs at the end of an epoch finds what those before it have made."""
    settings = plan.settings
    may_end = plan.may_end and not _ASK_FOR_STEPS & set(plan.others)
    best_model = BestModel(plan.checkpoint, plan.monitor)
    callbacks = [
        EarlyStopping(plan.monitor, mode="min", patience=settings.patience, strict=False),
        HeadStart(best_model.best, plan, may_end=may_end),
        best_model,
        *([AveragedWeights(settings.ema_decay)] if settings.ema_decay else []),
        EpochMetrics(plan.log),
        KeptSplit(plan.save_dir),
        *([LastCheckpoint(plan.last, plan.save_times())] if plan.resumable else []),
        *given,
    ]
    if plan.progress and not any(isinstance(callback, ProgressBar) for callback in given):
        callbacks.append(TrainingProgress(best_model.best))
    return callbacks


def _choose_precision(precision: str, accelerator: str) -> str:
    if precision != "auto":
        return precision
    if accelerator == "cpu" or not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"


def _check_options(options: dict[str, Any]) -> None:
    """Find what Lightning's Trainer does not know, or what leaves nothing to choose the best epoch by."""
    known = inspect.signature(pl.Trainer).parameters
    for name in options:
        if name not in known:
            own = inspect.signature(get_trainer).parameters
            raise ConfigError(unknown_option(name, [*own, *(k for k in known if k not in own)]))
    if options.get("limit_val_batches") == 0:
        raise ConfigError("limit_val_batches must be above 0: the best epoch is the one that validates best")


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
        raise ConfigError(
            f"num_nodes={num_nodes} was asked for, but this process is one of 1: start one for each device, "
            "by SLURM's srun"
        )
    if "SLURM_NTASKS" not in os.environ:
        return []
    act_as_first_process()  # or loggers would be silent
    return [LightningEnvironment()]


def _choose_loggers(logger: Any, names: Sequence[str], save_dir: Path) -> list[Logger] | bool:
    """The user's own loggers and those asked for by name; True alone is Lightning's default one."""
    makers: dict[str, Any] = {"tensorboard": TensorBoardLogger, "wandb": WandbLogger}
    made = [makers[name](save_dir=str(save_dir)) for name in names]
    if logger is None or isinstance(logger, bool):
        return made or bool(logger)
    return [*_listed(logger), *made]
