"""A trainer that keeps the best model, a metrics table, and what a killed run needs to go on."""

from __future__ import annotations

import inspect
import logging
import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from zoobot.shared.checkpoint import read_checkpoint
from zoobot.shared.errors import ConfigError
from zoobot.shared.processes import is_first_process
from zoobot.shared.public_names import advise, arguments_of, unknown_option
from zoobot.shared.training.epochs import BestEpoch, EpochProgress
from zoobot.shared.training.finetune_settings import TrainerPlan, plan_trainer, scheduled_factor
from zoobot.shared.training.head_start import start_head, wants_start
from zoobot.shared.training.steps import STEPS_BETWEEN_CHECKS, SaveTimes
from zoobot.tensorflow import callbacks
from zoobot.tensorflow.callbacks import RunProgress, head_in_engine
from zoobot.tensorflow.data import GalaxyDataModule, TensorBatches
from zoobot.tensorflow.devices import (
    agree_on,
    choose_device,
    choose_precision,
    choose_strategy,
    in_precision,
    shards_of,
)
from zoobot.tensorflow.last_checkpoint import (
    AveragedWeights,
    LastCheckpoint,
    NonFiniteGuard,
    SwapWeights,
    read_last,
)
from zoobot.tensorflow.learner import FinetuneableZoobot

logger = logging.getLogger("zoobot")


@advise
@arguments_of(plan_trainer)
def get_trainer(plan: TrainerPlan) -> Trainer:
    """A trainer whose `fit(model, galaxies)` leaves the best model in `model` and in `save_dir`.

    What it leaves there is said at `zoobot.pytorch.finetune.get_trainer`. It takes `callbacks`, too: further
    Keras callbacks, loggers among them. On several machines, whose processes find each other by SLURM (which
    must show each task its own GPUs) or TF_CONFIG, call it before a model is made.
    """
    given = _check_options(plan.others)
    settings = plan.settings
    return Trainer(
        plan,
        device=choose_device(plan.accelerator),
        strategy=choose_strategy(plan.accelerator, plan.devices, settings.num_nodes),
        precision=choose_precision(plan.precision, plan.accelerator),
        extra_callbacks=given,
    )


