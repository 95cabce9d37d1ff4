"""What an engine needs to build an encoder, wherever its weights come from; and how that is told."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from zoobot.shared.checkpoint import CONFIG_FILE, find_encoder_file, read_config, read_encoder_file
from zoobot.shared.errors import CheckpointError, ConfigError, EncoderError
from zoobot.shared.models.adapting import (
    adapt_input_kernel,
    adapt_preprocessing,
    channels_of_weights,
    colour_for,
)
from zoobot.shared.models.weights import hash_file
from zoobot.shared.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PLAIN_MEAN,
    PLAIN_STD,
    Preprocessing,
    describe_pixels,
)

logger = logging.getLogger("zoobot")


# Where an encoder comes from: its name, the hash of its weights, and why its pixels are as they are.

#: The part of an image's side that Zoobot 2's encoders were evaluated on.
PUBLISHED_CROP_FRACTION = 1 / 1.2

_NAME = r"(?:zoobot|baseline)-encoder-[\w.-]+?"
#: As it is called on the Hub (with any revision), in its cache, or where somebody named a folder after it.
_HUB_NAME = re.compile(rf"(?:^|[:/])(mwalmsley/{_NAME})(?:@.+)?$")
_CACHED = re.compile(rf"(?:^|/)models--mwalmsley--({_NAME})/snapshots/[^/]+$")
_FOLDER = re.compile(rf"(?:^|/)({_NAME})(?:@[^/]+)?$")
_CARD = re.compile(rf"^# Model card for ({_NAME})\s*$", re.MULTILINE)
_REMOTE = re.compile(rf"^\s*url\s*=.*[/:]mwalmsley/({_NAME})(?:\.git)?/?\s*$", re.MULTILINE)

_LONGEST_LOOK = 2**16


@dataclass(frozen=True)
class Origin:
    """Where an encoder comes from.

    Args:
        encoder: Its name: `hf_hub:owner/name`, a folder, a bundled encoder, or an architecture.
        sha256: Of the file of its weights; None for random weights, and for modules in memory.
        pixels: Why its images are cropped and normalised as they are, in words.
    """

    encoder: str
    sha256: str | None = None
    pixels: str = ""

    def to_config(self) -> dict[str, Any]:
        """The record as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Any) -> Origin | None:
        """The record back from `to_config`; None where there is none."""
        if not isinstance(config, dict) or not isinstance(config.get("encoder"), str):
            return None
        told = {f.name: config[f.name] for f in fields(cls) if isinstance(config.get(f.name), str)}
        return cls(**told)


def published_name(place: str | Path) -> tuple[str, str] | None:
    """Which encoder of Zoobot 2 (its GZ Evo baselines included) something is, and what says so.

    They learned from pixels in [0, 1], neither shifted nor scaled, and from the inner part of images
    (`default_view_config` of galaxy-datasets). What timm wrote beside them when they were published is the
    normalisation of its own weights of that architecture.

    Args:
        place: A name on the Hub, with or without prefix and revision, or a folder. A folder is known by its
            name, as part of the Hub's cache, by its model card (README.md), or by where git cloned it from.

    Example:
        >>> published_name("hf_hub:mwalmsley/zoobot-encoder-convnext_nano@refs/pr/1")
        ('zoobot-encoder-convnext_nano', 'its name')
        >>> published_name("hf_hub:timm/convnext_nano.in12k") is None
        True
    """
    found = _HUB_NAME.search(str(place))
    if found:
        return found[1].partition("/")[2], "its name"
    folder = Path(place).expanduser()
    if not folder.is_dir():
        return None
    for path in (folder.absolute(), folder.resolve()):
        for pattern, what in ((_CACHED, "its place in the Hub's cache"), (_FOLDER, "the name of its folder")):
            found = pattern.search(path.as_posix())
            if found:
                return found[1], what
    for file, pattern in ((folder / "README.md", _CARD), (folder / ".git" / "config", _REMOTE)):
        found = pattern.search(_start_of(file))
        if found:
            return found[1], str(file)
    return None


def tell_pixels(*models: Any) -> None:
    """Log what models look at, and why, once for each way of looking.

    Args:
        *models: Models or encoders of an engine, or exported models.
    """
    told = [
        describe_pixels(model.preprocessing, origin.pixels if origin else "")
        for model in models
        for origin in [getattr(getattr(model, "encoder", model), "origin", None)]
    ]
    for text in dict.fromkeys(told):
        logger.info("%s", text)


def _start_of(file: Path) -> str:
    """The first part of a text; empty where there is none that can be read."""
    if not file.is_file():
        return ""
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(_LONGEST_LOOK)
    except OSError:  # it may be private; the folder's weights are what counts
        return ""


