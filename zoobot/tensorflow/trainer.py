"""A trainer that keeps the best model, a metrics table, and what a killed run needs to go on."""

from __future__ import annotations

import inspect
import logging
import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf

from zoobot.shared import defaults
from zoobot.shared.checkpoint import read_checkpoint
from zoobot.shared.errors import ConfigError
from zoobot.shared.processes import is_first_process
from zoobot.shared.public_names import advise, unknown_option
from zoobot.shared.training.epochs import BestEpoch, EpochProgress
from zoobot.shared.training.finetune_settings import check_trainer_options, in_our_names, scheduled_factor
from zoobot.shared.training.head_start import keep_start, start_head, wants_start
from zoobot.shared.training.steps import STEPS_BETWEEN_CHECKS, SaveTimes
from zoobot.tensorflow import callbacks
from zoobot.tensorflow.callbacks import RunProgress, head_in_engine
from zoobot.tensorflow.data import GalaxyDataModule, TensorBatches
from zoobot.tensorflow.devices import choose_device, choose_precision, in_precision
from zoobot.tensorflow.last_checkpoint import (
    AveragedWeights,
    LastCheckpoint,
    NonFiniteGuard,
    SwapWeights,
    read_last,
)
from zoobot.tensorflow.learner import FinetuneableZoobot
from zoobot.tensorflow.strategies import agree_on, choose_strategy, shards_of

__all__ = ["Trainer", "get_trainer"]

logger = logging.getLogger("zoobot")


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
) -> Trainer:
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
        accelerator: "auto" takes a GPU where one is; "cpu"; "gpu".
        devices: How many devices on each machine, or "auto". A step's batch is shared out among all of them.
        num_nodes: How many machines. Their processes find each other by SLURM (which must show each task its
            own GPUs) or TF_CONFIG; then call this before a model is made.
        precision: "auto" is mixed precision where a GPU is and float32 elsewhere; or Lightning's names
            "32-true", "bf16-mixed" and "16-mixed".
        gradient_clip: Longest gradient, as a norm over all weights; None does not clip.
        accumulate_batches: Batches whose gradients are averaged for one step: large steps in little memory.
        checkpoint_minutes: Write last.ckpt within an epoch too, at least this often. SIGTERM and SIGUSR1 have
            it written after the step that runs, and end the process.
        ema_decay: Validate and keep a running average of the weights, of which this share stays at each step;
            0 keeps the weights themselves.
        progress: Whether progress bars are drawn.
        loggers: Further places to log to: "tensorboard", "wandb".
        **trainer_kwargs: `callbacks`, further Keras callbacks, loggers among them. With
            `enable_checkpointing=False` no last.ckpt is written. `enable_progress_bar`, `gradient_clip_val`
            and `accumulate_grad_batches` are taken for `progress`, `gradient_clip` and `accumulate_batches`.

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
    given = _check_options(asked.others)
    return Trainer(
        Path(save_dir),
        max_epochs=defaults.MAX_EPOCHS if max_epochs is None else max_epochs,
        may_end=max_epochs is None,
        patience=patience,
        monitor=monitor,
        device=choose_device(accelerator),
        strategy=choose_strategy(accelerator, devices, num_nodes),
        precision=choose_precision(precision, accelerator),
        gradient_clip=asked.gradient_clip,
        accumulate_batches=asked.accumulate_batches,
        ema_decay=ema_decay,
        checkpoint_minutes=checkpoint_minutes,
        resumable=asked.resumable,
        progress=asked.progress,
        loggers=loggers,
        extra_callbacks=given,
    )


def _check_options(options: dict[str, Any]) -> tuple[keras.callbacks.Callback, ...]:
    """The user's callbacks, once found that nothing else is asked for."""
    for name, value in options.items():
        if name == "logger" and value not in (None, False):
            msg = (
                f"logger={type(value).__name__} is Lightning's; with TensorFlow give loggers=['tensorboard', "
                f"'wandb'], or a Keras callback that logs, as callbacks=[...]"
            )
            raise ConfigError(msg)
        if name not in ("callbacks", "logger"):
            said = unknown_option(name, [*inspect.signature(get_trainer).parameters][:-1])
            msg = f"{said}. Options of Lightning's Trainer need the PyTorch engine: zoobot.pytorch"
            raise ConfigError(msg)
    given = options.get("callbacks") or ()
    return tuple(given) if isinstance(given, (list, tuple)) else (given,)


