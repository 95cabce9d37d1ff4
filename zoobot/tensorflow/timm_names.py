"""Find every variable of a Keras module under the name, and in the layout, that it has in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np

from zoobot.shared.errors import EncoderError
from zoobot.tensorflow.families import Network
from zoobot.tensorflow.families.layers import BareParameter
from zoobot.tensorflow.internals import inner_layers

#: Keras's word for a weight → torch's.
_WEIGHT_NAMES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}

#: Class of layer → Keras's axes of its kernel, in torch's order.
_KERNEL_AXES: dict[type[keras.layers.Layer], tuple[int, ...]] = {
    keras.layers.Conv2D: (3, 2, 0, 1),
    keras.layers.DepthwiseConv2D: (2, 3, 0, 1),
    keras.layers.Dense: (1, 0),
}


class NamedVariable(NamedTuple):
    """A Keras variable, and how its axes lie in torch."""

    variable: keras.Variable
    axes: tuple[int, ...] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape in torch."""
        shape = tuple(self.variable.shape)
        return shape if self.axes is None else tuple(shape[axis] for axis in self.axes)

    def to_torch(self) -> np.ndarray:
        """A copy of its value in torch's layout; bfloat16 becomes float32."""
        value = self.variable.value.numpy()  # a copy
        if self.variable.dtype == "bfloat16":
            value = value.astype(np.float32)
        return np.asarray(value if self.axes is None else value.transpose(self.axes), order="C")

    def assign_torch(self, array: np.ndarray) -> None:
        """Take a value that lies as in torch, in the variable's own type."""
        self.variable.assign(array if self.axes is None else array.transpose(np.argsort(self.axes)))


class NamedLayer(NamedTuple):
    """A layer, its path in torch's words, and the variables that are its own, not its inner layers'."""

    path: str
    layer: keras.layers.Layer
    variables: dict[str, NamedVariable]


def named_variables(module: keras.layers.Layer) -> dict[str, NamedVariable]:
    """All variables of a module by their names in PyTorch, parameters and buffers alike.

    In a network built here the layers' names are timm's paths. In any other module they are the attributes,
    or the positions in a list or model, that hold the layers, as in PyTorch: `self.linear = Dense(…)` has
    "linear.weight" and "linear.bias".

    Args:
        module: A module that was built: its variables exist.

    Raises:
        EncoderError: If two variables have the same name.
    """
    return {name: variable for layer in named_layers(module) for name, variable in layer.variables.items()}


def named_layers(module: keras.layers.Layer) -> list[NamedLayer]:
    """The module and all layers inside it, each once, by their paths.

    Raises:
        EncoderError: If two variables have the same name.
    """
    return list(_walk("", module, set()))


def _walk(path: str, layer: keras.layers.Layer, seen: set[int]) -> Iterator[NamedLayer]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    children = _children(layer)
    inner = {id(weight) for _, child in children for weight in child.weights}
    own = [weight for weight in layer.weights if id(weight) not in inner]
    named = dict(_named(path, layer, weight) for weight in own)
    if len(named) < len(own):
        msg = f"variables of the layer {layer.name} share a name: {[v.name for v in own]}; give each its own"
        raise EncoderError(msg)
    yield NamedLayer(path, layer, named)
    for name, child in children:
        yield from _walk(_join(path, name), child, seen)


def _named(path: str, layer: keras.layers.Layer, weight: keras.Variable) -> tuple[str, NamedVariable]:
    if isinstance(layer, BareParameter):
        return path, NamedVariable(weight, None)
    axes = None
    if weight.name == "kernel":
        axes = next((axes for kind, axes in _KERNEL_AXES.items() if isinstance(layer, kind)), None)
    return _join(path, _WEIGHT_NAMES.get(weight.name, weight.name)), NamedVariable(weight, axes)


def _children(layer: keras.layers.Layer) -> list[tuple[str, keras.layers.Layer]]:
    if isinstance(layer, Network):
        return [(child.name, child) for child in layer.layers]
    held = _held_by_attribute(layer)
    children = [child for child in inner_layers(layer) if not isinstance(child, keras.layers.InputLayer)]
    return [(held.get(id(child), str(i)), child) for i, child in enumerate(children)]


def _held_by_attribute(layer: keras.layers.Layer) -> dict[int, str]:
    """Which attribute, or place in a list, holds which inner layer."""
    held: dict[int, str] = {}
    for name, value in vars(layer).items():
        if name.startswith("_"):
            continue
        members = [(name, value)]
        if isinstance(value, (list, tuple)):
            members = [(f"{name}.{i}", member) for i, member in enumerate(value)]
        held.update({id(m): path for path, m in members if isinstance(m, keras.layers.Layer)})
    return held


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
