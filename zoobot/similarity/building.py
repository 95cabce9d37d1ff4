"""Makes an index of features: unit vectors in one file that need not fit into memory, and what goes along.

vectors.npy              (galaxies, width), float32 or float16: centred, of length 1
ids.parquet              the galaxies, in the same order
projection.safetensors   what was done to the features, so that it is done to those of new galaxies
index.json               of which table it is, written last
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from zoobot.shared.errors import PredictionsError
from zoobot.shared.features.projections import Projection, fit_projection
from zoobot.shared.features.tables import read_feature_chunks
from zoobot.shared.files.whole import replacing_folder
from zoobot.shared.predictions import read_prediction_metadata
from zoobot.shared.tables.part_folder import MANIFEST_FILE, PartFolder

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
        msg = f"no table of features at {str(path)!r}: {error.strerror or error}"
        raise PredictionsError(msg) from error
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
