"""Galaxies per second of a prediction run, beside the network alone, ONNX Runtime, and the public zoobot.

    python benchmarks/bench_predict.py --peer-python PEER/bin/python --json benchmarks/results/predict.json

Each turn predicts the same 424 px JPEGs, made here, from files to a table; the limits are the network over
images in memory, plain and compiled. Each library has a process of its own; they take turns. Memory is what
a process held at most when it had predicted few galaxies, and many: a large catalog repeats the same files.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import timing
from loader_work import make_galaxies

from zoobot.shared.engine import ENGINES

LIMIT, PEER, PEER_LIMIT = "limit: the network alone", "public zoobot", "public zoobot, limit: its network"
#: What our worker is asked for, by what the table calls it.
ROWS = {
    LIMIT: "bare",
    "zoobot predict": "predict",
    "limit: the network, compiled": "bare_compiled",
    "limit: ONNX Runtime alone": "bare_onnx",
    "zoobot predict, ONNX Runtime": "predict_onnx",
}


def main() -> None:
    options = parse_options()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-predict-") as scratch:
        folder = Path(scratch)
        (folder / "images").mkdir()
        make_galaxies(folder / "images", options.galaxies)
        catalog = write_catalog(folder, options.galaxies)
        speed = measure_speed(options, catalog)
        report_speed(speed, options.galaxies)
        memory = measure_memory(options, folder)
        report_memory(memory)
    if options.json:
        names = (
            "backend",
            "encoder",
            "galaxies",
            "image_size",
            "batch_size",
            "num_workers",
            "threads",
            "turns",
        )
        settings = {name: getattr(options, name) for name in names}
        settings |= {"load_average_before": load_before, "also_running": options.beside}
        packages = ("zoobot", *ENGINES.values(), "timm", "keras", "onnxruntime", "numpy")
        timing.write_record(options.json, "predict", settings, {"speed": speed, "memory": memory}, *packages)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=sorted(ENGINES), default="pytorch", help="engine to measure")
    parser.add_argument("--peer-python", metavar="FILE", help="interpreter with the public zoobot package")
    parser.add_argument("--encoder", default="convnext_nano", metavar="NAME")
    parser.add_argument("--galaxies", type=int, default=256, metavar="N")
    parser.add_argument("--image-size", type=int, default=224, metavar="PIX")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N")
    parser.add_argument("--num-workers", type=int, default=2, metavar="N")
    parser.add_argument("--threads", type=int, metavar="N", help="of each framework; default: its own choice")
    parser.add_argument("--turns", type=int, default=5, help="runs of each, taken in turns")
    parser.add_argument(
        "--memory-galaxies", type=int, nargs=2, default=[1000, 10_000], metavar="N", help="few, and many"
    )
    parser.add_argument("--memory-encoder", default="resnet10t", metavar="NAME", help="a fast one")
    parser.add_argument("--no-compile", action="store_true", help="leave out the compiled network")
    parser.add_argument("--beside", help="what else ran on the machine, for the record")
    parser.add_argument("--quick", action="store_true", help="few galaxies, one turn: shows that it runs")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    if options.quick:
        options.galaxies, options.turns, options.memory_galaxies = 16, 1, [16, 64]
    if options.threads:
        for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
            os.environ[variable] = str(options.threads)
    return options


def write_catalog(folder: Path, count: int) -> Path:
    """A table of `count` galaxies over the images that there are."""
    files = sorted(str(path.relative_to(folder)) for path in (folder / "images").glob("*.jpg"))
    path = folder / f"catalog_{count}.csv"
    rows = [{"id_str": f"galaxy_{i}", "file_loc": files[i % len(files)]} for i in range(count)]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def measure_speed(options: argparse.Namespace, catalog: Path) -> dict[str, Any]:
    """What each row takes for the whole catalog, and how long compiling and exporting took."""
    shape = [options.encoder, options.image_size, options.batch_size, options.num_workers]
    with ExitStack() as stack:
        ours = stack.enter_context(start_ours(options, catalog, shape))
        once = {"export_s": ours.ask("export")}
        rows = dict(ROWS)
        if options.no_compile:
            del rows["limit: the network, compiled"]
        else:
            once["compile_s"] = ours.ask("compile")
        rounds = {row: ours.round(request) for row, request in rows.items()}
        if options.peer_python:
            peer = stack.enter_context(start_peer(options, catalog, shape))
            rounds[PEER], rounds[PEER_LIMIT] = peer.round("predict"), peer.round("bare")
        taken = timing.interleave(rounds, repeats=1, times=options.turns, warmup=1)
    return {"rows": taken, "once": once}


def start_ours(options: argparse.Namespace, catalog: Path, shape: list[Any]) -> timing.Worker:
    script = Path(__file__).with_name("predict_worker.py")
    words = [options.backend, str(catalog), *map(str, shape)]
    return timing.Worker(sys.executable, script, words)


def start_peer(options: argparse.Namespace, catalog: Path, shape: list[Any]) -> timing.Worker:
    script = Path(__file__).with_name("peer_predict.py")
    return timing.Worker(options.peer_python, script, [str(catalog), *map(str, shape)])


def measure_memory(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """Peak memory in MiB of new processes that predicted few galaxies, and many."""
    shape = [options.memory_encoder, 64, options.batch_size, options.num_workers]
    starts = {"zoobot predict": start_ours} | ({PEER: start_peer} if options.peer_python else {})
    peaks: dict[str, dict[str, float]] = {name: {} for name in starts}
    for count in options.memory_galaxies:
        catalog = write_catalog(folder, count)
        for name, start in starts.items():
            with start(options, catalog, shape) as worker:
                before = worker.ask("peak_memory")
                worker.ask("predict", repeats=1)
                peaks[name] |= {"before": before, str(count): worker.ask("peak_memory")}
    return peaks


def report_speed(speed: dict[str, Any], galaxies: int) -> None:
    rows = speed["rows"]
    limit = rows[LIMIT]["wall_ms"]["median"]
    print("| prediction | galaxies/s | p10 to p90 | CPU ms a galaxy | of the network's speed | × peer |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        wall, cpu = row["wall_ms"], row["cpu_ms"]["median"] / galaxies
        rates = [1e3 * galaxies / wall[key] for key in ("median", "p90", "p10")]
        against = limit if PEER not in name else rows[PEER_LIMIT]["wall_ms"]["median"]
        times = f"{rows[PEER]['wall_ms']['median'] / wall['median']:.2f}" if PEER in rows else "–"
        print(
            f"| {name} | {rates[0]:.1f} | {rates[1]:.1f} to {rates[2]:.1f} | {cpu:.1f} "
            f"| {against / wall['median']:.2f} | {times} |"
        )
    print(*(f"{name}: {seconds:.0f}" for name, seconds in speed["once"].items()), sep=", ")


def report_memory(memory: dict[str, dict[str, float]]) -> None:
    counts = list(next(iter(memory.values())))
    print(f"\n| peak MiB | {' | '.join(counts)} |\n|---|{'---|' * len(counts)}")
    for name, peaks in memory.items():
        print(f"| {name} | {' | '.join(f'{peaks[count]:.0f}' for count in counts)} |")


if __name__ == "__main__":
    main()
