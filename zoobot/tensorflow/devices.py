"""Lightning's words for devices and precision, which both engines take, in TensorFlow's terms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import tensorflow as tf

from zoobot.shared.errors import ConfigError
from zoobot.tensorflow.internals import all_layers
from zoobot.tensorflow.keras_settings import made_in

if TYPE_CHECKING:
    from zoobot.tensorflow.galaxy_model import GalaxyModel

__all__ = ["choose_device", "choose_precision", "in_precision"]

#: Lightning's name of a precision → Keras's.
_POLICIES = {
    "32-true": "float32",
    "32": "float32",
    "bf16-mixed": "mixed_bfloat16",
    "16-mixed": "mixed_float16",
}

#: The first NVIDIA generation that computes in bfloat16.
_BFLOAT16_SINCE = (8, 0)


def choose_device(accelerator: str) -> str | None:
    """TensorFlow's name of the one device to train on; None leaves the choice to TensorFlow.

    Raises:
        ConfigError: If there is no such device.
    """
    if accelerator not in ("auto", "cpu", "gpu"):
        msg = f"accelerator must be 'auto', 'cpu' or 'gpu' in the TensorFlow engine, got {accelerator!r}"
        raise ConfigError(msg)
    if accelerator == "gpu" and not tf.config.list_physical_devices("GPU"):
        msg = "accelerator='gpu' was asked for, but TensorFlow sees no GPU; use 'auto' or 'cpu'"
        raise ConfigError(msg)
    return "/CPU:0" if accelerator == "cpu" else None


def choose_precision(precision: str, accelerator: str, *, learns: bool = True) -> str:
    """Keras's name of the precision: "auto" is mixed where a GPU is used, and float32 elsewhere.

    Learning needs bfloat16's range; predictions get float16's three more bits.

    Raises:
        ConfigError: If the precision is unknown.
    """
    if precision in _POLICIES:
        return _POLICIES[precision]
    if precision != "auto":
        known = ["auto", *_POLICIES]
        msg = f"precision must be one of {known} in the TensorFlow engine, got {precision!r}"
        raise ConfigError(msg)
    gpus = tf.config.list_physical_devices("GPU")
    if accelerator == "cpu" or not gpus:
        return made_in()
    if not learns:
        return "mixed_float16"
    generation = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
    return "mixed_bfloat16" if generation >= _BFLOAT16_SINCE else "mixed_float16"


@contextmanager
def in_precision(model: GalaxyModel, policy: str) -> Iterator[None]:
    """Compute the encoder of a model in another precision for a while; its weights stay as they are."""
    layers = all_layers(model.encoder)
    before = [layer.dtype_policy for layer in layers]
    if policy == made_in():
        yield
        return
    for layer in layers:
        layer.dtype_policy = policy
    model.forget_graphs()
    try:
        yield
    finally:
        for layer, old in zip(layers, before, strict=True):
            layer.dtype_policy = old
        model.forget_graphs()
