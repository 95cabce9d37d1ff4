"""Build and load encoders: Keras mirrors of timm's models, and any module of yours: images to features."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoobot.shared.architectures import (
    ELSEWHERE,
    KnownArchitecture,
    VisionTransformer,
    architecture_names,
    get_architecture,
)
from zoobot.shared.errors import CheckpointError, EncoderError
from zoobot.shared.models.adapting import adapt_preprocessing, resample_positions
from zoobot.shared.models.encoder_source import MODULE_PREFIX, Origin, prepare_encoder
from zoobot.shared.models.model_places import resolve_encoder
from zoobot.shared.preprocessing import Preprocessing
from zoobot.tensorflow.encoder import Encoder
from zoobot.tensorflow.families import Network, build_network
from zoobot.tensorflow.weights import load_module_state

__all__ = ["Encoder", "encoder_from_module", "load_encoder"]

#: Where a vision transformer keeps what depends on the size of its images.
_POSITIONS = "pos_embed"


def load_encoder(
    name: str | Path,
    *,
    in_channels: int | None = None,
    image_size_pix: int | None = None,
    drop_path_rate: float = 0.0,
) -> Encoder:
    """An encoder by name, with its weights; as `zoobot.pytorch.encoders.load_encoder`.

    Raises:
        EncoderError: If this engine has no such architecture, too; those it has are listed.

    Example:
        >>> encoder = load_encoder("convnext_atto", image_size_pix=64)
        >>> encoder.num_features, [block.name for block in encoder.blocks][-1]
        (320, 'stages.3')
    """
    source = resolve_encoder(name, architecture_names(), elsewhere=ELSEWHERE)
    if not 0 <= drop_path_rate < 1:
        raise EncoderError(f"drop_path_rate must be in [0, 1), got {drop_path_rate!r}")
    told = dict(source.model_args)
    told_rate = told.pop("drop_path_rate", 0.0)
    spec = get_architecture(source.architecture.partition(".")[0]).with_args(told)
    source, weights, preprocessing = prepare_encoder(
        source,
        first_layers=(spec.first_conv,),
        classifier=(spec.classifier,),
        in_channels=in_channels,
        image_size_pix=image_size_pix,
        fixed_image_size_pix=spec.fixed_image_size_pix,
    )
    network = build_network(
        spec,
        in_channels=preprocessing.channels,
        image_size_pix=preprocessing.image_size_pix,
        drop_path_rate=drop_path_rate or told_rate,
    )
    if weights is not None:
        _load(network, weights, source.description)
    return Encoder(
        network,
        architecture=source.architecture,
        preprocessing=preprocessing,
        model_args=source.model_args | _input_args(spec, preprocessing),
        origin=source.origin(),
    )


def encoder_from_module(
    module: keras.layers.Layer,
    *,
    in_channels: int | None = None,
    image_size_pix: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> Encoder:
    """An encoder from a model in memory: one of this engine's networks, or any Keras layer or model of yours.

    Arguments are those of `zoobot.pytorch.encoders.encoder_from_module`; the module gives (batch, features)
    for (batch, height, width, channels).

    Example:
        >>> layers = [keras.layers.Conv2D(8, 3), keras.layers.GlobalAveragePooling2D()]
        >>> encoder_from_module(keras.Sequential(layers), in_channels=1, image_size_pix=32).num_features
        8
    """
    if preprocessing is None:
        channels, size = _input_shape(module)
        described = Preprocessing(image_size_pix=image_size_pix or size or Preprocessing().image_size_pix)
        preprocessing = adapt_preprocessing(described, in_channels or channels)
    made = f"{type(module).__module__}.{type(module).__qualname__}"
    if isinstance(module, Network):
        spec = module.spec
        architecture, model_args = spec.name, _changes(spec) | _input_args(spec, preprocessing)
    else:
        architecture = MODULE_PREFIX + made
        model_args = {"in_chans": preprocessing.channels}
    return Encoder(
        module,
        architecture=architecture,
        preprocessing=preprocessing,
        model_args=model_args,
        origin=Origin(encoder=f"a module, {made}", pixels="as its module says"),
    )


def _load(network: Network, weights: dict[str, np.ndarray], description: str) -> None:
    """Put weights into a network, all of them, with position embeddings for its size of images."""
    spec = network.spec
    if isinstance(spec, VisionTransformer) and _POSITIONS in weights:
        grid = network.input_shape[1] // spec.patch_size
        weights = weights | {_POSITIONS: resample_positions(weights[_POSITIONS], grid)}
    try:
        load_module_state(network, weights, name=f"architecture {spec.name}")
    except CheckpointError as error:
        raise EncoderError(f"{description} can't be loaded: {error}") from error


def _input_args(spec: KnownArchitecture, preprocessing: Preprocessing) -> dict[str, Any]:
    """What timm must be told of the input to build the network again."""
    args = {"in_chans": preprocessing.channels}
    return args | {"img_size": preprocessing.image_size_pix} if spec.fixed_image_size_pix else args


def _changes(spec: KnownArchitecture) -> dict[str, Any]:
    """What timm must be told of a network besides its name: where it differs from the registered one."""
    registered = get_architecture(spec.name)
    pairs = {f.name: (getattr(spec, f.name), getattr(registered, f.name)) for f in fields(spec)}
    return {name: ours for name, (ours, theirs) in pairs.items() if ours != theirs}


def _input_shape(module: keras.layers.Layer) -> tuple[int, int | None]:
    """Channels and side of a model's input, where it says them."""
    shape = getattr(module, "input_shape", None) if isinstance(module, keras.Model) else None
    if not isinstance(shape, tuple) or len(shape) != 4:
        return 3, None
    return shape[3] or 3, shape[1]
