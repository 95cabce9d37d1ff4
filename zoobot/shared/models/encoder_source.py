"""What an engine needs to build an encoder, wherever its weights come from."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared.checkpoint import CONFIG_FILE, ENCODER_FILE, read_config
from zoobot.shared.errors import CheckpointError, ConfigError, EncoderError
from zoobot.shared.files.tensors import read_tensors
from zoobot.shared.models.input_channels import adapt_preprocessing, colour_for
from zoobot.shared.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "MODULE_PREFIX",
    "PLAIN_MEAN",
    "PLAIN_STD",
    "EncoderSource",
    "learned_from_plain_pixels",
    "source_from_folder",
]

logger = logging.getLogger("zoobot")

#: Encoders published by Zoobot 2, as they are called on the Hub, in its cache, or in a folder of that name.
_OF_ZOOBOT_2 = re.compile(r"(^|/|mwalmsley--)zoobot-encoder-[\w.-]+(@[^/]+|/snapshots/\w+)?$")

#: An encoder that was a module in memory has no timm name; its checkpoint says what class it was.
MODULE_PREFIX = "module:"

#: The normalisation of pixels in [0, 1] that changes nothing.
PLAIN_MEAN, PLAIN_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

_TIMM_DEFAULT_SIZE = (3, 224, 224)
# What timm's builder takes for itself: where else to look for weights. A stranger's file has no say in that.
_OF_LOADING = (
    *("model_name", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict"),
    *("checkpoint_path", "cache_dir", "scriptable", "exportable", "no_jit"),
)
_SET_BY_ENGINE = ("in_chans", "img_size", "num_classes")


@dataclass(frozen=True, kw_only=True)
class EncoderSource:
    """A pretrained encoder, or the wish for an untrained one, before any engine has built it.

    Args:
        architecture: timm's name of the architecture.
        weights: A safetensors file, or arrays by timm's parameter names; None for random weights.
        in_channels: Channels of the images that the weights were made for.
        preprocessing: How files become input for these weights.
        model_args: What timm's builder needs besides the name, other than channels and image size.
        classifier: Names of the layers that are not part of the encoder, such as "head.fc".
        description: Where the encoder comes from, for logs and records.
    """

    architecture: str
    weights: Path | dict[str, np.ndarray] | None
    in_channels: int
    preprocessing: Preprocessing
    model_args: dict[str, Any] = field(default_factory=dict)
    classifier: tuple[str, ...] = ()
    description: str = ""

    def read_weights(self) -> dict[str, np.ndarray] | None:
        """The encoder's arrays by timm's names, without a classifier; None for random weights.

        Raises:
            CheckpointError: If the file is missing or damaged.
        """
        if self.weights is None:
            return None
        arrays = read_tensors(self.weights) if isinstance(self.weights, Path) else self.weights
        left_out = tuple(f"{layer}." for layer in self.classifier)
        return {name: array for name, array in arrays.items() if not name.startswith(left_out)}


def source_from_folder(folder: str | Path, description: str = "") -> EncoderSource:
    """The encoder of a checkpoint folder, by Zoobot or in timm's Hub layout.

    Args:
        folder: Holds config.json and model.safetensors.
        description: Where the folder comes from; by default its path.

    Raises:
        CheckpointError: If the folder is incomplete or damaged.
        EncoderError: If the encoder was a module in memory, which no name can rebuild.

    Example:
        >>> source_from_folder("results/rings/checkpoint").architecture  # doctest: +SKIP
        'convnext_nano'
    """
    folder = Path(folder).expanduser()
    config = read_config(folder)
    architecture = config["architecture"]
    if architecture.startswith(MODULE_PREFIX):
        made = architecture.removeprefix(MODULE_PREFIX)
        msg = (
            f"the encoder in {folder} was the module {made}, not a timm architecture, so no name can rebuild "
            f"it; make the module and pass it as `encoder`"
        )
        raise EncoderError(msg)
    weights = folder / ENCODER_FILE
    if not weights.is_file():
        read_tensors(weights)  # raises, and says what is there instead
    timm_config = config["pretrained_cfg"] or {}
    model_args = config.get("model_args") or {}
    if learned_from_plain_pixels(description or str(folder)) and not config.get("zoobot"):
        logger.info("encoder %s: pixels stay in [0, 1], as it learned from them", description or folder)
        timm_config = {**timm_config, "mean": PLAIN_MEAN, "std": PLAIN_STD}
    channels, size = _input_size(timm_config, model_args, folder)
    return EncoderSource(
        architecture=architecture,
        weights=weights,
        in_channels=channels,
        preprocessing=_preprocessing(config, timm_config, channels, size, folder),
        model_args=_kept_args(model_args),
        classifier=_names(timm_config.get("classifier"), folder),
        description=description or str(folder),
    )


def learned_from_plain_pixels(name: str) -> bool:
    """Whether an encoder is one of those of Zoobot 2, whose config.json says another normalisation.

    They learned from pixels in [0, 1], neither shifted nor scaled (`normalize=False` in the views of
    galaxy-datasets, with which Zoobot 2 also finetunes them). What timm wrote beside them when they were
    published is the mean and scatter of its own weights of that architecture.

    Args:
        name: Of the model on the Hub, with or without revision, or of a folder.

    Example:
        >>> learned_from_plain_pixels("hf_hub:mwalmsley/zoobot-encoder-convnext_nano")
        True
        >>> learned_from_plain_pixels("hf_hub:timm/convnext_nano.in12k")
        False
    """
    return _OF_ZOOBOT_2.search(name) is not None


def _input_size(timm_config: dict[str, Any], model_args: dict[str, Any], folder: Path) -> tuple[int, int]:
    """Channels and side of the images the weights were made for; model_args is timm's later word."""
    try:
        channels, height, width = timm_config.get("input_size") or _TIMM_DEFAULT_SIZE
        height, width = _pair(model_args.get("img_size") or (height, width))
        channels = model_args.get("in_chans") or channels
        channels, side = int(channels), max(int(height), int(width))
        Preprocessing(image_size_pix=side, channels=channels, mean=(0.5,), std=(0.5,))  # is it possible?
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"{folder / CONFIG_FILE}: input_size must be (channels, height, width): {error}"
        raise CheckpointError(msg) from error
    return channels, side


