"""What this engine needs of Keras that Keras does not promise to keep, each thing behind one function.

When an update of Keras breaks one, `tests/engines/test_private_apis.py` says what the function must give.
"""

from __future__ import annotations

from typing import Any

import keras


def all_layers(layer: keras.layers.Layer) -> list[Any]:
    """A layer and all layers inside it, at any depth, each once."""
    return layer._flatten_layers()


def inner_layers(layer: keras.layers.Layer) -> list[Any]:
    """The layers that a layer itself holds, in the order in which it came to hold them."""
    return layer.layers if isinstance(layer, keras.Model) else layer._flatten_layers(False, False)


def maker_of(tensor: keras.KerasTensor) -> Any:
    """The operation of a graph of layers that gives this tensor."""
    return tensor._keras_history.operation


def begin_anew(variable: keras.Variable, value: Any) -> None:
    """Have a variable hold another TensorFlow variable: the one given, or one that is made here of a value.

    What held the older one (a compiled graph, an optimiser) has to be made again.
    """
    variable._initialize(value)


def place_of(variable: Any, optimizer: keras.optimizers.Optimizer) -> int:
    """Which of an optimiser's variables a TensorFlow variable is, or the copy of one on some device."""
    index: int = optimizer._get_variable_index(variable)
    return index
