"""A whole model as a neutral checkpoint, and back: what is said of it, and which class it is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.shared import tasks
from zoobot.shared.checkpoint import CONFIG_FILE, NeutralCheckpoint, read_checkpoint
from zoobot.shared.conformal import Conformal
from zoobot.shared.errors import CheckpointError, ConfigError, SchemaError
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.preprocessing import Preprocessing

if TYPE_CHECKING:
    from zoobot.shared.engine import Model


def describe_model(
    model: Model,
    *,
    encoder_fields: Mapping[str, Any],
    head_tensors: dict[str, np.ndarray],
    training: Mapping[str, Any] | None,
) -> NeutralCheckpoint:
    """A model as the values and arrays of a checkpoint.

    Args:
        model: Tells its task, its settings and which galaxies taught it.
        encoder_fields: What the engine's `weights.encoder_fields` says of the encoder.
        head_tensors: Parameters of the head, torch's layouts.
        training: What else the checkpoint records about the training, JSON-ready.
    """
    taught_by, errors = model.taught_by, getattr(model, "conformal", None)
    galaxies = {} if taught_by is None else {"galaxies": taught_by.counts()}
    return NeutralCheckpoint(
        **encoder_fields,
        task=model.task.to_config(),
        head={"dropout_prob": model.settings.dropout_prob},
        head_tensors=head_tensors,
        training={"settings": model.settings.to_config(), **galaxies, **(training or {})},
        taught_by=taught_by,
        conformal=None if errors is None else errors.to_config(),
    )


def describe_encoder(
    encoder: Any,
    arrays: dict[str, np.ndarray],
    *,
    first_conv: Any,
    classifier: Any,
    fixed_input_size: bool,
    versions: dict[str, str],
) -> dict[str, Any]:
    """All that a `NeutralCheckpoint` says of an encoder, to pass as keyword arguments.

    Args:
        encoder: Any engine's.
        arrays: Its weights by timm's names.
        first_conv: timm's name of the layer or layers that images enter by; None if timm has no such encoder.
        classifier: timm's name of the layer or layers after the features; None likewise.
        fixed_input_size: Whether the weights depend on the size of the images.
        versions: Of the packages that it was made with.
    """
    places = {"first_conv": first_conv, "classifier": classifier, "fixed_input_size": fixed_input_size}
    return {
        "architecture": encoder.architecture,
        "encoder": arrays,
        "num_features": encoder.num_features,
        "pretrained_cfg": _timm_config(encoder.preprocessing, **places),
        "model_args": dict(encoder.model_args),
        "preprocessing": encoder.preprocessing.to_config(),
        "origin": encoder.origin.to_config() if encoder.origin else None,
        "versions": versions,
    }


def _timm_config(
    made_for: Preprocessing, *, first_conv: Any, classifier: Any, fixed_input_size: bool
) -> dict[str, Any]:
    """What timm calls the pretrained configuration: the input of some weights, and where they enter.

    Args:
        made_for: How files become that input.
        first_conv: timm's name of the layer or layers that images enter by; None if timm has no such encoder.
        classifier: timm's name of the layer or layers after the features; None likewise.
        fixed_input_size: Whether the weights depend on the size of the images.
    """
    size = made_for.image_size_pix
    return {
        "input_size": [made_for.channels, size, size],
        "fixed_input_size": fixed_input_size,
        "interpolation": "bilinear",
        "crop_pct": made_for.crop_fraction,
        "crop_mode": "center",
        "mean": list(np.broadcast_to(made_for.mean, made_for.channels).tolist()),
        "std": list(np.broadcast_to(made_for.std, made_for.channels).tolist()),
        "num_classes": 0,
        "pool_size": None,
        "first_conv": first_conv,
        "classifier": classifier,
    }


def require_class(loaded: object, cls: type, folder: str | Path) -> None:
    """Raise unless a loaded model is of the class that was asked to load it, or of one above it.

    Raises:
        CheckpointError: If it is of another kind.
    """
    if not (isinstance(loaded, cls) or issubclass(cls, type(loaded))):
        msg = f"{folder} holds a {type(loaded).__name__}, not a {cls.__name__}: checkpoint.load reads any"
        raise CheckpointError(msg)


def read_whole_model(folder: str | Path) -> NeutralCheckpoint:
    """The checkpoint of a model that can predict: its folder, or the name of a bundled one.

    Raises:
        CheckpointError: If the folder is no checkpoint, is damaged, or holds an encoder without a head.
    """
    folder = find_checkpoint(folder)
    neutral = read_checkpoint(folder)
    if neutral.task is None or neutral.head is None:
        raise CheckpointError(
            f"{folder} holds an encoder without a head: it can't predict yet; "
            f"finetune it first (zoobot finetune --encoder {shlex.quote(str(folder))}; `name=` in Python)"
        )
    _check_parts(neutral, folder)
    return _with_calibration(neutral)


def _check_parts(neutral: NeutralCheckpoint, folder: str | Path) -> None:
    """Find what can't be used before any weights are made for it."""
    try:
        task = tasks.from_config(neutral.task or {})
        Preprocessing.from_config(neutral.preprocessing or {})
        if neutral.conformal is not None:
            Conformal.from_config(neutral.conformal, task)
    except (CheckpointError, ConfigError, SchemaError) as error:
        raise CheckpointError(f"{Path(folder) / CONFIG_FILE} can't be used: {error}") from error
    dropout = (neutral.head or {}).get("dropout_prob", 0.0)
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        msg = f"{Path(folder) / CONFIG_FILE}: dropout_prob must be in [0, 1), got {dropout!r}"
        raise CheckpointError(msg)


