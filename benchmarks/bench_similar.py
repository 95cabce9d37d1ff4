r"""Are the galaxies that `zoobot similar` finds of the same kind, and how fast does it find them?

    python benchmarks/bench_similar.py --data DATA --json benchmarks/results/similar.json

Kinds: each val galaxy of DATA/gz2_classes asks for the 10 most similar of the other val galaxies; the share
of these that have its class is its precision. The mean is over galaxies, "by class" the mean of the means of
classes. zoobot-mini learned these classes, among others, from the train galaxies, and has not seen the val
galaxies. Besides what `zoobot similar` compares, other ways to compare the same features are shown. Engines:
the largest difference between features of the same galaxies.

Speed: searches for the 20 most similar among made-up galaxies, in processes of their own, whose memory is
what they held at most, and what of it is their own: the rest are pages of the index, which the system keeps
for them while there is room. "first" is the first search, for which an index is opened, or made of a table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from timing import measure, write_record

from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.engine import ENGINES, load_engine
from zoobot.shared.features.projections import fit_projection
from zoobot.shared.features.tables import read_features
from zoobot.shared.tables.writer import PredictionWriter
from zoobot.similarity import SimilarityIndex, open_index
from zoobot.similarity import index as building
from zoobot.similarity.index import nearest

ENCODERS = {"zoobot-mini": "zoobot-mini", "imagenet": "imagenet-lite0"}
PARTS = ("precision", "engines", "speed")
NEIGHBOURS, SEARCHED = 10, 20
PACKAGES = ("numpy", "pyarrow", "scikit-learn", "faiss-cpu", "torch", "tensorflow", "timm")

Compared = Callable[[NDArray], NDArray]

#: Other ways to compare: from features to vectors whose inner products rank the galaxies.
WAYS: dict[str, Compared] = {
    "cosine, not centred": building.unit_vectors,
    "cosine, standardised": lambda f: building.unit_vectors(fit_projection([f]).apply(f)),
    "cosine, 64 components": lambda f: _components(f, whiten=False),
    "cosine, 64 components, whitened": lambda f: _components(f, whiten=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the labelled surveys; without it only speed")
    parser.add_argument("--galaxies", type=int, default=1_000_000, help="made-up galaxies to search")
    parser.add_argument("--width", type=int, default=320, help="their features")
    parser.add_argument("--grouped", type=int, default=100_000, help="those searched approximately too")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--work", type=Path, help="folder where features are kept, for another call")
    parser.add_argument("--quick", action="store_true", help="few galaxies: does it run at all?")
    parser.add_argument("--json", type=Path, help="write the figures there; those of other parts are kept")
    parser.add_argument("--search", nargs=2, metavar=("HOW", "PLACE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.search:
        print(json.dumps(search(*args.search)))
        return
    if args.quick:
        args.galaxies, args.grouped, args.width = 2000, 2000, 16
    results = json.loads(args.json.read_text())["results"] if args.json and args.json.exists() else {}
    with tempfile.TemporaryDirectory(prefix="bench-similar-") as scratch:
        work = args.work or Path(scratch)
        if "precision" in args.parts and args.data is not None:
            results["precision"] = measure_precision(args.data, work, quick=args.quick)
        if "engines" in args.parts and args.data is not None:
            results["engines"] = compare_engines(args.data, work, quick=args.quick)
        if "speed" in args.parts:
            results["speed"] = measure_speed(args, Path(scratch))
    if args.json:
        settings = {
            "neighbours": NEIGHBOURS,
            "searched": SEARCHED,
            "galaxies": args.galaxies,
            "width": args.width,
            "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
            "load": os.getloadavg()[0],
        }
        write_record(args.json, "similar", settings, results, *PACKAGES)


def measure_precision(data: Path, work: Path, *, quick: bool) -> dict[str, Any]:
    """By encoder and way to compare: mean over galaxies, mean of classes, and each class."""
    catalog = pd.read_csv(data / "gz2_classes" / "catalog.csv", dtype={"id_str": str})
    catalog = catalog[catalog["split"] == "val"]
    labels = dict(zip(catalog["id_str"], catalog["label_name"], strict=True))
    found: dict[str, Any] = {"galaxies": len(catalog)}
    found["classes"] = catalog["label_name"].value_counts().to_dict()
    for name, encoder in ENCODERS.items():
        table = encode("pytorch", encoder, data, work, quick=quick)
        features = read_features(table)
        own = np.array([labels[galaxy] for galaxy in features.ids])
        neighbours = open_index(table).like_galaxies(features.ids, NEIGHBOURS)
        theirs = neighbours["id_str"].map(labels).to_numpy().reshape(len(own), NEIGHBOURS)
        found[name] = {"zoobot similar": _score(own, theirs)}
        for way, compare in WAYS.items():
            vectors = compare(features.features).astype(np.float32)
            rows = nearest(vectors, vectors, NEIGHBOURS + 1)[0]
            others = np.array([row[row != place][:NEIGHBOURS] for place, row in enumerate(rows)])
            found[name][way] = _score(own, own[others])
        for way, scores in found[name].items():
            print(f"{name:12} {way:32} {scores['mean']:.3f}  by class {scores['by_class']:.3f}", flush=True)
    return found


def _score(own: NDArray, theirs: NDArray) -> dict[str, Any]:
    shares = (theirs == own[:, None]).mean(axis=1)
    classes = {str(name): float(shares[own == name].mean()) for name in np.unique(own)}
    return {
        "mean": float(shares.mean()),
        "by_class": float(np.mean(list(classes.values()))),
        "classes": classes,
    }


def _components(features: NDArray, *, whiten: bool) -> NDArray:
    few = min(64, len(features) // 2)
    fitted = fit_projection([features], components=few, standardise=False, whiten=whiten)
    return building.unit_vectors(fitted.apply(features))


def compare_engines(data: Path, work: Path, *, quick: bool) -> dict[str, float]:
    """The largest difference of a feature between the engines, and the largest feature."""
    ours, theirs = (encode(name, "zoobot-mini", data, work, quick=quick) for name in ENGINES)
    difference = float(np.abs(read_features(ours).features - read_features(theirs).features).max())
    found = {"difference": difference, "largest": float(np.abs(read_features(ours).features).max())}
    print("engines:", found, flush=True)
    return found


def encode(engine: str, encoder: str, data: Path, work: Path, *, quick: bool) -> Path:
    """The features of the val galaxies, of a few only where it is to be quick; those that are there stay."""
    folder = work / f"{encoder}-{engine}"
    stream: Any = CatalogStream(data / "gz2_classes" / "catalog.csv", select="split=val")
    if quick:
        few = next(stream.parts(60)).galaxies
        stream = CatalogStream(few)
    load_engine(engine).represent.represent(stream, encoder, save_loc=folder, progress=False)
    return folder


def measure_speed(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """How long searches take, in how much memory: of an index that is there, and of one that is made."""
    speed: dict[str, Any] = {}
    for dtype in ("float32", "float16"):
        _make_index(folder / "index", args.galaxies, args.width, dtype)
        row = f"{args.galaxies:,} × {args.width}, {dtype}, exact"
        speed[row] = _in_its_own_process("search", folder / "index")
        print(row, json.dumps(speed[row]), flush=True)
    shutil.rmtree(folder / "index")
    _make_table(folder / "features.parquet", args.grouped, args.width)
    for how in ("exact", "approximate"):
        row = f"{args.grouped:,} × {args.width}, index made, {how}"
        speed[row] = _in_its_own_process(how, folder / "features.parquet")
        print(row, json.dumps(speed[row]), flush=True)
    return speed


def _in_its_own_process(how: str, place: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--search", how, str(place)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(answer.splitlines()[-1]))


def _made_up(count: int, width: int) -> Iterator[tuple[list[str], NDArray]]:
    """Features of low rank and some noise, none below zero: as those of a network are."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(16, width)).astype(np.float32)
    for start in range(0, count, 20_000):
        size = min(20_000, count - start)
        hidden = rng.standard_normal((size, 16), np.float32)
        noise = 0.3 * rng.standard_normal((size, width), np.float32)
        yield [f"g{start + place}" for place in range(size)], np.maximum(hidden @ mixing + noise, 0)