# What pretrained weights become for images of another shape: the same for every engine.


def requested_preprocessing(
    source: EncoderSource,
    *,
    in_channels: int | None,
    image_size_pix: int | None,
    fixed_image_size_pix: int | None,
) -> Preprocessing:
    """How files become input for an encoder, as its source says and the user asks.

    Args:
        source: The encoder.
        in_channels: Channels asked for; None keeps the source's.
        image_size_pix: Side of the images asked for; None keeps the source's.
        fixed_image_size_pix: The side that an untrained encoder has, where its weights depend on it; None
            where they don't.

    Raises:
        EncoderError: If what is asked for is no number of channels or pixels.
    """
    for option, value in (("in_channels", in_channels), ("image_size_pix", image_size_pix)):
        if value is not None and value < 1:
            raise EncoderError(f"{option} must be at least 1, got {value!r}")
    preprocessing = adapt_preprocessing(source.preprocessing, in_channels or source.preprocessing.channels)
    if image_size_pix is None and source.weights is None:
        image_size_pix = fixed_image_size_pix
    if image_size_pix is not None:
        preprocessing = preprocessing.with_changes(image_size_pix=image_size_pix)
    return preprocessing


def adapt_weights(
    weights: dict[str, np.ndarray],
    first_layers: Sequence[str],
    *,
    source_channels: int,
    in_channels: int,
) -> dict[str, np.ndarray]:
    """The weights with the layers that images enter by (some encoders have several) made for `in_channels`.

    Raises:
        EncoderError: If such a layer is no convolution over images of `source_channels`.
    """
    kernels = {f"{layer}.weight" for layer in first_layers} & set(weights)
    changed = {
        name: adapt_input_kernel(weights[name], source_channels=source_channels, in_channels=in_channels)
        for name in kernels
    }
    return {**weights, **changed}


#: An encoder that was a module in memory has no timm name; its checkpoint says what class it was.
MODULE_PREFIX = "module:"

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
        weights: A file, or arrays by timm's parameter names; None for random weights.
        in_channels: Channels of the images that the weights were made for.
        preprocessing: How files become input for these weights.
        model_args: What timm's builder needs besides the name, other than channels and image size.
        classifier: Names of the layers that are not part of the encoder, such as "head.fc".
        description: Where the encoder comes from, for logs and records.
        why_pixels: Why its preprocessing is as it is, in words.
        sha256: Of its weights, where they come as arrays of a known file.
    """

    architecture: str
    weights: Path | dict[str, np.ndarray] | None
    in_channels: int
    preprocessing: Preprocessing
    model_args: dict[str, Any] = field(default_factory=dict)
    classifier: tuple[str, ...] = ()
    description: str = ""
    why_pixels: str = ""
    sha256: str | None = None

    def origin(self) -> Origin:
        """Where the encoder comes from, with the hash of its weights, for records."""
        sha256 = hash_file(self.weights) if isinstance(self.weights, Path) else self.sha256
        return Origin(encoder=self.description, sha256=sha256, pixels=self.why_pixels)

    def read_weights(self) -> dict[str, np.ndarray] | None:
        """The encoder's arrays by timm's names, without a classifier; None for random weights.

        Raises:
            CheckpointError: If the file is missing or damaged.
        """
        if self.weights is None:
            return None
        arrays = read_encoder_file(self.weights) if isinstance(self.weights, Path) else self.weights
        left_out = tuple(f"{layer}." for layer in self.classifier)
        return {name: array for name, array in arrays.items() if not name.startswith(left_out)}

    def fitted_to(self, weights: dict[str, np.ndarray] | None, first_layers: Sequence[str]) -> EncoderSource:
        """The same with as many channels as the layers have that images enter by, whatever its file says.

        Args:
            weights: From `read_weights`.
            first_layers: timm's names of those layers.
        """
        channels = channels_of_weights(weights or {}, first_layers, expected=self.in_channels)
        if channels == self.in_channels:
            return self
        logger.info(
            "encoder %s: its weights take images of %d channel(s), not of %d as its %s says",
            *(self.description, channels, self.in_channels, CONFIG_FILE),
        )
        preprocessing = adapt_preprocessing(self.preprocessing, channels)
        return replace(self, in_channels=channels, preprocessing=preprocessing)


def prepare_encoder(
    source: EncoderSource,
    *,
    first_layers: Sequence[str],
    classifier: Sequence[str],
    in_channels: int | None,
    image_size_pix: int | None,
    fixed_image_size_pix: int | None,
) -> tuple[EncoderSource, dict[str, np.ndarray] | None, Preprocessing]:
    """A source with its weights and pixels made for the images that are asked for.

    Args:
        source: From `resolve_encoder`.
        first_layers: timm's names of the layers that images enter by.
        classifier: timm's names of the layers after the features, where the source does not say.
        in_channels: Channels of the images; None keeps those of the weights.
        image_size_pix: Side of the images; None keeps that of the weights.
        fixed_image_size_pix: The side that the architecture is made for, if it takes no other unasked.

    Returns:
        The source as its weights are, the weights (None for random ones), and how files become pixels.
    """
    source = replace(source, classifier=source.classifier or tuple(classifier))
    weights = source.read_weights()
    source = source.fitted_to(weights, first_layers)
    pixels = requested_preprocessing(
        source,
        in_channels=in_channels,
        image_size_pix=image_size_pix,
        fixed_image_size_pix=fixed_image_size_pix,
    )
    if weights is not None:
        channels = {"source_channels": source.in_channels, "in_channels": pixels.channels}
        weights = adapt_weights(weights, first_layers, **channels)
    return source, weights, pixels


def source_from_folder(folder: str | Path, description: str = "") -> EncoderSource:
    """The encoder of a checkpoint folder, by Zoobot or in timm's Hub layout.

    Args:
        folder: Holds config.json, and model.safetensors or pytorch_model.bin.
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
        raise EncoderError(
            f"the encoder in {folder} was the module {made}, not a timm architecture, so no name can rebuild "
            f"it; make the module and pass it as `encoder`"
        )
    timm_config = config["pretrained_cfg"] or {}
    model_args = config.get("model_args") or {}
    channels, size = _input_size(timm_config, model_args, folder)
    preprocessing = _preprocessing(config, timm_config, channels, size, folder)
    source = EncoderSource(
        architecture=architecture,
        weights=find_encoder_file(folder),
        in_channels=channels,
        preprocessing=preprocessing,
        model_args=_kept_args(model_args),
        classifier=_names(timm_config.get("classifier"), folder),
        description=description or str(folder.absolute()),
    )
    return _with_known_pixels(source, config, folder, from_hub=bool(description))