def _with_calibration(neutral: NeutralCheckpoint) -> NeutralCheckpoint:
    """A checkpoint as it is now written: earlier ones have no calibration, which is none."""
    task = tasks.from_config(neutral.task or {})
    if not task.num_factors or "calibration" in neutral.head_tensors:
        return neutral
    ones = np.ones(task.num_factors, dtype=np.float32)
    return replace(neutral, head_tensors={**neutral.head_tensors, "calibration": ones})


def model_options(neutral: NeutralCheckpoint) -> tuple[str, dict[str, Any]]:
    """The class in an engine's `finetune` that a checkpoint's model is of, and its options but the encoder.

    Example:
        >>> neutral = read_whole_model("results/rings/checkpoint")  # doctest: +SKIP
        >>> model_options(neutral)[0]  # doctest: +SKIP
        'FinetuneableZoobotClassifier'
    """
    task = tasks.from_config(neutral.task or {})
    options: dict[str, Any] = {
        "preprocessing": Preprocessing.from_config(neutral.preprocessing or {}),
        "dropout_prob": (neutral.head or {}).get("dropout_prob", 0.0),
    }
    return task.model, options | task.model_options


def encoder_for_pixels(
    encoders: ModuleType, name: str, encoder: Any, preprocessing: Preprocessing | dict[str, Any] | None
) -> Any:
    """A model's encoder, by name or from memory, made for the pixels that the model was asked to have.

    Args:
        encoders: The engine's module of that name.
        name: The encoder's name, if there is none in memory.
        encoder: An `Encoder`, or a network of the engine.
        preprocessing: How files become pixels, or a dict of changes to the encoder's own record.

    Raises:
        EncoderError: If the encoder can't be had, or not for such pixels.
    """
    changes = asdict(preprocessing) if isinstance(preprocessing, Preprocessing) else dict(preprocessing or {})
    shape = {"in_channels": changes.get("channels"), "image_size_pix": changes.get("image_size_pix")}
    if encoder is None:
        encoder = encoders.load_encoder(name, **shape)
    elif not isinstance(encoder, encoders.Encoder):
        encoder = encoders.encoder_from_module(encoder, **shape)
    _apply_changes(encoder, preprocessing, changes)
    return encoder


def _apply_changes(
    encoder: Any, preprocessing: Preprocessing | dict[str, Any] | None, changes: dict[str, Any]
) -> None:
    """Give an encoder the pixels that were asked for, and say so where they differ from its own."""
    before = encoder.preprocessing
    encoder.preprocessing = before.with_changes(**changes)
    if isinstance(preprocessing, Preprocessing):
        asked = sorted(name for name, value in changes.items() if getattr(before, name) != value)
    else:
        asked = sorted(changes)
    if asked and encoder.origin is not None:
        told = f"{', '.join(asked)} as you asked"
        why = f"{encoder.origin.pixels}; {told}" if encoder.origin.pixels else told
        encoder.origin = replace(encoder.origin, pixels=why)
