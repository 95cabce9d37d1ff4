"""What this engine makes in Keras is in one type and with channels last, whatever a user's settings are.

A `keras.json`, or `keras.config.set_floatx`, `set_image_data_format` and `set_dtype_policy`, change what all
layers, metrics and optimisers take where nothing is stated. Here it is stated, in one place: such settings
hold for what users make themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras

_PRECISION = ContextVar("precision", default="float32")


def made_in() -> str:
    """The type of the weights that are made now, and of what is computed with them."""
    return _PRECISION.get()


@contextmanager
def making_in(precision: str) -> Iterator[None]:
    """Make models in another type for a while, such as "float64" for digits that nobody can argue with."""
    token = _PRECISION.set(precision)
    try:
        yield
    finally:
        _PRECISION.reset(token)


@contextmanager
def stated() -> Iterator[None]:
    """Have Keras make what is made inside as this engine means it; afterwards the user's settings are back.

    Example:
        >>> with stated():
        ...     layer = keras.layers.Conv2D(8, 3)
        >>> layer.data_format, layer.dtype_policy.name
        ('channels_last', 'float32')
    """
    config = keras.config
    before = config.floatx(), config.image_data_format(), config.dtype_policy()
    config.set_floatx(made_in())
    config.set_image_data_format("channels_last")
    config.set_dtype_policy(made_in())
    try:
        yield
    finally:
        config.set_floatx(before[0])
        config.set_image_data_format(before[1])
        config.set_dtype_policy(before[2])
