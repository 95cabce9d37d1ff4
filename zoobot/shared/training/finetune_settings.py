"""How models learn, in either engine, from Python and the command line: declared and checked once."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.imports import import_optional
from zoobot.shared.settings import Options, setting, with_default

if TYPE_CHECKING:
    from zoobot.shared.training.epochs import BestEpoch, EpochLog
    from zoobot.shared.training.steps import SaveTimes

#: How a paper tells of a number that changes what is learned, and the value of which it says nothing.
IN_WORDS: dict[str, tuple[str, float | None]] = {
    "learning_rate": ("learning rate {:g}", None),
    "weight_decay": ("weight decay {:g}", None),
    "lr_decay": ("a factor of {:g} in the learning rate for each block further down", 1),
    "dropout_prob": ("dropout {:g}", None),
    "gradient_clip": ("gradients no longer than {:g}", None),
    "accumulate_batches": ("the gradients of {:g} batches averaged for each step", 1),
    "ema_decay": ("a running average of the weights with decay {:g}", 0),
}


@dataclass(frozen=True, kw_only=True)
class LearningSettings(Options):
    """How the weights learn, as Python and the command line both have it."""

    title: ClassVar[str] = "Learning"

    n_blocks: int | Literal["all"] = setting(
        defaults.N_BLOCKS,
        "encoder blocks that learn, from the top; 0: the head alone (fast, few labels)",
        at_least=0,
    )
    activation_views: int = setting(
        defaults.ACTIVATION_VIEWS,
        "with some blocks learning and some frozen: keep what the frozen ones make of so many views of each "
        "galaxy, for later epochs; two to three times faster, with less varied images. 0: new views always",
        at_least=0,
    )
    learning_rate: float = setting(defaults.LEARNING_RATE, "AdamW's largest step, for the head", above=0)
    lr_decay: float = setting(
        defaults.LR_DECAY, "each block learns slower than the one above by this factor", above=0, at_most=1
    )
    weight_decay: float = setting(defaults.WEIGHT_DECAY, "pull of the weights towards zero", at_least=0)
    dropout_prob: float = setting(
        defaults.DROPOUT_PROB, "chance that a feature is left out while learning", at_least=0, below=1
    )
    schedule: Literal["cosine", "constant"] = setting(
        "cosine", "how the learning rate goes after the warm-up"
    )
    warmup_epochs: float = setting(
        defaults.WARMUP_EPOCHS, "epochs over which the learning rate rises from zero", at_least=0
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.activation_views and self.n_blocks in (0, "all"):
            raise ConfigError(
                "activation_views is for encoders of which some blocks learn and some are frozen, got "
                f"n_blocks={self.n_blocks!r}"
            )


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(LearningSettings):
    """How the weights of a pretrained model learn a new task.

    Args:
        n_blocks: How many of the encoder's blocks learn, counted from the top; 0 trains the head alone,
            "all" trains everything.
        lr_decay: Each block learns this factor slower than the one above it; the head learns at
            `learning_rate`, the top block at `learning_rate * lr_decay`, and so on down.
        learning_rate: Largest step of AdamW, reached after the warm-up.
        weight_decay: Decoupled weight decay; norms and biases are exempt.
        dropout_prob: Chance that a feature is dropped before the head's linear layer, in [0, 1).
        schedule: "cosine" falls from `learning_rate` to `min_lr_factor` of it by the last epoch;
            "constant" stays there after the warm-up.
        warmup_epochs: Epochs over which the learning rate rises from zero.
        min_lr_factor: Where the cosine ends, as a fraction of `learning_rate`.
        cache_features: With `n_blocks=0`, encode each galaxy once and train the head on its features; False
            encodes every view of every epoch.
        feature_views: Views of each training galaxy that are encoded once: the plain one, and augmented ones.
        activation_views: With `n_blocks` of 1 or more, views of each training galaxy for which the output of
            the frozen blocks is kept (float16, in a temporary file where it is large), once an epoch has
            computed it: the plain view, and augmented ones, which epochs take in turn. 0 computes it anew, of
            a new view, in every epoch.
        head_start: Where a new head on such features starts: "optimum", the best linear head, with a weight
            decay of its own; or "prior", what is common to all galaxies.
        seed: Seeds the head's weights, those of an untrained encoder, and dropout.

    Raises:
        ConfigError: If a value can't work.
    """

    min_lr_factor: float = setting(
        defaults.MIN_LR_FACTOR, "where the cosine ends, as a part of the learning rate", at_least=0, at_most=1
    )
    cache_features: bool = setting(True, "encode each galaxy once where the head alone learns")
    feature_views: int = setting(
        defaults.FEATURE_VIEWS, "views of each training galaxy that are encoded once", at_least=1
    )
    head_start: Literal["optimum", "prior"] = setting("optimum", "where a new head on such features starts")
    seed: int = setting(defaults.SEED, "seeds weights and dropout", at_least=0)


class FinetuneKeywords(TypedDict, total=False):
    """The fields of `FinetuneSettings` as keywords of a function, for editors; a test holds them equal."""

    n_blocks: int | Literal["all"]
    activation_views: int
    learning_rate: float
    lr_decay: float
    weight_decay: float
    dropout_prob: float
    schedule: Literal["cosine", "constant"]
    warmup_epochs: float
    min_lr_factor: float
    cache_features: bool
    feature_views: int
    head_start: Literal["optimum", "prior"]
    seed: int


@dataclass(frozen=True, kw_only=True)
class WholeModelSettings(LearningSettings):
    """How the weights of a whole model learn: all blocks, at one rate."""

    n_blocks: int | Literal["all"] = with_default(LearningSettings, "n_blocks", "all")
    lr_decay: float = with_default(LearningSettings, "lr_decay", 1.0)
    learning_rate: float = with_default(LearningSettings, "learning_rate", defaults.TRAIN_LEARNING_RATE)
    dropout_prob: float = with_default(LearningSettings, "dropout_prob", defaults.TRAIN_DROPOUT_PROB)


@dataclass(frozen=True, kw_only=True)
class TrainSettings(WholeModelSettings, FinetuneSettings):
    """`FinetuneSettings` of a whole model, from random weights or given ones: all blocks, at one rate."""


@dataclass(frozen=True, kw_only=True)
class TrainerSettings(Options):
    """How long a run goes on, and what it keeps and tells on the way."""

    title: ClassVar[str] = "Learning"
    #: What may differ when a run is resumed: it changes how the work is done, not what comes out.
    free_on_resume: ClassVar[tuple[str, ...]] = ("checkpoint_minutes",)

    max_epochs: int | None = setting(
        None,
        "most passes over the training galaxies; without it, 50. The head alone (--n-blocks 0) needs none: "
        "its best weights are found at once, and it is trained on only if you ask, or if its loss is not "
        "convex (trees, --loss focal, --unit-interval)",
        at_least=1,
    )
    patience: int = setting(
        defaults.PATIENCE, "stop after so many epochs without a better validation loss", at_least=1
    )
    gradient_clip: float | None = setting(
        None, "longest gradient, as a norm over all weights; without it, any", above=0
    )
    accumulate_batches: int = setting(
        1, "batches averaged for one step: large steps in little memory", at_least=1
    )
    ema_decay: float = setting(
        0.0,
        "keep a running average of the weights, with this share staying at each step; 0: the weights",
        at_least=0,
        below=1,
    )
    checkpoint_minutes: float = setting(
        defaults.CHECKPOINT_MINUTES,
        "save the unfinished run within an epoch too, at least this often; SIGTERM and SIGUSR1 save and "
        "stop it",
        above=0,
    )
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = setting((), "where to log besides metrics.csv")
    num_nodes: int = setting(1, "machines; under SLURM, its processes are found by themselves", at_least=1)


@dataclass(frozen=True, kw_only=True)
class WholeTrainerSettings(TrainerSettings):
    """Those of a run that trains a whole model: a running average of the weights is kept."""

    gradient_clip: float | None = with_default(TrainerSettings, "gradient_clip", defaults.GRADIENT_CLIP)
    ema_decay: float = with_default(TrainerSettings, "ema_decay", defaults.EMA_DECAY)


# What a trainer of either engine is made with, and what follows from it.

#: Logger → the package that it needs.
_LOGGERS = {"tensorboard": "tensorboard", "wandb": "wandb"}

#: What Lightning calls options of ours, and our defaults.
_OF_LIGHTNING: dict[str, tuple[str, Any]] = {
    "enable_progress_bar": ("progress", True),
    "gradient_clip_val": ("gradient_clip", None),
    "accumulate_grad_batches": ("accumulate_batches", 1),
}


@dataclass(frozen=True, kw_only=True)
class TrainerPlan:
    """What a trainer is asked to do, checked.

    Attributes:
        save_dir: Folder for everything the run leaves.
        settings: How long the run goes on, and what it keeps and tells on the way.
        monitor: The logged number that decides which epoch is best; lower is better.
        accelerator: As the user says it.
        devices: How many on each machine.
        precision: As the user says it.
        progress: Whether progress bars are drawn.
        resumable: Whether last.ckpt is written.
        others: What else was given, by name.
    """

    save_dir: Path
    settings: TrainerSettings
    monitor: str
    accelerator: str
    devices: int | str
    precision: str
    progress: bool
    resumable: bool
    others: dict[str, Any]

    @property
    def max_epochs(self) -> int:
        """Most passes over the training galaxies."""
        asked = self.settings.max_epochs
        return defaults.MAX_EPOCHS if asked is None else asked

    @property
    def may_end(self) -> bool:
        """Whether a run ends with the best head on fixed features where no epoch can beat it."""
        return self.settings.max_epochs is None

    def is_over(self, best: BestEpoch) -> bool:
        """Whether a run that was killed had decided to stop."""
        return best.epochs_since >= self.settings.patience or (best.is_final and self.may_end)

    @property
    def checkpoint(self) -> Path:
        """The folder of the best model."""
        return self.save_dir / "checkpoint"

    @property
    def last(self) -> Path:
        """What a killed run goes on from."""
        return self.save_dir / "last.ckpt"

    @property
    def log(self) -> EpochLog:
        """metrics.csv."""
        from zoobot.shared.training.epochs import EpochLog  # late: the command line's help needs no tables

        return EpochLog(self.save_dir / "metrics.csv")

    def save_times(self) -> SaveTimes:
        """When last.ckpt is written."""
        from zoobot.shared.training.steps import SaveTimes

        return SaveTimes(self.settings.checkpoint_minutes)


def plan_trainer(
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
) -> TrainerPlan:
    """What `get_trainer` of either engine was asked to do, once found to be possible.

    Args:
        save_dir: Folder for everything the run leaves.
        max_epochs: Most passes over the training galaxies; None is 50, or none where the best head on fixed
            features is found at once (`n_blocks=0`) and its loss is convex.
        patience: Epochs without a better `monitor` after which training stops.
        monitor: The logged number that decides which epoch is best; lower is better.
        accelerator: "auto" takes a GPU where one is; "cpu"; "gpu"; with PyTorch, whatever Lightning names.
        devices: How many devices on each machine, or "auto". A step's batch is shared out among all of them.
        num_nodes: How many machines; SLURM's processes are found by themselves.
        precision: "auto" is mixed precision where a GPU is and float32 elsewhere; or "32-true", "bf16-mixed",
            "16-mixed"; with PyTorch, whatever Lightning names.
        gradient_clip: Longest gradient, as a norm over all weights; None does not clip.
        accumulate_batches: Batches whose gradients are averaged for one step: large steps in little memory.
        ema_decay: Validate and keep a running average of the weights, of which this share stays at each step;
            0 keeps the weights themselves.
        checkpoint_minutes: Write last.ckpt within an epoch too, at least this often. SIGTERM and SIGUSR1 have
            it written after the step that runs, and end the process.
        progress: Whether progress bars are drawn.
        loggers: Further places to log to: "tensorboard", "wandb".
        **trainer_kwargs: What the engine's `get_trainer` says. With `enable_checkpointing=False` no last.ckpt
            is written. `enable_progress_bar`, `gradient_clip_val` and `accumulate_grad_batches` are taken for
            `progress`, `gradient_clip` and `accumulate_batches`.

    Raises:
        ConfigError: If a value can't work, or is given under two names.
        MissingPackageError: If a logger's package is not installed.

    Example:
        >>> plan = plan_trainer("results/rings", gradient_clip_val=0.5, max_steps=9)
        >>> plan.settings.gradient_clip, plan.max_epochs, plan.others
        (0.5, 50, {'max_steps': 9})
    """
    given = dict(locals())
    others = given.pop("trainer_kwargs")
    if not isinstance(save_dir, (str, os.PathLike)):
        raise ConfigError(f"save_dir must be the path of a folder, got {save_dir!r}")
    ours, others = _in_our_names(given, others)
    settings = TrainerSettings(**{field.name: ours.pop(field.name) for field in fields(TrainerSettings)})
    for name in settings.loggers:
        import_optional(_LOGGERS[name], needed_for=f"logging to {name}")
    resumable = others.pop("enable_checkpointing", None) is not False
    ours["save_dir"] = Path(save_dir)
    return TrainerPlan(settings=settings, resumable=resumable, others=others, **ours)


def _in_our_names(
    ours: Mapping[str, Any], others: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of ours, with those under Lightning's names taken for them, and what is left of the others."""
    ours, others = dict(ours), dict(others)
    if "default_root_dir" in others:
        raise ConfigError("default_root_dir is save_dir here: leave it out")
    for name, (our_name, default) in _OF_LIGHTNING.items():
        if name not in others:
            continue
        value = others.pop(name)
        if ours[our_name] not in (default, value):
            msg = f"{name} is {our_name} here: give one of them, got {value!r} and {ours[our_name]!r}"
            raise ConfigError(msg)
        ours[our_name] = value
    return ours, others


