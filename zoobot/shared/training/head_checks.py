"""What a head is made and started with, checked, so that both engines refuse in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, LabelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "check_features_shape",
    "check_head",
    "checked_calibration",
    "checked_target_statistics",
    "prior_logits",
]


def check_head(num_features: int, num_outputs: int, dropout_prob: float) -> None:
    """Raise a ConfigError unless a head can have these sizes and this dropout.

    Example:
        >>> check_head(1280, 2, 0.5)
    """
    for name, size in (("num_features", num_features), ("number of outputs", num_outputs)):
        if size < 1:
            msg = f"the {name} of a head must be at least 1, got {size!r}"
            raise ConfigError(msg)
    if not 0 <= dropout_prob < 1:
        msg = f"dropout_prob must be in [0, 1), got {dropout_prob!r}"
        raise ConfigError(msg)


def check_features_shape(shape: tuple[int, ...], num_features: int) -> None:
    """Raise a ConfigError unless features are (batch, num_features)."""
    if len(shape) != 2 or shape[1] != num_features:
        msg = f"a head made for {num_features} features takes (batch, {num_features}), got shape {shape}"
        raise ConfigError(msg)


def checked_target_statistics(
    mean: ArrayLike, std: ArrayLike, num_targets: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each target, (targets,), found to be usable.

    Raises:
        LabelError: If there is not one finite number for each target, or a deviation is not above 0.

    Example:
        >>> mean, std = checked_target_statistics([-1.5], [3.2], 1)
        >>> mean.shape
        (1,)
    """
    mean, std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    if mean.shape != (num_targets,) or std.shape != (num_targets,):
        msg = f"need mean and std of each of {num_targets} targets, got {mean.tolist()} and {std.tolist()}"
        raise LabelError(msg)
    if not np.isfinite(mean).all() or not np.isfinite(std).all() or (std <= 0).any():
        msg = f"targets need a finite mean and a std above 0, got {mean.tolist()}, {std.tolist()}"
        raise LabelError(msg)
    return mean, std


def checked_calibration(factors: ArrayLike, num_factors: int) -> NDArray[np.float64]:
    """The factors that calibrate a head, (factors,), found to be usable.

    Raises:
        LabelError: If they are not so many finite numbers above 0.

    Example:
        >>> checked_calibration([0.5, 0.5], 2).tolist()
        [0.5, 0.5]
    """
    given = np.asarray(factors, dtype=np.float64)
    if given.shape != (num_factors,) or not (np.isfinite(given) & (given > 0)).all():
        msg = f"need {num_factors} finite factors above 0, got {given}"
        raise LabelError(msg)
    return given


def prior_logits(concentrations: ArrayLike, num_answers: int) -> NDArray[np.float64]:
    """The biases with which a Dirichlet head without weights predicts these concentrations: (answers,).

    Raises:
        LabelError: If there is not one for each answer, within what the head can predict.

    Example:
        >>> prior_logits([51.0], 1).tolist()
        [0.0]
    """
    given = np.asarray(concentrations, dtype=np.float64)
    share = (given - defaults.CONCENTRATION_MIN) / defaults.CONCENTRATION_RANGE
    if given.shape != (num_answers,) or not ((share > 0) & (share < 1)).all():
        low = defaults.CONCENTRATION_MIN
        high = low + defaults.CONCENTRATION_RANGE
        msg = f"need {num_answers} concentrations between {low:g} and {high:g}, one an answer, got {given}"
        raise LabelError(msg)
    return np.log(share) - np.log1p(-share)
