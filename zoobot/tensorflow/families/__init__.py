"""Keras builds of the families of encoders; the layers' names are timm's module paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from zoobot.shared.architectures import (
    Architecture,
    ConvNeXt,
    EfficientNet,
    KnownArchitecture,
    ResNet,
    VisionTransformer,
)
from zoobot.tensorflow.families.convnext import convnext_features
from zoobot.tensorflow.families.efficientnet import efficientnet_features
from zoobot.tensorflow.families.keras_settings import made_in, stated
from zoobot.tensorflow.families.resnet import resnet_features
from zoobot.tensorflow.families.vit import vit_features

__all__ = ["Network", "build_network"]

_FEATURES: dict[type[Architecture], Callable[[Any, Any, float], Any]] = {
    ConvNeXt: convnext_features,
    ResNet: resnet_features,
    EfficientNet: efficientnet_features,
    VisionTransformer: vit_features,
}


class Network(keras.Model):
    """A functional Keras model that knows which of timm's architectures it mirrors."""

    spec: KnownArchitecture


@stated()
def build_network(
    spec: KnownArchitecture,
    *,
    in_channels: int = 3,
    image_size_pix: int | None = None,
    drop_path_rate: float = 0.0,
) -> Network:
    """The untrained network from normalised images, (batch, height, width, channels), to features.

    Its weights are drawn from the distributions that timm draws them from, by Keras's global seed.

    Args:
        spec: What to build.
        in_channels: Channels of the images.
        image_size_pix: Side of the images; matters only to architectures of one fixed size.
        drop_path_rate: Chance, in [0, 1), that training skips the last residual branch (stochastic depth).

    Raises:
        EncoderError: If the images are too small for the architecture.

    Example:
        >>> from zoobot.shared.architectures import get_architecture
        >>> build_network(get_architecture("resnet18")).output_shape
        (None, 512)
    """
    side = None
    if image_size_pix is not None:
        spec.check_image_size(image_size_pix)
    if spec.fixed_image_size_pix is not None:
        side = image_size_pix or spec.fixed_image_size_pix
    # Keras would round images to float32
    images = keras.Input((side, side, in_channels), dtype=made_in(), name="images")
    features = _FEATURES[type(spec)](images, spec, drop_path_rate)
    network = Network(inputs=images, outputs=features, name=spec.name)
    network.spec = spec
    return network
