"""What pretrained weights become for images of another shape: the same for every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.shared.errors import EncoderError
from zoobot.shared.models.input_channels import adapt_input_kernel, adapt_preprocessing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoobot.shared.models.encoder_source import EncoderSource
    from zoobot.shared.preprocessing import Preprocessing

__all__ = ["adapt_weights", "requested_preprocessing", "timm_config"]


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
            msg = f"{option} must be at least 1, got {value!r}"
            raise EncoderError(msg)
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


def timm_config(
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