def _with_known_pixels(
    source: EncoderSource, config: dict[str, Any], folder: Path, *, from_hub: bool
) -> EncoderSource:
    """The source with the pixels that its encoder learned from, as far as anything tells; and what does."""
    if (config.get("zoobot") or {}).get("preprocessing"):
        parent = Origin.from_config(config["zoobot"].get("origin"))
        why = f"as {source.description} was trained"
        return replace(source, why_pixels=f"{why} ({parent.pixels})" if parent and parent.pixels else why)
    known = published_name(source.description) or published_name(folder)
    if known is not None:
        changed, why = as_published(source.preprocessing, *known)
        logger.info("encoder %s: %s", source.description, why)
        return replace(source, preprocessing=changed, why_pixels=why)
    said = "mean" in (config["pretrained_cfg"] or {})
    why = (
        f"normalised as {folder / CONFIG_FILE} says" if said else "ImageNet's normalisation, for want of any"
    )
    if not from_hub:
        why = f"{why}; nothing tells where this folder comes from"
        logger.warning(
            "encoder %s: nothing tells where this folder comes from. It gets whole images, %s. If it is one "
            "of Zoobot's published encoders, or learned from pixels in [0, 1], give normalisation "
            "`plain` and the crop it learned from (--normalisation plain --crop-fraction %.4f); else any "
            "--mean and --std",
            *(source.description, why.partition(";")[0], PUBLISHED_CROP_FRACTION),
        )
    return replace(source, why_pixels=why)


def as_published(preprocessing: Preprocessing, name: str, told_by: str) -> tuple[Preprocessing, str]:
    """The pixels that a published encoder of Zoobot 2 learned from, and why these, in words.

    Args:
        preprocessing: What its config.json says.
        name: What `published_name` found.
        told_by: Likewise, what says so.
    """
    changed = preprocessing.with_changes(
        mean=PLAIN_MEAN, std=PLAIN_STD, crop_fraction=PUBLISHED_CROP_FRACTION
    )
    why = (
        f"{name} (known by {told_by}) learned from pixels in [0, 1] and was evaluated on the central "
        f"{PUBLISHED_CROP_FRACTION:.0%}".replace("%", " %")
    )
    return changed, why


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
        raise CheckpointError(f"{folder / CONFIG_FILE}: the preprocessing can't be used: {error}") from error


def _names(classifier: Any, folder: Path) -> tuple[str, ...]:
    if not classifier:
        return ()
    names = (classifier,) if isinstance(classifier, str) else classifier
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        msg = f"{folder / CONFIG_FILE}: classifier must name a layer, or several, got {classifier!r}"
        raise CheckpointError(msg)
    return tuple(names)
