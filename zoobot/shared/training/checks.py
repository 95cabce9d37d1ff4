"""What a loss refuses before work starts, in the same words in either engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import ConfigError, LabelError

if TYPE_CHECKING:
    from collections.abc import Sequence


CLASSIFICATION_LOSSES = ("cross_entropy", "focal")
REGRESSION_LOSSES = ("mse", "mae", "huber")

Shape = tuple[int, ...]


def check_classification_options(
    kind: str,
    num_classes: int,
    label_smoothing: float,
    class_weights: Sequence[float] | None,
    focal_gamma: float,
) -> None:
    """Raise a ConfigError unless these can be the options of a loss over classes, or over yes/no labels.

    Example:
        >>> check_classification_options("focal", 2, 0.1, [1.0, 3.0], 2.0)
    """
    _check_kind(kind, CLASSIFICATION_LOSSES)
    if not 0 <= label_smoothing < 1:
        msg = f"label_smoothing must be in [0, 1), got {label_smoothing!r}"
        raise ConfigError(msg)
    if not 0 <= focal_gamma < math.inf:
        msg = f"focal_gamma must be finite and not negative, got {focal_gamma!r}"
        raise ConfigError(msg)
    if class_weights is None:
        return
    weights = np.asarray(class_weights, dtype=np.float64)
    check_class_weights_shape(weights.shape, num_classes)
    if not np.isfinite(weights).all() or (weights <= 0).any():
        msg = f"class_weights must be finite numbers above 0, got {weights.tolist()}"
        raise ConfigError(msg)


def check_class_weights_shape(shape: Shape, num_classes: int) -> None:
    """Raise a ConfigError unless there is one weight for each class, or label."""
    if shape != (num_classes,):
        msg = f"class_weights must be one number for each of {num_classes} classes, got shape {shape}"
        raise ConfigError(msg)


def check_regression_options(kind: str, huber_delta: float) -> None:
    """Raise a ConfigError unless these can be the options of a `regression_loss`."""
    _check_kind(kind, REGRESSION_LOSSES)
    if not 0 < huber_delta < math.inf:
        msg = f"huber_delta must be finite and above 0, got {huber_delta!r}"
        raise ConfigError(msg)


def check_class_labels(logits_shape: Shape, labels_shape: Shape, *, is_integer: bool) -> None:
    """Raise a LabelError unless labels are one whole number for each galaxy of (batch, classes) logits."""
    if len(logits_shape) != 2 or labels_shape != logits_shape[:1]:
        msg = (
            "expected logits (batch, classes) and labels (batch,), "
            f"got shapes {logits_shape} and {labels_shape}"
        )
        raise LabelError(msg)
    if not is_integer:
        msg = "labels of classes must have an integer type: each is the number of a class, from 0"
        raise LabelError(msg)


def check_same_shape(predictions_shape: Shape, labels_shape: Shape) -> None:
    """Raise a LabelError unless both are (batch, columns) of the same size; nothing is broadcast."""
    if len(predictions_shape) != 2 or labels_shape != predictions_shape:
        msg = (
            "expected predictions and labels of one shape (batch, columns), "
            f"got {predictions_shape} and {labels_shape}"
        )
        raise LabelError(msg)


def check_votes_shape(concentrations_shape: Shape, votes_shape: Shape, num_answers: int) -> None:
    """Raise a LabelError unless both are (batch, answers), with the answers of the question slices."""
    if len(votes_shape) != 2 or votes_shape[1] != num_answers or concentrations_shape != votes_shape:
        msg = (
            f"expected concentrations and votes of one shape (batch, {num_answers} answers), as the question "
            f"slices say, got {concentrations_shape} and {votes_shape}"
        )
        raise LabelError(msg)


def _check_kind(kind: str, known: Sequence[str]) -> None:
    if kind not in known:
        msg = f"the loss must be one of {list(known)}, got {kind!r}"
        raise ConfigError(msg)
