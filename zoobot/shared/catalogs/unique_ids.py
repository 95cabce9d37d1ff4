"""Finds repeated ids among any number of galaxies, in eight bytes for each."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

__all__ = ["IdHashes", "hash_ids"]

_LOOKED_AT = 1000
"""Hashes that are looked at together, so that memory stays small where every id is repeated."""


def hash_ids(ids: Sequence[str]) -> np.ndarray:
    """A 64-bit hash of each id, the same on every machine."""
    texts = np.empty(len(ids), dtype=object)
    texts[:] = ids
    return pd.util.hash_array(texts, categorize=False)


class IdHashes:
    """The hashes of ids that come a few at a time.

    Example:
        >>> hashes = IdHashes()
        >>> for ids in (["a", "b"], ["c", "a"]):
        ...     hashes.add(ids)
        >>> hashes.repeated(lambda: iter([["a", "b"], ["c", "a"]]))
        ['a']
    """

    def __init__(self) -> None:
        self._hashes = array("Q")

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, ids: Sequence[str]) -> None:
        """Take in some more ids."""
        self._hashes.frombytes(hash_ids(ids).astype(np.uint64).tobytes())

    def repeated(self, read_again: Callable[[], Iterable[Sequence[str]]]) -> list[str]:
        """Some of the ids that came more than once; none if all are different.

        Equal hashes are only a hint, so the ids that have them are looked at once more.

        Args:
            read_again: Gives all ids once more, a few at a time.
        """
        hashes = np.frombuffer(self._hashes, dtype=np.uint64)
        hashes.sort()
        suspects = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        for start in range(0, len(suspects), _LOOKED_AT):
            some = suspects[start : start + _LOOKED_AT]
            counts: Counter[str] = Counter()
            for ids in read_again():
                places = np.flatnonzero(np.isin(hash_ids(ids), some))
                counts.update(ids[place] for place in places.tolist())
            repeated = [text for text, count in counts.items() if count > 1]
            if repeated:
                return repeated
        return []
