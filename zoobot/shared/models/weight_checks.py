"""Whether arrays are the weights of a module, asked before any of them is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoobot.shared.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

__all__ = ["check_weights_fit"]


def check_weights_fit(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], *, name: str
) -> None:
    """Raise unless there is an array of the right shape for every parameter and buffer, and no other.

    Args:
        arrays: By parameter name.
        shapes: Of all that the module has, by the same names.
        name: What the module is, for the message.

    Raises:
        CheckpointError: Naming what is missing, unknown, or of another shape.
    """
    missing = sorted(set(shapes) - set(arrays))
    unknown = sorted(set(arrays) - set(shapes))
    misshapen = [
        f"{key}: expected {shape}, got {arrays[key].shape}"
        for key, shape in shapes.items()
        if key in arrays and shape != arrays[key].shape
    ]
    if missing or unknown or misshapen:
        msg = (
            f"the weights do not fit the {name}: missing {missing[:5]} ({len(missing)} in all), "
            f"unknown {unknown[:5]} ({len(unknown)} in all), "
            f"of another shape {misshapen[:5]} ({len(misshapen)} in all)"
        )
        raise CheckpointError(msg)