def _kept_args(model_args: dict[str, Any]) -> dict[str, Any]:
    """An encoder pools, whatever its file says; the engine sets channels and size."""
    pooled = {k: v for k, v in model_args.items() if k != "global_pool" or v}
    return {k: v for k, v in pooled.items() if k not in _SET_BY_ENGINE + _OF_LOADING}


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    height, width = size
    return height, width


def _preprocessing(
    config: dict[str, Any], timm_config: dict[str, Any], channels: int, size: int, folder: Path
) -> Preprocessing:
    ours = (config.get("zoobot") or {}).get("preprocessing")
    try:
        if ours is not None:
            return Preprocessing.from_config(ours)
        mean, std = timm_config.get("mean") or IMAGENET_MEAN, timm_config.get("std") or IMAGENET_STD
        planes = len(mean)  # timm may leave three ImageNet values beside another number of channels
        described = Preprocessing(
            image_size_pix=size, channels=planes, colour=colour_for(planes), mean=mean, std=std
        )
        return adapt_preprocessing(described, channels)
    except (ConfigError, TypeError) as error:
        msg = f"{folder / CONFIG_FILE}: the preprocessing can't be used: {error}"
        raise CheckpointError(msg) from error


def _names(classifier: Any, folder: Path) -> tuple[str, ...]:
    if not classifier:
        return ()
    names = (classifier,) if isinstance(classifier, str) else classifier
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        msg = f"{folder / CONFIG_FILE}: classifier must name a layer, or several, got {classifier!r}"
        raise CheckpointError(msg)
    return tuple(names)
