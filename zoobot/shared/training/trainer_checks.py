"""The checks of what a trainer is made with, so that both engines refuse in the same words."""

from __future__ import annotations

from collections.abc import Sequence

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.optional import import_optional

__all__ = ["check_trainer_options"]

#: Logger → the package that it needs.
_LOGGERS = {"tensorboard": "tensorboard", "wandb": "wandb"}


def check_trainer_options(
    *,
    max_epochs: int,
    patience: int,
    loggers: Sequence[str],
    gradient_clip: float | None = None,
    accumulate_batches: int = 1,
    ema_decay: float = 0.0,
    num_nodes: int = 1,
    checkpoint_minutes: float = defaults.CHECKPOINT_MINUTES,
) -> None:
    """Raise unless a trainer can be made so.

    Raises:
        ConfigError: If a number can't work, or a logger is unknown.
        MissingPackageError: If a logger's package is not installed.

    Example:
        >>> check_trainer_options(max_epochs=10, patience=3, loggers=[])
    """
    counts = {
        "max_epochs": max_epochs,
        "patience": patience,
        "accumulate_batches": accumulate_batches,
        "num_nodes": num_nodes,
    }
    for name, value in counts.items():
        if value < 1:
            msg = f"{name} must be at least 1, got {value!r}"
            raise ConfigError(msg)
    if gradient_clip is not None and not gradient_clip > 0:
        msg = f"gradient_clip must be above 0, or None for no limit, got {gradient_clip!r}"
        raise ConfigError(msg)
    if not 0 <= ema_decay < 1:
        msg = f"ema_decay must be in [0, 1), 0 for no average, got {ema_decay!r}"
        raise ConfigError(msg)
    if not checkpoint_minutes > 0:
        msg = f"checkpoint_minutes must be above 0, got {checkpoint_minutes!r}"
        raise ConfigError(msg)
    for name in loggers:
        if name not in _LOGGERS:
            msg = f"loggers must be of {sorted(_LOGGERS)}, got {name!r}"
            raise ConfigError(msg)
        import_optional(_LOGGERS[name], needed_for=f"logging to {name}")