def _check_options(options: dict[str, Any]) -> tuple[keras.callbacks.Callback, ...]:
    """The user's callbacks, once found that nothing else is asked for."""
    for name, value in options.items():
        if name == "logger" and value not in (None, False):
            raise ConfigError(
                f"logger={type(value).__name__} is Lightning's; with TensorFlow give loggers=['tensorboard', "
                f"'wandb'], or a Keras callback that logs, as callbacks=[...]"
            )
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
        plan: What it is asked to do.
        device: TensorFlow's name of the device; None leaves the choice to TensorFlow.
        strategy: How several devices train together; None where there is one.
        precision: Keras's name of the precision.
        extra_callbacks: Those of the user; they see all scores of an epoch.

    Attributes:
        model: The model that is, or was last, fitted.
        current_epoch: The epoch that is running.
        first_batch: The batch with which this part of the run began that epoch; 0 but where it was resumed.
    """

    def __init__(
        self,
        plan: TrainerPlan,
        *,
        device: str | None,
        strategy: tf.distribute.Strategy | None,
        precision: str,
        extra_callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        self.plan, self.settings = plan, plan.settings
        self.device, self.strategy = device, strategy
        self.shards = shards_of(strategy)
        if strategy and precision == "mixed_float16":
            raise ConfigError(
                "precision '16-mixed' works on one device, for others would not see its overflows: use "
                "'bf16-mixed' or '32-true'"
            )
        self.precision = precision
        self.progress = plan.progress
        self.accumulate_batches = plan.settings.accumulate_batches
        self.extra_callbacks = tuple(extra_callbacks)
        self.model: FinetuneableZoobot | None = None
        self.current_epoch = self.first_batch = 0

    @property
    def max_epochs(self) -> int:
        """Most passes over the training galaxies."""
        return self.plan.max_epochs

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
        best = BestEpoch(self.plan.monitor)
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
            model.take_weights(read_checkpoint(self.plan.checkpoint))

    def _keep_split(self, galaxies: GalaxyDataModule) -> None:
        if is_first_process():
            galaxies.keep_split(self.plan.save_dir)

    def _run(
        self,
        model: FinetuneableZoobot,
        training: TensorBatches,
        validation: TensorBatches,
        best: BestEpoch,
        ckpt_path: str | Path | None,
    ) -> None:
        model.compile(gradient_clip=self.settings.gradient_clip, gather_gradients=self.accumulate_batches > 1)
        if self._last_checkpoint(ckpt_path) is None and self._start_head(model, training, validation, best):
            return
        decay = self.settings.ema_decay
        average = AveragedWeights(model, decay) if decay else None
        done = self._resume(model, best, average, ckpt_path)
        if self.plan.is_over(best):
            return
        # one more than a batch, for of too few galaxies two may share one
        model.keep_losses(STEPS_BETWEEN_CHECKS, training.loader.batch_size + 1)
        times = self.plan.save_times()
        bar = self._progress(len(training), len(validation), best)
        made = self._callbacks(model, training, validation, best, average, times, done, bar)
        if self.plan.resumable:
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
        return [*spans, (start, self.plan.max_epochs)] if start < self.plan.max_epochs else spans

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
                words = "there is no last.ckpt in %s to go on from: the run starts anew"
                logger.warning(words, self.plan.save_dir)
            return RunProgress()
        return read_last(path, model, best, average)

    def _last_checkpoint(self, ckpt_path: str | Path | None) -> Path | None:
        """What the run goes on from; None where it starts anew."""
        if ckpt_path != "last":
            return None if ckpt_path is None else Path(ckpt_path)
        return self.plan.last if self.plan.last.exists() else None

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
        first, may_end = is_first_process(), self.plan.may_end
        head, shown = head_in_engine(model), self.progress and first
        scores, is_done = start_head(
            model, head, features, known, best, self.plan, may_end=may_end, writes=first, progress=shown
        )
        if not is_done:
            return False
        if self.plan.resumable:
            guard, times = NonFiniteGuard(self, training), self.plan.save_times()
            last = LastCheckpoint(self.plan.last, times, self, best, guard)
            last.set_model(model)
            last.save_start()
        self._tell_callbacks(model, scores)
        return True

    def _tell_callbacks(self, model: FinetuneableZoobot, scores: dict[str, float]) -> None:
        """Tell the user's callbacks of a run without epochs, and loggers its scores too."""
        loggers = [self._logger(name) for name in (self.settings.loggers if is_first_process() else ())]
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
        steps = math.ceil(len(training) / self.accumulate_batches) * self.plan.max_epochs
        factor = scheduled_factor(model.settings, total_steps=steps, max_epochs=self.plan.max_epochs)
        schedule = callbacks.ScheduledLearningRate(factor)
        guard = NonFiniteGuard(self, training)
        gathering = callbacks.GatheredSteps(self.accumulate_batches) if self.accumulate_batches > 1 else None
        last = LastCheckpoint(self.plan.last, times, self, best, guard, average, gathering)
        saving = [last] if self.plan.resumable else []
        stop_validation = last.stop_validation if saving else _go_on

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
            callbacks.BestModel(self.plan.checkpoint, best),
            *([SwapWeights(average)] if average else []),
            callbacks.EarlyStopping(best, self.settings.patience),
            callbacks.EpochMetrics(self.plan.log, schedule),
            *saving,
            *(self._logger(name) for name in (self.settings.loggers if is_first_process() else ())),
            *self.extra_callbacks,
        ]

    def _progress(self, training: int, validation: int, best: BestEpoch) -> callbacks.Progress | None:
        """What shows how far training is, if anything does."""
        if not (self.progress and is_first_process()):
            return None
        return callbacks.Progress(EpochProgress(self.plan.max_epochs, best), training, validation, self)

    def _logger(self, name: str) -> keras.callbacks.Callback:
        if name == "wandb":
            return callbacks.WandbLog(self.plan.save_dir)
        return keras.callbacks.TensorBoard(self.plan.save_dir / "tensorboard", write_graph=False)
