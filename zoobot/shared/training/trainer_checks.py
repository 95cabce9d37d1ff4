"""The checks of what a trainer is made with, so that both engines refuse in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from zoobot.shared.errors import ConfigError
from zoobot.shared.optional import import_optional
from zoobot.shared.training.finetune_settings import TrainerSettings

__all__ = ["TrainerOptions", "check_trainer_options", "in_our_names"]

#: Logger → the package that it needs.
_LOGGERS = {"tensorboard": "tensorboard", "wandb": "wandb"}

#: What Lightning calls options of ours, and our defaults.
_OF_LIGHTNING: dict[str, tuple[str, Any]] = {
    "enable_progress_bar": ("progress", True),
    "gradient_clip_val": ("gradient_clip", None),
    "accumulate_grad_batches": ("accumulate_batches", 1),
}


class TrainerOptions(NamedTuple):
    """Those options of a trainer that Lightning has under other names.

    Attributes:
        progress: Whether progress bars are drawn.
        gradient_clip: Longest gradient; None does not clip.
        accumulate_batches: Batches whose gradients are averaged for one step.
        resumable: Whether last.ckpt is written.
        others: What else was given, by name.
    """

    progress: bool
    gradient_clip: float | None
    accumulate_batches: int
    resumable: bool
    others: dict[str, Any]


def in_our_names(others: Mapping[str, Any], **ours: Any) -> TrainerOptions:
    """Options of a trainer, those under Lightning's names taken for ours; and what is left of the others.

    Args:
        others: What else was given.
        **ours: `progress`, `gradient_clip` and `accumulate_batches`, as given.

    Raises:
        ConfigError: If an option is given under both names, or the folder twice.

    Example:
        >>> ours = {"progress": True, "gradient_clip": None, "accumulate_batches": 1}
        >>> in_our_names({"gradient_clip_val": 0.5, "max_steps": 9}, **ours)[1:]
        (0.5, 1, True, {'max_steps': 9})
    """
    others = dict(others)
    if "default_root_dir" in others:
        msg = "default_root_dir is save_dir here: leave it out"
        raise ConfigError(msg)
    for name, (our_name, default) in _OF_LIGHTNING.items():
        if name not in others:
            continue
        value = others.pop(name)
        if ours[our_name] not in (default, value):
            msg = f"{name} is {our_name} here: give one of them, got {value!r} and {ours[our_name]!r}"
            raise ConfigError(msg)
        ours[our_name] = value
    resumable = others.pop("enable_checkpointing", None) is not False
    return TrainerOptions(**ours, resumable=resumable, others=others)


def check_trainer_options(**options: Any) -> TrainerSettings:
    """A trainer's options, once found to be possible.

    Args:
        **options: Fields of `TrainerSettings`.

    Raises:
        ConfigError: If a value can't work.
        MissingPackageError: If a logger's package is not installed.

    Example:
        >>> check_trainer_options(max_epochs=10, patience=3).accumulate_batches
        1
    """
    checked = TrainerSettings(**options)
    for name in checked.loggers:
        import_optional(_LOGGERS[name], needed_for=f"logging to {name}")
    return checked
