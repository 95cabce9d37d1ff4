"""The nearest of any number of vectors, exactly, a block of them at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from zoobot.shared import defaults

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["largest", "nearest"]

#: Numbers of a block of vectors, and most of its similarities: 16 MB of float32 each.
_BLOCK_VALUES = 2**22


def nearest(
    vectors: NDArray, queries: NDArray[np.float32], k: int, *, threads: int = defaults.NUM_WORKERS
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The rows of the k vectors with the largest inner product with each query, the largest first.

    Memory is two blocks of each thread, whatever the number of vectors, which may be memory-mapped.

    Args:
        vectors: (galaxies, width), float32 or float16.
        queries: (queries, width).
        k: How many; all, if there are fewer vectors.
        threads: How many blocks are worked on at once.

    Returns:
        Rows and inner products, (queries, k) each.

    Example:
        >>> vectors = np.eye(3, dtype=np.float32)
        >>> nearest(vectors, vectors[1:2] + 0.1 * vectors[2:], 2)[0]
        array([[1, 2]])
    """
    rows = max(1, _BLOCK_VALUES // max(vectors.shape[1], len(queries)))

    def search_block(start: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        block = np.asarray(vectors[start : start + rows], np.float32)
        return largest(np.arange(start, start + len(block))[None], queries @ block.T, k)

    rows_found = np.zeros((len(queries), 0), np.intp)
    values = np.zeros((len(queries), 0), np.float32)
    # blocks share the cores; threads of each product would wait for one another on them
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max(1, threads)) as pool:
        for some in pool.map(search_block, range(0, len(vectors), rows)):
            candidates = np.concatenate([rows_found, some[0]], axis=1)
            rows_found, values = largest(candidates, np.concatenate([values, some[1]], axis=1), k)
    return rows_found, values


def largest(
    rows: NDArray[np.intp], values: NDArray[np.float32], k: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The k largest values of each query, in order, and the rows that they belong to.

    Args:
        rows: (queries, candidates), or (1, candidates) where all have the same.
        values: (queries, candidates).
        k: How many; all, if there are fewer.
    """
    rows = np.broadcast_to(rows, values.shape)
    if k < values.shape[1]:
        kept = np.argpartition(values, -k, axis=1)[:, -k:]
        rows, values = np.take_along_axis(rows, kept, 1), np.take_along_axis(values, kept, 1)
    order = np.lexsort((rows, -values), axis=1)
    return np.take_along_axis(rows, order, 1), np.take_along_axis(values, order, 1)
