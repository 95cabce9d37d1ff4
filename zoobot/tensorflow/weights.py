"""Move Keras weights to NumPy arrays under timm's names and in torch's layouts, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from zoobot.shared.models.neutral import describe_encoder
from zoobot.shared.models.weights import check_weights_fit
from zoobot.tensorflow.families import Network
from zoobot.tensorflow.timm_names import named_variables

if TYPE_CHECKING:
    from zoobot.tensorflow.encoder import Encoder


def encoder_fields(encoder: Encoder) -> dict[str, Any]:
    """All that a `NeutralCheckpoint` says of an encoder, to pass as keyword arguments.

    Example:
        >>> from zoobot.shared.checkpoint import NeutralCheckpoint
        >>> from zoobot.tensorflow.encoders import load_encoder
        >>> fields = encoder_fields(load_encoder("convnext_atto", image_size_pix=64))
        >>> NeutralCheckpoint(**fields).num_features
        320
    """
    spec = encoder.model.spec if isinstance(encoder.model, Network) else None
    return describe_encoder(
        encoder,
        encoder_state(encoder),
        first_conv=spec.first_conv if spec else None,
        classifier=spec.classifier if spec else None,
        fixed_input_size=bool(spec and spec.fixed_image_size_pix),
        versions={"tensorflow": tf.__version__, "keras": keras.__version__},
    )


def encoder_state(encoder: Encoder) -> dict[str, np.ndarray]:
    """The encoder's parameters and norm statistics under timm's names."""
    return module_state(encoder.model)


def load_encoder_state(encoder: Encoder, arrays: Mapping[str, np.ndarray]) -> None:
    """Put arrays back into an encoder of the same architecture, all of them or none."""
    load_module_state(encoder.model, arrays, name=f"encoder {encoder.architecture}")


def module_state(module: keras.layers.Layer) -> dict[str, np.ndarray]:
    """Weights of any built module as arrays, copied, named and laid out as its PyTorch twin's would be."""
    return {name: variable.to_torch() for name, variable in named_variables(module).items()}


def load_module_state(module: keras.layers.Layer, arrays: Mapping[str, np.ndarray], *, name: str) -> None:
    """Put arrays back into a module, all of them or none, by the names of `module_state`."""
    variables = named_variables(module)
    check_weights_fit(arrays, {key: variable.shape for key, variable in variables.items()}, name=name)
    for key, variable in variables.items():
        variable.assign_torch(np.asarray(arrays[key]))
