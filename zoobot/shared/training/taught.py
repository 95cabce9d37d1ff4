"""Which galaxies taught a model, in its checkpoint: as hashes of their ids."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import CheckpointError
from zoobot.shared.files.tensors import read_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

#: The file of a checkpoint that holds the hashes.
GALAXIES_FILE = "galaxies.safetensors"


@dataclass(frozen=True, eq=False)
class TaughtBy:
    """The galaxies that a model was trained on and validated on, as 64-bit hashes of their ids.

    A hash is the first 8 bytes of BLAKE2b of the id's UTF-8, read as a little-endian number: the same on any
    machine, and of a million galaxies two share one with a chance of 3 in 100 million. 8 bytes a galaxy; the
    ids themselves can't be read from it, though who has an id can look it up.

    Args:
        train: Of the galaxies that it learned from, ascending, uint64.
        val: Of those that chose its best epoch, and its calibration; likewise.

    Example:
        >>> taught = TaughtBy.of(["a", "b"], ["c"])
        >>> taught.trained_on(["b", "c", "d"]).tolist(), taught.validated_on(["b", "c", "d"]).tolist()
        ([True, False, False], [False, True, False])
    """

    train: NDArray[np.uint64]
    val: NDArray[np.uint64]

    @classmethod
    def of(cls, train: Iterable[str], val: Iterable[str]) -> TaughtBy:
        """Made from the ids."""
        return cls(np.unique(_hashes(train)), np.unique(_hashes(val)))

    @classmethod
    def from_tensors(cls, path: Path) -> TaughtBy:
        """Read from a checkpoint's file.

        Raises:
            CheckpointError: If it is damaged, or holds anything else.
        """
        arrays = read_tensors(path)
        for name in ("train", "val"):
            array = arrays.get(name)
            if array is None or array.dtype != np.uint64 or array.ndim != 1:
                found = "nothing" if array is None else f"{array.dtype} of shape {array.shape}"
                msg = f"{path} must hold {name!r}, a list of 64-bit hashes, but holds {found}"
                raise CheckpointError(msg)
        return cls(np.unique(arrays["train"]), np.unique(arrays["val"]))

    def to_tensors(self) -> dict[str, NDArray[np.uint64]]:
        """What the checkpoint's file holds."""
        return {"train": self.train, "val": self.val}

    def counts(self) -> dict[str, int]:
        """How many galaxies of each kind."""
        return {"train": len(self.train), "val": len(self.val)}

    def trained_on(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Which of these galaxies it learned from, (galaxies,)."""
        return np.isin(_hashes(ids), self.train)

    def validated_on(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Which of these galaxies chose its best epoch, (galaxies,)."""
        return np.isin(_hashes(ids), self.val)


@dataclass(frozen=True, eq=False)
class Acquaintance:
    """Which galaxies one or several models have met before.

    Args:
        trained: Which of them a model was trained on, (galaxies,).
        validated: Which others chose a model's best epoch, and its calibration, (galaxies,).
        is_known: Whether all models know which galaxies taught them; if not, more may be among these.
    """

    trained: NDArray[np.bool_]
    validated: NDArray[np.bool_]
    is_known: bool

    @classmethod
    def of(cls, taught: Sequence[TaughtBy | None], ids: Sequence[str]) -> Acquaintance:
        """That of the models that were taught so with the galaxies of these ids."""
        known = [one for one in taught if one is not None]
        none = np.zeros(len(ids), bool)
        trained = np.any([none, *(one.trained_on(ids) for one in known)], axis=0)
        validated = np.any([none, *(one.validated_on(ids) for one in known)], axis=0)
        return cls(trained, validated & ~trained, len(known) == len(taught))

    @property
    def met(self) -> NDArray[np.bool_]:
        """Which galaxies taught a model in either way, (galaxies,)."""
        return self.trained | self.validated

    def sentence(self) -> str:
        """What a reader of scores on these galaxies must know of it."""
        total, trained, validated = len(self.met), int(self.trained.sum()), int(self.validated.sum())
        parts = []
        if trained:
            parts.append(f"{trained:,} of these {total:,} galaxies were trained on")
        if validated:
            of_these = "" if trained else f" of these {total:,} galaxies"
            parts.append(f"{validated:,}{of_these} chose its best epoch and calibration")
        if parts:
            return " and ".join(parts)
        if not self.is_known:
            return "the checkpoint does not say which galaxies it was trained on: these may be among them"
        return "by their ids, none of these galaxies was trained on, nor chose its best epoch or calibration"


def _hashes(ids: Iterable[str]) -> NDArray[np.uint64]:
    digests = (hashlib.blake2b(one.encode("utf-8", "surrogatepass"), digest_size=8).digest() for one in ids)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
