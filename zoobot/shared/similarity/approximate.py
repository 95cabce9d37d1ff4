"""The nearest of very many vectors, nearly always: only those in groups near a query are looked at."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.shared.errors import PredictionsError
from zoobot.shared.files.safe import replacing
from zoobot.shared.optional import import_optional
from zoobot.shared.similarity.exact import largest

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ApproximateIndex"]

logger = logging.getLogger("zoobot")

GROUPS_FILE = "groups.faiss"

#: Groups are found on so many vectors for each; of all groups this share is looked at, and at least so many.
_SAMPLE_PER_GROUP = 40
_LOOKED_AT = 1 / 16
_FEWEST = 128
_ROWS_AT_ONCE = 65_536
_SEED = 0


class ApproximateIndex:
    """Vectors in groups by k-means (an inverted file), in half precision; made once, and kept in a file.

    Candidates are compared by the vectors themselves, so that similarities are exact.

    Args:
        folder: Where the file of groups is, or goes.
        vectors: All vectors, (galaxies, width), of length 1.

    Raises:
        MissingPackageError: If faiss is not installed.
        PredictionsError: If the file is damaged.
        WriteError: If it can't be written.

    References:
        Douze et al. 2024, arXiv:2401.08281 (faiss); Jégou et al. 2011, IEEE TPAMI 33, 117 (inverted files).
    """

    def __init__(self, folder: Path, vectors: NDArray) -> None:
        self._faiss = import_optional("faiss", needed_for="approximate search", package="faiss-cpu")
        self._vectors = vectors
        self._path = folder / GROUPS_FILE
        if not self._path.is_file():
            logger.info("Grouping %s galaxies, once for all", f"{len(vectors):,}")
            index = self._make()
            with replacing(self._path) as draft:
                self._faiss.write_index(index, str(draft))
        try:
            self._index = self._faiss.read_index(str(self._path), self._faiss.IO_FLAG_MMAP)
        except RuntimeError as error:
            msg = f"{self._path} is damaged: delete it, and it is made anew ({str(error)[:200]})"
            raise PredictionsError(msg) from error
        self._index.nprobe = max(_FEWEST, round(self._index.nlist * _LOOKED_AT))

    def _make(self) -> Any:
        count, width = self._vectors.shape
        groups = max(1, min(4 * math.isqrt(count), count // _SAMPLE_PER_GROUP))
        index = self._faiss.IndexIVFScalarQuantizer(
            self._faiss.IndexFlatIP(width),
            width,
            groups,
            self._faiss.ScalarQuantizer.QT_fp16,
            self._faiss.METRIC_INNER_PRODUCT,
        )
        sample = np.random.default_rng(_SEED).choice(
            count, min(count, groups * _SAMPLE_PER_GROUP), replace=False
        )
        index.train(np.asarray(self._vectors[np.sort(sample)], np.float32))
        for start in range(0, count, _ROWS_AT_ONCE):
            index.add(np.asarray(self._vectors[start : start + _ROWS_AT_ONCE], np.float32))
        return index

    def nearest(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """As `zoobot.shared.similarity.exact.nearest`, of which a few may be missed; then rows are -1."""
        _, rows = self._index.search(np.ascontiguousarray(queries, np.float32), k)
        found = np.asarray(self._vectors[np.maximum(rows, 0)], np.float32)
        values = np.einsum("qkw,qw->qk", found, queries)
        return largest(rows, np.where(rows >= 0, values, -np.inf), k)