def _go_on() -> None:
    """What validation does where nothing is saved on a signal."""


class Trainer:
    """Runs `keras.Model.fit` with the callbacks of a finetuning run; made by `get_trainer`.

    Args:
        save_dir: Folder for everything the run leaves.
        max_epochs: Most passes over the training galaxies.
        may_end: Whether a run ends with the best head on fixed features where no epoch can beat it.
        patience: Epochs without a better `monitor` after which training stops.
        monitor: The logged number that decides which epoch is best; lower is better.
        device: TensorFlow's name of the device; None leaves the choice to TensorFlow.
        strategy: How several devices train together; None where there is one.
        precision: Keras's name of the precision.
        gradient_clip: Longest gradient; None does not clip.
        accumulate_batches: Batches whose gradients are averaged for one step.
        ema_decay: The share of the weights' average that stays at each step; 0 keeps no average.
        checkpoint_minutes: Time between two last.ckpt within an epoch.
        resumable: Whether last.ckpt is written.
        progress: Whether progress bars are drawn.
        loggers: Further places to log to.
        extra_callbacks: Those of the user; they see all scores of an epoch.

    Attributes:
        model: The model that is, or was last, fitted.
        current_epoch: The epoch that is running.
        first_batch: The batch with which this part of the run began that epoch; 0 but where it was resumed.
    """

    def __init__(
        self,
        save_dir: Path,
        *,
        max_epochs: int,
        may_end: bool,
        patience: int,
        monitor: str,
        device: str | None,
        strategy: tf.distribute.Strategy | None,
        precision: str,
        gradient_clip: float | None,
        accumulate_batches: int,
        ema_decay: float,
        checkpoint_minutes: float,
        resumable: bool,
        progress: bool,
        loggers: Sequence[str],
        extra_callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        self.save_dir = save_dir
        self.max_epochs = max_epochs
        self.may_end = may_end
        self.patience = patience
        self.monitor = monitor
        self.device = device
        self.strategy = strategy
        self.shards = shards_of(strategy)
        if strategy and precision == "mixed_float16":
            msg = (
                "precision '16-mixed' works on one device, for others would not see its overflows: use "
                "'bf16-mixed' or '32-true'"
            )
            raise ConfigError(msg)
        self.precision = precision
        self.gradient_clip = gradient_clip
        self.accumulate_batches = accumulate_batches
        self.ema_decay = ema_decay
        self.checkpoint_minutes = checkpoint_minutes
        self.resumable = resumable
        self.progress = progress
        self.loggers = tuple(loggers)
        self.extra_callbacks = tuple(extra_callbacks)
        self.model: FinetuneableZoobot | None = None
        self.current_epoch = self.first_batch = 0

    @property
    def world_size(self) -> int:
        """How many devices share each batch, on all machines together."""
        return self.shards[0][1]

    @property
    def on_cpu(self) -> bool:
        """Whether it trains on a CPU."""
        return self.device == "/CPU:0" or not tf.config.list_physical_devices("GPU")

    def fit(
        self, model: FinetuneableZoobot, galaxies: GalaxyDataModule, *, ckpt_path: str | Path | None = None
    ) -> None:
        """Train; afterwards `model` holds its best weights.

        Args:
            model: What learns.
            galaxies: What it learns from.
            ckpt_path: "last", or the path of a last.ckpt, goes on with a run that was killed.

        Raises:
            ConfigError: If the model was made for other label columns, or `monitor` is not logged.
            LabelError: If a label is not what the task needs.
            NonFiniteError: If a loss becomes NaN or infinite; the message names the galaxies.
            SystemExit: If SIGTERM or SIGUSR1 came; last.ckpt is written.
            WriteError: If a file can't be written, such as on a full disk.
            CheckpointError: If there is nothing to resume, or it does not fit the model.
        """
        model.meet(galaxies)
        if model.encoder.norms_learn:
            galaxies.refuse_batches_of_one(self.world_size)
        self.model, self.current_epoch, self.first_batch = model, 0, 0
        best = BestEpoch(self.monitor)
        galaxies.trainer = self
        self._keep_split(galaxies)
        try:
            device = tf.device(self.device) if self.device and not self.strategy else nullcontext()
            with device, model.on_devices_of(self.strategy), in_precision(model, self.precision):
                self._run(model, galaxies.train_dataloader(), galaxies.val_dataloader(), best, ckpt_path)
                agree_on({"finished": 1.0}, self.strategy)  # the checkpoint is written when all are here
        finally:
            galaxies.trainer = None
        self._keep_split(galaxies)  # now it is known which images failed
        if best.found:
            model.take_weights(read_checkpoint(self.save_dir / "checkpoint"))

    def _keep_split(self, galaxies: GalaxyDataModule) -> None:
        if is_first_process():
            galaxies.keep_split(self.save_dir)

    def _run(
        self,
        model: FinetuneableZoobot,
        training: TensorBatches,
        validation: TensorBatches,
        best: BestEpoch,
        ckpt_path: str | Path | None,
    ) -> None:
        model.compile(gradient_clip=self.gradient_clip, gather_gradients=self.accumulate_batches > 1)
        if self._last_checkpoint(ckpt_path) is None and self._start_head(model, training, validation, best):
            return
        average = AveragedWeights(model, self.ema_decay) if self.ema_decay else None
        done = self._resume(model, best, average, ckpt_path)
        if best.epochs_since >= self.patience or (best.is_final and self.may_end):
            return  # the killed run had decided to stop
        # one more than a batch, for of too few galaxies two may share one
        model.keep_losses(STEPS_BETWEEN_CHECKS, training.loader.batch_size + 1)
        times = SaveTimes(self.checkpoint_minutes)
        bar = self._progress(len(training), len(validation), best)
        made = self._callbacks(model, training, validation, best, average, times, done, bar)
        if self.resumable:
            times.begin()
        try:
            with warnings.catch_warnings():
                # what an epoch that ends with its data is told by Keras
                warnings.filterwarnings("ignore", message="Your input ran out of data")
                for first, end in self._spans(done):
                    model.fit(
                        self._dataset(training),
                        epochs=end,
                        initial_epoch=first,
                        verbose=0,
                        shuffle=False,
                        callbacks=[*made, *([bar] if bar else [])],
                    )
                    if model.stop_training:
                        break
        except tf.errors.OpError:
            if training.error is not None:
                raise training.error from None
            raise
        finally:
            times.end()
            if average:
                average.put_back()
            if bar:
                bar.shown.close()

    def _spans(self, done: RunProgress) -> list[tuple[int, int]]:
        """The epochs still to be done, first and end; one that is resumed within is by itself.

        Keras learns the length of an epoch from the first.
        """
        spans = [(done.epochs, done.epochs + 1)] if done.batches else []
        start = done.epochs + len(spans)
        return [*spans, (start, self.max_epochs)] if start < self.max_epochs else spans

    def _dataset(self, training: TensorBatches) -> Any:
        if self.strategy is None:
            return training.to_dataset()
        return self.strategy.distribute_datasets_from_function(lambda _: training.to_dataset())

    def _resume(
        self,
        model: FinetuneableZoobot,
        best: BestEpoch,
        average: AveragedWeights | None,
        ckpt_path: str | Path | None,
    ) -> RunProgress:
        """Take up what a killed run left, if asked to; how far it had come."""
        path = self._last_checkpoint(ckpt_path)
        if path is None:
            if ckpt_path is not None:
                logger.warning(
                    "there is no last.ckpt in %s to go on from: the run starts anew", self.save_dir
                )
            return RunProgress()
        return read_last(path, model, best, average)

    def _last_checkpoint(self, ckpt_path: str | Path | None) -> Path | None:
        """What the run goes on from; None where it starts anew."""
        if ckpt_path != "last":
            return None if ckpt_path is None else Path(ckpt_path)
        path = self.save_dir / "last.ckpt"
        return path if path.exists() else None

    def _start_head(
        self, model: FinetuneableZoobot, training: TensorBatches, validation: TensorBatches, best: BestEpoch
    ) -> bool:
        """Give a new head on cached features its best weights, to be kept if no epoch beats it.

        Returns:
            Whether the run is done, for none can.
        """
        features: Any = training.loader
        if not wants_start(model.settings, features, is_untrained=model.head.is_untrained):
            return False
        known: Any = validation.loader
        progress = self.progress and is_first_process()
        scores = start_head(
            head_in_engine(model), model.task, model.settings, features, known, progress=progress
        )
        keep = callbacks.BestModel(self.save_dir / "checkpoint", best)
        keep.judge(model, scores, {"epoch": 0, "head_start": "optimum"})
        if not (self.may_end and keep_start(best, model, scores, self.save_dir / "metrics.csv")):
            return False
        if self.resumable:
            guard, times = NonFiniteGuard(self, training), SaveTimes(self.checkpoint_minutes)
            last = LastCheckpoint(self.save_dir / "last.ckpt", times, self, best, guard)
            last.set_model(model)
            last.save_start()
        self._tell_callbacks(model, scores)
        return True

    def _tell_callbacks(self, model: FinetuneableZoobot, scores: dict[str, float]) -> None:
        """Tell the user's callbacks of a run without epochs, and loggers its scores too."""
        loggers = [self._logger(name) for name in (self.loggers if is_first_process() else ())]
        told = keras.callbacks.CallbackList([*loggers, *self.extra_callbacks], add_history=False, model=model)
        told.on_train_begin()
        for one in loggers:
            one.on_epoch_end(0, dict(scores))
        told.on_train_end()

    def _callbacks(
        self,
        model: FinetuneableZoobot,
        training: TensorBatches,
        validation: TensorBatches,
        best: BestEpoch,
        average: AveragedWeights | None,
        times: SaveTimes,
        done: RunProgress,
        bar: callbacks.Progress | None,
    ) -> list[keras.callbacks.Callback]:
        """In order: what runs at the end of an epoch finds what those before it have made."""
        steps = math.ceil(len(training) / self.accumulate_batches) * self.max_epochs
        factor = scheduled_factor(model.settings, total_steps=steps, max_epochs=self.max_epochs)
        schedule = callbacks.ScheduledLearningRate(factor)
        guard = NonFiniteGuard(self, training)
        gathering = callbacks.GatheredSteps(self.accumulate_batches) if self.accumulate_batches > 1 else None
        path = self.save_dir / "last.ckpt"
        last = [LastCheckpoint(path, times, self, best, guard, average, gathering)] if self.resumable else []
        stop_validation = last[0].stop_validation if last else _go_on

        def after_batch(batches: int) -> None:
            stop_validation()
            if bar:
                bar.validated(batches)

        return [
            callbacks.EpochStart(self, done),
            schedule,
            guard,
            *([gathering] if gathering else []),
            *([average, SwapWeights(average)] if average else []),
            callbacks.Validation(validation, after_batch, self.strategy),
            callbacks.BestModel(self.save_dir / "checkpoint", best),
            *([SwapWeights(average)] if average else []),
            callbacks.EarlyStopping(best, self.patience),
            callbacks.EpochMetrics(self.save_dir / "metrics.csv", schedule),
            *last,
            *(self._logger(name) for name in (self.loggers if is_first_process() else ())),
            *self.extra_callbacks,
        ]

    def _progress(self, training: int, validation: int, best: BestEpoch) -> callbacks.Progress | None:
        """What shows how far training is, if anything does."""
        if not (self.progress and is_first_process()):
            return None
        return callbacks.Progress(EpochProgress(self.max_epochs, best), training, validation, self)

    def _logger(self, name: str) -> keras.callbacks.Callback:
        if name == "wandb":
            return callbacks.WandbLog(self.save_dir)
        return keras.callbacks.TensorBoard(self.save_dir / "tensorboard", write_graph=False)
