"""The shapes of tensors as far as they are known while a graph is made."""

from __future__ import annotations

from typing import Any

__all__ = ["known_shapes"]


def known_shapes(*tensors: Any) -> list[tuple[Any, ...]]:
    """The shape of each tensor; a size that only running will tell is taken to be that of the others.

    Example:
        >>> import tensorflow as tf
        >>> known_shapes(tf.zeros((2, 3)), tf.zeros(2))
        [(2, 3), (2,)]
    """
    shapes = [tuple(tensor.shape) for tensor in tensors]
    return [tuple(_size(shape, axis, shapes) for axis in range(len(shape))) for shape in shapes]


def _size(shape: tuple[Any, ...], axis: int, shapes: list[tuple[Any, ...]]) -> Any:
    if shape[axis] is not None:
        return shape[axis]
    return next((other[axis] for other in shapes if axis < len(other) and other[axis] is not None), None)