def _make_table(table: Path, count: int, width: int) -> None:
    with PredictionWriter(table, [f"feature_{i:04d}" for i in range(width)], dtype="float16") as writer:
        for ids, features in _made_up(count, width):
            writer.write(ids, features)


def _make_index(folder: Path, count: int, width: int, dtype: str) -> None:
    """The files that `zoobot similar` would make, without the table that it would make them of."""
    folder.mkdir(exist_ok=True)
    projection = fit_projection([next(_made_up(2000, width))[1]], standardise=False)
    replace(projection, galaxies=count).save(folder / building.PROJECTION_FILE)
    vectors = np.lib.format.open_memmap(
        folder / building.VECTORS_FILE, "w+", np.dtype(dtype), shape=(count, width)
    )
    names: list[str] = []
    for ids, features in _made_up(count, width):
        vectors[len(names) : len(names) + len(ids)] = building.unit_vectors(projection.apply(features))
        names += ids
    vectors.flush()
    pd.DataFrame({"id_str": names}).to_parquet(folder / building.IDS_FILE)
    facts = {"format": building.FORMAT, "features": "made up", "galaxies": count, "origin": {}}
    (folder / building.FACTS_FILE).write_text(json.dumps(facts))


def search(how: str, place: str) -> dict[str, Any]:
    """In a process of its own: search the index in a folder, or make one of a table and search that."""
    begun, cpu = time.perf_counter(), time.process_time()
    kind: Any = "exact" if how == "search" else how
    index = SimilarityIndex(Path(place), search=kind) if how == "search" else open_index(place, search=kind)
    index.like_galaxies(["g7"], SEARCHED)  # groups are made by the first search
    found: dict[str, Any] = {
        "first": {"wall_s": time.perf_counter() - begun, "cpu_s": time.process_time() - cpu},
        "one": measure(lambda: index.like_galaxies(["g77"], SEARCHED), repeats=10, warmup=1),
        "memory": _memory(),
    }
    if kind == "approximate":
        asked = [f"g{galaxy}" for galaxy in range(0, len(index), max(1, len(index) // 100))][:100]
        true = open_index(place, search="exact").like_galaxies(asked, SEARCHED)
        near = index.like_galaxies(asked, SEARCHED)
        found["found"] = len(true.merge(near, on=["query", "id_str"])) / len(true)
    return found


def _memory() -> dict[str, float]:
    """Megabytes held at most, and held now without the pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = {line.partition(":")[0]: line.split()[1] for line in lines if line.endswith(" kB")}
    return {"peak_mb": int(kilobytes["VmHWM"]) / 1e3, "own_mb": int(kilobytes["RssAnon"]) / 1e3}


if __name__ == "__main__":
    main()
