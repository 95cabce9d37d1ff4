"""An index of features that answers which galaxies look like these."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, parquet
from threadpoolctl import threadpool_limits

from zoobot.shared import defaults
from zoobot.shared.errors import CatalogError, ConfigError, PredictionsError, ZoobotError
from zoobot.shared.features.projections import Projection, fit_projection
from zoobot.shared.features.tables import read_feature_chunks
from zoobot.shared.files.whole import replacing, replacing_folder
from zoobot.shared.imports import import_optional
from zoobot.shared.predictions import read_prediction_metadata
from zoobot.shared.tables.part_folder import MANIFEST_FILE, PartFolder

# The nearest of any number of vectors, exactly, a block of them at a time.

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


# The nearest of very many vectors, nearly always: only those in groups near a query are looked at.

logger = logging.getLogger("zoobot")

GROUPS_FILE = "groups.faiss"

#: Groups are found on so many vectors for each; of all groups this share is looked at, and at least so many.
_SAMPLE_PER_GROUP = 40
_CELLS_LOOKED_AT = 1 / 16
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
        self._index.nprobe = max(_FEWEST, round(self._index.nlist * _CELLS_LOOKED_AT))

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
        """As `zoobot.similarity.index.nearest`, of which a few may be missed; then rows are -1."""
        _, rows = self._index.search(np.ascontiguousarray(queries, np.float32), k)
        found = np.asarray(self._vectors[np.maximum(rows, 0)], np.float32)
        values = np.einsum("qkw,qw->qk", found, queries)
        return largest(rows, np.where(rows >= 0, values, -np.inf), k)


#: So many galaxies are searched exactly in a second or so; more, without a word, approximately.
EXACT_UP_TO = 1_000_000

#: How many ids that are spelt alike a message has, and among how many they are looked for.
_NEAR = 3
_LOOKED_AT = 100_000

Search = Literal["auto", "exact", "approximate"]


class SimilarityIndex:
    """Galaxies as vectors of length 1: the cosine of the angle between two is their similarity, 1 at most.

    Args:
        folder: What `build` wrote.
        search: "exact" compares with every galaxy; "approximate" with those near it by an index that faiss
            makes when first needed; "auto" is approximate above a million galaxies.

    Attributes:
        origin: Where the features come from: model, block, preprocessing, catalog.

    Raises:
        PredictionsError: If the folder is no such index.
    """

    def __init__(self, folder: Path, *, search: Search = "auto") -> None:
        self.folder = folder
        try:
            facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
            self._vectors = np.load(folder / VECTORS_FILE, mmap_mode="r", allow_pickle=False)
            self._projection = Projection.load(folder / PROJECTION_FILE)
            fits = facts["format"] == FORMAT and len(self._vectors) == facts["galaxies"]
            fits &= self._vectors.ndim == 2 and self._vectors.shape[1] == self._projection.num_outputs
            self.features: str = facts["features"]
            self.origin: dict[str, Any] = dict(facts["origin"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ZoobotError) as error:
            msg = f"{folder} is no index of features that can be used: {type(error).__name__}: {error}"
            raise PredictionsError(msg) from error
        if not fits:
            msg = f"{folder} is no index of features that can be used: its files do not fit together"
            raise PredictionsError(msg)
        self.is_exact = search == "exact" or (search == "auto" and len(self) <= EXACT_UP_TO)

    def __len__(self) -> int:
        """How many galaxies there are."""
        return len(self._vectors)

    @property
    def width(self) -> int:
        """How many features the table has that it was made of."""
        return self._projection.width

    @cached_property
    def _ids(self) -> Any:
        try:
            ids = parquet.read_table(self.folder / IDS_FILE)["id_str"].combine_chunks()
            facts = json.loads((self.folder / FACTS_FILE).read_text(encoding="utf-8"))
            fits = facts["features"] == self.features and len(ids) == len(self)
        except (OSError, ValueError, KeyError, TypeError) as error:  # Arrow's own are among them
            msg = f"{self.folder} is no index of features that can be used: {type(error).__name__}: {error}"
            raise PredictionsError(msg) from error
        if not fits:
            msg = f"{self.folder} was made anew since it was opened, or is damaged: open it again"
            raise PredictionsError(msg)
        return ids

    def knows(self, galaxy: str) -> bool:
        """Whether a galaxy has features."""
        return bool(compute.index(self._ids, pa.scalar(galaxy, self._ids.type)).as_py() >= 0)

    def find(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """The rows of galaxies, in the order of the ids.

        Raises:
            CatalogError: If one is not among them; the message has ids that are spelt alike.
        """
        rows = compute.index_in(pa.array(list(ids), self._ids.type), value_set=self._ids)
        unknown = [one for one, row in zip(ids, rows, strict=True) if not row.is_valid]
        if unknown:
            near = difflib.get_close_matches(unknown[0], self._ids.slice(0, _LOOKED_AT).to_pylist(), n=_NEAR)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            msg = f"{len(unknown)} of these galaxies are not among the {len(self):,} with features, such as "
            msg += f"{unknown[0]!r}{hint}"
            raise CatalogError(msg)
        return np.asarray(rows.to_numpy(), np.intp)

    def like_galaxies(self, ids: Sequence[str], k: int = 20, *, together: bool = False) -> pd.DataFrame:
        """The galaxies most like some that have features; these themselves are not in the list.

        Args:
            ids: The galaxies, each once.
            k: How many for each.
            together: Whether one list is made, of those that are like all of them: like their mean.

        Returns:
            `query`, `rank` (from 1), `id_str` and `similarity` (the cosine, at most 1); together, the query
            is all ids joined by ", ".

        Raises:
            CatalogError: If an id is unknown.
            ConfigError: If an id is given twice, or k is less than 1.
        """
        if len(set(ids)) < len(ids):
            raise ConfigError(f"each galaxy must be given once, got {list(ids)}")
        rows = self.find(ids)
        vectors = np.asarray(self._vectors[rows], np.float32)
        names = list(ids)
        if together:
            vectors, names = unit_vectors(vectors.mean(axis=0, keepdims=True)), [", ".join(ids)]
        own = [rows] * len(names) if together else [rows[place : place + 1] for place in range(len(rows))]
        return self._listed(names, vectors, k, own)

    def like_features(self, features: NDArray, k: int = 20, *, names: Sequence[str] = ()) -> pd.DataFrame:
        """The galaxies most like others, of which the features are given, by the same model and block.

        Args:
            features: (queries, width).
            k: How many for each.
            names: What `query` says of each; by default its number.

        Returns:
            As `like_galaxies`.

        Raises:
            ConfigError: If the features are of another width or not finite, or k is less than 1.
        """
        if not np.isfinite(features).all():
            raise ConfigError("features must be finite")
        vectors = unit_vectors(self._projection.apply(features))
        names = list(names) or [str(number) for number in range(len(vectors))]
        return self._listed(names, vectors, k, [np.zeros(0, np.intp)] * len(vectors))

    def _listed(
        self, names: Sequence[str], vectors: NDArray, k: int, own: Sequence[NDArray[np.intp]]
    ) -> pd.DataFrame:
        """A table of the k nearest of each query but those that are the query itself."""
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        most = max(map(len, own))
        if k + most > len(self):
            logger.warning("there are only %s galaxies: fewer than k=%s are listed", f"{len(self):,}", k)
        rows, values = self._search(vectors, k + most)
        tables = []
        for place, name in enumerate(names):
            others = np.flatnonzero(~np.isin(rows[place], own[place]) & (rows[place] >= 0))[:k]
            ids = self._ids.take(rows[place, others]).to_pylist()
            columns = {"query": name, "rank": np.arange(1, len(ids) + 1), "id_str": ids}
            tables.append(pd.DataFrame({**columns, "similarity": values[place, others]}))
        return pd.concat(tables, ignore_index=True)

    def _search(self, vectors: NDArray, k: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        if self.is_exact:
            return nearest(self._vectors, vectors, min(k, len(self)))
        return ApproximateIndex(self.folder, self._vectors).nearest(vectors, min(k, len(self)))


def open_index(
    features: str | Path,
    *,
    components: int | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    search: Search = "auto",
) -> SimilarityIndex:
    """The index of a table of features; it is made beside the table when first asked for, and kept.

    An index of an older table of the same name is made anew.

    Args:
        features: What `zoobot represent` wrote, or any table that `read_features` reads.
        components: Compare so many principal components, which are quicker to search and as good; None
            compares all features.
        dtype: What a new index keeps vectors as: float16 takes half the space, and more time to search.
        search: "exact", "approximate", or "auto": exact up to a million galaxies.

    Raises:
        PredictionsError: If there is no such table, or it lacks parts.
        NonFiniteError: If a feature is not finite.
        ConfigError: If there are not so many components.
        WriteError: If the index can't be written.
    """
    folder = index_folder(features, components)
    current = fingerprint(features)
    if (folder / FACTS_FILE).is_file():
        index = SimilarityIndex(folder, search=search)
        if index.features == current:
            return index
        logger.info("The features are others than those of the index: it is made anew")
    logger.info("Making an index of %s", features)
    build(features, folder, components=components, dtype=dtype)
    return SimilarityIndex(folder, search=search)


# Makes an index of features: unit vectors in one file that need not fit into memory, and what goes along.
#
# vectors.npy              (galaxies, width), float32 or float16: centred, of length 1
# ids.parquet              the galaxies, in the same order
# projection.safetensors   what was done to the features, so that it is done to those of new galaxies
# index.json               of which table it is, written last

FORMAT = 1
VECTORS_FILE = "vectors.npy"
IDS_FILE = "ids.parquet"
PROJECTION_FILE = "projection.safetensors"
FACTS_FILE = "index.json"


def index_folder(features: str | Path, components: int | None) -> Path:
    """Where the index of a table of features lies: inside of a folder of parts, or beside a file.

    Example:
        >>> index_folder("results/new.parquet", None).name, index_folder("results/new.parquet", 64).name
        ('new.similar', 'new.similar-pca64')
    """
    path = Path(features).expanduser().absolute()
    ending = "" if components is None else f"-pca{components}"
    return path / f"_similar{ending}" if path.is_dir() else path.with_suffix(f".similar{ending}")


def fingerprint(features: str | Path) -> str:
    """What tells a table of features from one that took its place: names, sizes and times of its files.

    Raises:
        PredictionsError: If there is no table.
    """
    path = Path(features).expanduser()
    files = [path]
    if path.is_dir():
        folder = PartFolder(path)
        files = [path / MANIFEST_FILE, *(folder.part(number) for number in folder.done())]
    try:
        facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError as error:
        raise PredictionsError(f"no table of features at {str(path)!r}: {error.strerror or error}") from error
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def build(features: str | Path, folder: Path, *, components: int | None, dtype: str) -> None:
    """Make the index, whole or not at all, in two passes over the table at constant memory.

    Args:
        features: The table, or the folder of its parts.
        folder: Where the index goes.
        components: Principal components that are compared; None compares all features.
        dtype: What vectors are kept as.

    Raises:
        PredictionsError: If the table can't be used.
        NonFiniteError: If a feature is not finite.
        WriteError: If the index can't be written.
    """
    before = fingerprint(features)
    origin = read_prediction_metadata(features)
    pieces = (values for _, values in read_feature_chunks(features))
    # On real galaxies neither standardised nor whitened features found more of a kind: bench_similar.py
    projection = fit_projection(pieces, components=components, standardise=False, origin=origin)
    with replacing_folder(folder) as draft:
        _write_vectors(features, draft, projection, dtype)
        projection.save(draft / PROJECTION_FILE)
        facts = {"format": FORMAT, "features": before, "galaxies": projection.galaxies, "origin": origin}
        (draft / FACTS_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        if fingerprint(features) != before:
            raise _changed(features)


def _changed(features: str | Path) -> PredictionsError:
    msg = f"{features} changed while its index was made: leave it as it is, and ask again"
    return PredictionsError(msg)


def unit_vectors(projected: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors of length 1; those of length 0 stay, and are like nothing."""
    lengths = np.linalg.norm(projected, axis=1, keepdims=True)
    return np.divide(projected, lengths, out=np.zeros_like(projected), where=lengths > 0)


def _write_vectors(features: str | Path, draft: Path, projection: Projection, dtype: str) -> None:
    shape = (projection.galaxies, projection.num_outputs)
    vectors = np.lib.format.open_memmap(draft / VECTORS_FILE, mode="w+", dtype=np.dtype(dtype), shape=shape)
    _reserve(draft / VECTORS_FILE)
    schema = pa.schema([("id_str", pa.string())])
    with parquet.ParquetWriter(draft / IDS_FILE, schema, use_dictionary=False) as ids_file:
        for start, ids, values in _numbered(features):
            end = start + len(ids)
            if end > len(vectors) or values.shape[1] != projection.width:
                raise _changed(features)
            vectors[start:end] = unit_vectors(projection.apply(values))
            ids_file.write_table(pa.table([ids], schema))
    vectors.flush()


def _reserve(path: Path) -> None:
    """Have the disk keep the room of a file: if it filled up later, the process would be killed."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _numbered(features: str | Path) -> Iterator[tuple[int, list[str], Any]]:
    start = 0
    for ids, values in read_feature_chunks(features):
        yield start, ids, values
        start += len(ids)
