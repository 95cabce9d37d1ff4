"""Build and load encoders: timm models, and any module of yours, that turn images into features."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import timm
import torch
from torch import nn

from zoobot.pytorch.encoder import WRONG_USE, Encoder
from zoobot.pytorch.internals import built_with
from zoobot.shared.errors import EncoderError
from zoobot.shared.models.adapting import adapt_preprocessing
from zoobot.shared.models.encoder_source import (
    MODULE_PREFIX,
    EncoderSource,
    Origin,
    as_published,
    prepare_encoder,
    published_name,
)
from zoobot.shared.models.model_places import resolve_encoder
from zoobot.shared.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["Encoder", "encoder_from_module", "load_encoder"]


def load_encoder(
    name: str | Path,
    *,
    in_channels: int | None = None,
    image_size_pix: int | None = None,
    drop_path_rate: float = 0.0,
) -> Encoder:
    """An encoder by name, with its weights.

    Args:
        name: `hf_hub:owner/name`, a checkpoint folder, a bundled encoder, or an architecture
            (random weights, and a warning says so).
        in_channels: Channels of the images; None keeps those the weights were made for. The first layer is
            adapted: summed for 1 channel, repeated for more.
        image_size_pix: Side of the images; None keeps that of the weights. Position embeddings are resampled.
        drop_path_rate: Chance, in [0, 1), that training skips the last residual branch (stochastic depth).

    Raises:
        EncoderError: If the name is unknown, a download failed, or the weights don't fit what is asked.
        CheckpointError: If a folder is incomplete or damaged.
        MissingPackageError: If a package that carries or downloads the weights is missing.

    Example:
        >>> encoder = load_encoder("convnext_atto", image_size_pix=64)
        >>> encoder.num_features, [block.name for block in encoder.blocks][-1]
        (320, 'stages.3')
    """
    source = resolve_encoder(name, timm.list_models())
    registered = timm.get_pretrained_cfg(source.architecture)
    if registered is None:
        raise EncoderError(
            f"the installed timm {timm.__version__} has no architecture {source.architecture!r}; update timm"
        )
    source, weights, preprocessing = prepare_encoder(
        source,
        first_layers=_layers(registered.first_conv),
        classifier=_layers(registered.classifier),
        in_channels=in_channels,
        image_size_pix=image_size_pix,
        fixed_image_size_pix=registered.input_size[-1] if registered.fixed_input_size else None,
    )
    model_args = {**source.model_args, "in_chans": preprocessing.channels}
    if registered.fixed_input_size:
        model_args["img_size"] = preprocessing.image_size_pix
    model = _build(source, weights, model_args, drop_path_rate)
    return Encoder(
        model,
        architecture=source.architecture,
        preprocessing=preprocessing,
        model_args=model_args,
        origin=source.origin(),
    )


def encoder_from_module(
    module: nn.Module,
    *,
    in_channels: int | None = None,
    image_size_pix: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> Encoder:
    """An encoder from a module in memory: a timm model, or your own.

    A checkpoint of a model with your own module holds its weights, but only you can make the module again:
    pass it to `load`.

    Args:
        module: Gives (batch, features) for (batch, channels, height, width).
        in_channels: Channels of its images; None finds them in the first convolution.
        image_size_pix: Side of its images; None is timm's, or the default.
        preprocessing: The whole record, in place of the two above.

    Raises:
        EncoderError: If it has a classifier, or gives something else than features.

    Example:
        >>> module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> encoder_from_module(module, image_size_pix=32).num_features
        8
    """
    num_classes = getattr(module, "num_classes", 0) if hasattr(module, "pretrained_cfg") else 0
    if num_classes:
        raise EncoderError(
            f"the encoder still has its classifier of {num_classes} classes; "
            "make it with num_classes=0, or call its reset_classifier(0)"
        )
    timm_config = getattr(module, "pretrained_cfg", None) or {}
    model_args = _rebuilding_args(module)
    hub_name = str(timm_config.get("hf_hub_id") or "")
    why = "as its module says"
    if preprocessing is None:
        channels = in_channels or _input_channels(module)
        size = image_size_pix or _timm_image_size(model_args, timm_config)
        described = Preprocessing(image_size_pix=size or Preprocessing().image_size_pix)
        described = described.with_changes(**{k: timm_config[k] for k in ("mean", "std") if k in timm_config})
        known = published_name(hub_name)
        if known is not None:
            described, why = as_published(described, *known)
        preprocessing = adapt_preprocessing(described, channels)
    architecture = timm_config.get("architecture") or MODULE_PREFIX + _class_name(module)
    model_args["in_chans"] = preprocessing.channels
    made = f"hf_hub:{hub_name}" if hub_name else f"a module, {_class_name(module)}"
    return Encoder(
        module,
        architecture=architecture,
        preprocessing=preprocessing,
        model_args=model_args,
        origin=Origin(encoder=made, pixels=why),
    )


def _layers(names: Any) -> tuple[str, ...]:
    """Timm gives one name, several, or none."""
    return (names,) if isinstance(names, str) else tuple(names or ())


def _build(
    source: EncoderSource,
    weights: dict[str, np.ndarray] | None,
    model_args: dict[str, Any],
    drop_path_rate: float,
) -> Any:
    """Timm's model with these weights, strictly; timm itself resamples position embeddings."""
    options: dict[str, Any] = {"num_classes": 0, **model_args}
    if drop_path_rate:
        options["drop_path_rate"] = drop_path_rate
    if weights is not None:
        size = source.preprocessing.image_size_pix
        options["pretrained"] = True
        options["pretrained_cfg_overlay"] = {
            "state_dict": {name: torch.from_numpy(np.array(array)) for name, array in weights.items()},
            "input_size": (model_args["in_chans"], size, size),
            "num_classes": 0,
            "first_conv": None,  # already adapted
            "classifier": None,
            "custom_load": False,
        }
    try:
        model: Any = timm.create_model(source.architecture, **options)
    except WRONG_USE as error:
        asked = ", ".join(f"{k}={v!r}" for k, v in options.items() if k != "pretrained_cfg_overlay")
        reason = " ".join(str(error).split())[:1500]
        msg = f"timm could not build {source.architecture} ({source.description}) with {asked}: {reason}"
        raise EncoderError(msg) from error
    model.pretrained_cfg.pop("state_dict", None)  # or every copy of the model would carry its first weights
    if weights is not None:
        _check_loaded(model, weights, source)
    return model


def _check_loaded(model: nn.Module, weights: dict[str, np.ndarray], source: EncoderSource) -> None:
    """Some timm builders forgive missing weights; a half random encoder is worse than none."""
    state = model.state_dict()
    missing = sorted(set(state) - set(weights))
    # where most names differ, they were another project's, and timm mapped them
    if missing and len(missing) < len(state) / 2:
        lacking = f"{missing[:10]} ({len(missing)} in all)"
        raise EncoderError(f"{source.description} lacks weights of {source.architecture}: {lacking}")


def _input_channels(module: nn.Module) -> int:
    convolutions = (m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d))
    return getattr(module, "in_chans", None) or next(convolutions, 3)


def _class_name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _rebuilding_args(module: nn.Module) -> dict[str, Any]:
    """What timm was told to build this module with; drop rates matter in training only."""
    return {
        k: v for k, v in built_with(module).items() if k != "num_classes" and "drop" not in k and _is_json(v)
    }


def _timm_image_size(model_args: dict[str, Any], timm_config: dict[str, Any]) -> int | None:
    size = model_args.get("img_size") or timm_config.get("input_size", (None,))[-1]
    return size if isinstance(size, int) or size is None else max(size)


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True
