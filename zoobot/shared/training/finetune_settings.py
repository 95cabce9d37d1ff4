"""The options that every finetuned model has, in either engine: checked and defaulted once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.public_names import unknown_option

__all__ = ["FinetuneSettings", "TrainSettings", "learning_rate_factor", "scheduled_factor", "seed_of_batch"]

Schedule = Literal["cosine", "constant"]
HeadStart = Literal["optimum", "prior"]


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
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

    n_blocks: int | Literal["all"] = defaults.N_BLOCKS
    lr_decay: float = defaults.LR_DECAY
    learning_rate: float = defaults.LEARNING_RATE
    weight_decay: float = defaults.WEIGHT_DECAY
    dropout_prob: float = defaults.DROPOUT_PROB
    schedule: Schedule = "cosine"
    warmup_epochs: float = defaults.WARMUP_EPOCHS
    min_lr_factor: float = defaults.MIN_LR_FACTOR
    cache_features: bool = True
    feature_views: int = defaults.FEATURE_VIEWS
    activation_views: int = defaults.ACTIVATION_VIEWS
    head_start: HeadStart = "optimum"
    seed: int = defaults.SEED

    def __post_init__(self) -> None:
        if self.n_blocks != "all" and (not isinstance(self.n_blocks, int) or self.n_blocks < 0):
            self._refuse("n_blocks", "0, a positive whole number, or 'all'")
        if not self.learning_rate > 0:
            self._refuse("learning_rate", "positive")
        if not 0 < self.lr_decay <= 1:
            self._refuse("lr_decay", "in (0, 1]")
        if not 0 <= self.dropout_prob < 1:
            self._refuse("dropout_prob", "in [0, 1)")
        if not 0 <= self.min_lr_factor <= 1:
            self._refuse("min_lr_factor", "in [0, 1]")
        for name in ("weight_decay", "warmup_epochs"):
            if not getattr(self, name) >= 0:
                self._refuse(name, "zero or positive")
        if not (isinstance(self.activation_views, int) and self.activation_views >= 0):
            self._refuse("activation_views", "zero or a positive whole number")
        if self.activation_views and self.n_blocks in (0, "all"):
            msg = (
                "activation_views is for encoders of which some blocks learn and some are frozen, got "
                f"n_blocks={self.n_blocks!r}"
            )
            raise ConfigError(msg)
        if not self.feature_views >= 1:
            self._refuse("feature_views", "at least 1")
        for name, choices in (("schedule", get_args(Schedule)), ("head_start", get_args(HeadStart))):
            if getattr(self, name) not in choices:
                self._refuse(name, f"one of {choices}")

    def _refuse(self, name: str, expected: str) -> None:
        msg = f"{name} must be {expected}, got {getattr(self, name)!r}"
        raise ConfigError(msg)

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> FinetuneSettings:
        """The settings from keyword arguments.

        Raises:
            ConfigError: If a name is unknown; the message says which known one is near.
        """
        known = [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                raise ConfigError(unknown_option(name, known))
        return cls(**options)

    def to_config(self) -> dict[str, Any]:
        """The settings as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class TrainSettings(FinetuneSettings):
    """How the weights of a whole model learn, from none or from given ones: all blocks, at one rate.

    Args:
        n_blocks: As for finetuning; "all" by default.
        lr_decay: Likewise; 1, the same rate everywhere, by default.
        learning_rate: Likewise, with another default.
        dropout_prob: Likewise.
    """

    n_blocks: int | Literal["all"] = "all"
    lr_decay: float = 1.0
    learning_rate: float = defaults.TRAIN_LEARNING_RATE
    dropout_prob: float = defaults.TRAIN_DROPOUT_PROB


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
    return int(np.random.SeedSequence([seed, epoch, batch, device]).generate_state(1)[0])
