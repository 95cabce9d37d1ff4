"""The checks of what a trainer is made with, so that both engines refuse in the same words."""

from __future__ import annotations

from collections.abc import Sequence

from zoobot.shared.errors import ConfigError
from zoobot.shared.optional import import_optional

__all__ = ["check_trainer_options"]

#: Logger → the package that it needs.
_LOGGERS = {"tensorboard": "tensorboard", "wandb": "wandb"}


def check_trainer_options(*, max_epochs: int, patience: int, loggers: Sequence[str]) -> None:
    """Raise unless a trainer can be made so.

    Raises:
        ConfigError: If a number is below 1, or a logger is unknown.
        MissingPackageError: If a logger's package is not installed.

    Example:
        >>> check_trainer_options(max_epochs=10, patience=3, loggers=[])
    """
    for name, value in (("max_epochs", max_epochs), ("patience", patience)):
        if value < 1:
            msg = f"{name} must be at least 1, got {value!r}"
            raise ConfigError(msg)
    for name in loggers:
        if name not in _LOGGERS:
            msg = f"loggers must be of {sorted(_LOGGERS)}, got {name!r}"
            raise ConfigError(msg)
        import_optional(_LOGGERS[name], needed_for=f"logging to {name}")
