"""Which model it is: one number over all that decides what it predicts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from zoobot.shared.checkpoint import NeutralCheckpoint

__all__ = ["hash_file", "hash_model"]

#: What a checkpoint's record holds that decides no prediction.
_HISTORY = ("origin", "training", "versions")


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
