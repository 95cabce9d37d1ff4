"""Weights as numbers: checked, told apart, and held against each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoobot.shared.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from zoobot.shared.checkpoint import NeutralCheckpoint
    from zoobot.shared.training.blocks import Block

# Whether arrays are the weights of a module, asked before any of them is touched.


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
        raise CheckpointError(
            f"the weights do not fit the {name}: missing {missing[:5]} ({len(missing)} in all), "
            f"unknown {unknown[:5]} ({len(unknown)} in all), "
            f"of another shape {misshapen[:5]} ({len(misshapen)} in all)"
        )


# Which model it is: one number over all that decides what it predicts.

#: What a checkpoint's record holds that decides no prediction (of intervals, a table's record tells).
_HISTORY = ("origin", "training", "versions", "conformal")


def hash_model(neutral: NeutralCheckpoint) -> str:
    """A SHA-256 of a checkpoint's configuration and weights: how it was trained, and when, is not in it.

    Args:
        neutral: The model, in either engine's words: equal weights give an equal hash.
    """
    config = neutral.to_config()
    config["zoobot"] = {key: value for key, value in config["zoobot"].items() if key not in _HISTORY}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for tensors in (neutral.encoder, neutral.head_tensors):
        for name in sorted(tensors):
            array = np.asarray(tensors[name], order="C")
            digest.update(f"{name};{array.dtype.str};{array.shape};".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """A SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


# How far two ways to compute the same predictions lie apart.


def largest_difference(found: NDArray, expected: NDArray) -> float:
    """The largest difference between predictions, relative where they are above 1 (concentrations, values).

    A NaN on one side or both makes it NaN, and another shape makes it infinite.

    Args:
        found: Predictions of any shape.
        expected: Those to compare with.

    Example:
        >>> largest_difference(np.array([0.5, 96.0]), np.array([0.5, 64.0]))
        0.5
    """
    if found.shape != expected.shape:
        return float("inf")
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    return float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected)), initial=0))


def choose_block(blocks: Sequence[Block], asked: str | int | None) -> int:
    """The number of a block, counted from 0 at the bottom.

    Args:
        blocks: The encoder's blocks, bottom to top.
        asked: A block's name, or its number: from 0 at the bottom, or from -1 at the top; also as text. None
            is the top.

    Raises:
        ConfigError: If there is no such block; those that there are are listed.

    Example:
        >>> from zoobot.shared.training.blocks import Block
        >>> blocks = [Block("stem", ()), Block("stages.0", ()), Block("stages.1", ())]
        >>> [choose_block(blocks, asked) for asked in ("stages.0", 0, "-1", None)]
        [1, 0, 2, 2]
    """
    if asked is None:
        return len(blocks) - 1
    names = [block.name for block in blocks]
    if asked in names:
        return names.index(str(asked))
    try:
        number = int(asked)
    except ValueError:
        number = len(blocks)
    if isinstance(asked, bool) or not -len(blocks) <= number < len(blocks):
        listed = ", ".join(f"{number} {name}" for number, name in enumerate(names))
        raise ConfigError(f"block must be one of this encoder's, by name or number: {listed}; got {asked!r}")
    return number % len(blocks)