# The learning rate and the seed of each step.


def learning_rate_factor(settings: FinetuneSettings, step: int, total_steps: int, warmup_steps: int) -> float:
    """What the learning rate is multiplied by at one step, in [0, 1].

    Args:
        settings: Gives the schedule and its floor.
        step: Optimiser steps already taken.
        total_steps: Optimiser steps in the whole run.
        warmup_steps: Steps of the linear rise at the start.

    Example:
        >>> settings = FinetuneSettings(schedule="cosine", min_lr_factor=0.0)
        >>> [round(learning_rate_factor(settings, s, 10, 2), 2) for s in (0, 2, 6, 10)]
        [0.5, 1.0, 0.5, 0.0]
    """
    warmup_steps = min(warmup_steps, total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if settings.schedule == "constant":
        return 1.0
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    floor = settings.min_lr_factor
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def scheduled_factor(
    settings: FinetuneSettings, *, total_steps: int, max_epochs: int
) -> Callable[[int], float]:
    """From the number of optimiser steps taken to what the learning rate is multiplied by, for a whole run.

    Args:
        settings: Gives the schedule and its warm-up.
        total_steps: Optimiser steps in the whole run.
        max_epochs: Epochs in the whole run.

    Example:
        >>> factor = scheduled_factor(FinetuneSettings(warmup_epochs=1), total_steps=20, max_epochs=10)
        >>> factor(0), factor(1)
        (0.5, 1.0)
    """
    warmup_steps = round(total_steps * settings.warmup_epochs / max(1, max_epochs))
    return partial(_factor_at, settings=settings, total_steps=total_steps, warmup_steps=warmup_steps)


def _factor_at(step: int, *, settings: FinetuneSettings, total_steps: int, warmup_steps: int) -> float:
    return learning_rate_factor(settings, step, total_steps, warmup_steps)


def seed_of_batch(seed: int, epoch: int, batch: int, device: int = 0) -> int:
    """The seed of dropout in one batch on one device: a resumed run draws what an uninterrupted one would.

    Args:
        seed: That of the run.
        epoch: Counted from 0.
        batch: Its place in the epoch, from 0.
        device: The device's number among all.

    Returns:
        A number of 32 bits.

    Example:
        >>> seed_of_batch(42, 1, 0) == seed_of_batch(42, 1, 0) != seed_of_batch(42, 0, 1)
        True
    """
    import numpy as np  # late: the command line's help needs no arrays

    return int(np.random.SeedSequence([seed, epoch, batch, device]).generate_state(1)[0])
