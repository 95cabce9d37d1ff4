"""What does one GPU reach: precisions, compiling, layouts, the loader beside the network, the head, memory?

    python benchmarks/bench_gpu.py --json benchmarks/results/gpu.json

Takes at most `--minutes`, on a machine with one GPU. Each section has a process of its own, for a GPU that
has met an error is of no use to the process, and a time limit; what it found until then is kept. The pictures
are 424 px JPEGs, made here. Ends with 1 where predictions lie further from float32 than they may, or a
section failed. Every share compares two things of one section. `--quick` shows on any machine that it runs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import timing

#: The sections of gpu_work.py, in order, and the seconds that each has.
SECONDS = {
    "precision": 30,
    "network": 40,
    "predict": 50,
    "loader": 40,
    "steps": 60,
    "fit": 50,
    "head": 30,
    "compiled": 75,
}

#: Seconds for a process to begin in, and the least that is worth beginning for.
_STARTING, _LEAST = 40.0, 20.0


def main() -> None:
    options = parse_options()
    if options.section:
        run_section(options.section, options.scratch, options)
        return
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as scratch:
        options.scratch = Path(scratch)
        make_pictures(options.scratch / "images", options)
        results = {name: one_section(name, options, began) for name in options.sections}
    report(results)
    if options.json:
        names = (
            "backend",
            "encoders",
            "image_size",
            "batch_size",
            "train_batch_size",
            "num_workers",
            "files",
        )
        settings = {name: getattr(options, name) for name in (*names, "minutes", "quick")}
        settings |= {"also_running": options.beside, "seconds": time.perf_counter() - began}
        packages = ("zoobot", "torch", "timm", "pytorch-lightning", "numpy", "opencv-python-headless")
        timing.write_record(options.json, "gpu", settings, results, *packages)
    faults = [f"{name}: {fault}" for name, found in results.items() for fault in faults_of(found)]
    for fault in faults:
        print(f"NOT MET  {fault}")
    raise SystemExit(1 if faults else 0)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--backend", choices=["pytorch"], default="pytorch", help="engine to measure")
    parser.add_argument("--encoders", nargs="+", default=["convnext_nano", "convnext_base"], metavar="NAME")
    parser.add_argument("--image-size", type=int, default=224, metavar="PIX")
    parser.add_argument("--batch-size", type=int, default=256, metavar="N", help="galaxies predicted at once")
    parser.add_argument("--train-batch-size", type=int, default=128, metavar="N", help="learned from at once")
    parser.add_argument(
        "--num-workers", type=int, default=min(16, cores), metavar="N", help="threads that read"
    )
    parser.add_argument("--files", type=int, default=1024, metavar="N", help="pictures to make")
    parser.add_argument("--minutes", type=float, default=8.0, help="most time that all of it takes")
    parser.add_argument(
        "--sections", nargs="+", choices=SECONDS, default=list(SECONDS), metavar="NAME", help="only these"
    )
    parser.add_argument("--cpu", action="store_true", help="go on without a GPU, to try all of it on a CPU")
    parser.add_argument("--beside", help="what else ran on the machine, for the record")
    parser.add_argument(
        "--quick", action="store_true", help="a tiny network, one process, no GPU needed: shows that it runs"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--section", choices=SECONDS, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.files < 2 or options.minutes <= 0 or options.num_workers < 1:
        parser.error("--files must be at least 2, --num-workers at least 1, --minutes above 0")
    if options.quick:
        options.encoders, options.image_size, options.files = ["test_resnet"], 32, 8
        options.batch_size, options.train_batch_size, options.num_workers = 4, 4, 2
    return options


def make_pictures(folder: Path, options: argparse.Namespace) -> None:
    """So many galaxies, drawn by all cores; each process has a seed of its own by its folder's number."""
    from loader_work import make_galaxies

    folder.mkdir()
    if options.quick:
        make_galaxies(folder, options.files)
        return
    cores = min(os.cpu_count() or 1, 32)
    shares = [(folder / f"{k:02}", -(-options.files // cores), k) for k in range(cores)]
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(make_share, shares))


def make_share(share: tuple[Path, int, int]) -> None:
    """Galaxies of one process."""
    from loader_work import make_galaxies

    folder, count, seed = share
    folder.mkdir()
    make_galaxies(folder, count, seed=seed)


def one_section(name: str, options: argparse.Namespace, began: float) -> dict[str, Any]:
    """What a section found: its rows, the bounds that it broke, and what went wrong."""
    written = options.scratch / f"{name}.json"
    if options.quick:
        run_section(name, options.scratch, options)
        return dict(json.loads(written.read_text()))
    left = 60 * options.minutes - (time.perf_counter() - began)
    if left < _LEAST + _STARTING / 2:
        return {"rows": {}, "left_out": f"{left:.0f} s were left"}
    print(f"{name} …", file=sys.stderr, flush=True)
    seconds = SECONDS[name]
    limit = min(left, _STARTING + 1.5 * seconds)
    words = [a for a in sys.argv[1:] if a]
    command = [sys.executable, __file__, *words, "--section", name, "--scratch", str(options.scratch)]
    fault = run_within([*command, "--seconds", str(min(seconds, left - _LEAST / 2))], limit)
    found = json.loads(written.read_text()) if written.exists() else {"rows": {}}
    if fault and "failed" not in found:
        found["failed"] = fault
    return dict(found)


def run_within(command: list[str], limit: float) -> str:
    """Run a command and all it starts for so many seconds at most; what went wrong, or nothing."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        code = process.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        return f"ended after {limit:.0f} s"
    finally:  # Ctrl-C does not reach a session of its own
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return f"ended with {code}" if code else ""


def run_section(name: str, scratch: Path, options: argparse.Namespace) -> None:
    """Measure one section here, and write what it finds as it finds it."""
    written, about = scratch / f"{name}.json", {}

    def keep(found: dict[str, Any]) -> None:
        unfinished = written.with_suffix(".part")
        unfinished.write_text(json.dumps(about | found))
        unfinished.replace(written)

    try:
        import gpu_work

        about = {"on": gpu_work.describe_device(needs_gpu=not (options.quick or options.cpu))}
        found = gpu_work.Found(keep, {}, [])
        plan = gpu_work.Plan(
            encoders=options.encoders,
            size_pix=options.image_size,
            batch_size=options.batch_size,
            train_batch_size=options.train_batch_size,
            num_workers=options.num_workers,
            files=sorted(str(path) for path in (scratch / "images").rglob("*.jpg")),
            seconds=0.1 if options.quick else options.seconds,
            quick=options.quick,
        )
        began = time.perf_counter()
        gpu_work.SECTIONS[name](plan, found)
        about |= {"seconds": time.perf_counter() - began}
        keep({"rows": found.rows, "broken": found.broken})
    except Exception as error:  # said in the report, which ends with 1
        kept = json.loads(written.read_text()) if written.exists() else {"rows": {}}
        keep(kept | {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"})
        if not options.quick:
            raise


def faults_of(found: dict[str, Any]) -> list[str]:
    """Broken bounds, and what kept a section from its end."""
    return [*found.get("broken", []), *([found["failed"]] if "failed" in found else [])]


def report(results: dict[str, dict[str, Any]]) -> None:
    """A table of each section."""
    devices = {json.dumps(found["on"]) for found in results.values() if "on" in found}
    print(*devices, sep="\n")
    for name, found in results.items():
        print(f"\n## {name}" + (f": {found['left_out']}" if "left_out" in found else ""))
        columns = list(dict.fromkeys(key for row in found["rows"].values() for key in row))
        if columns:
            print(f"| row | {' | '.join(column.replace('_', ' ') for column in columns)} |")
            print(f"|---|{'---|' * len(columns)}")
        for row, values in found["rows"].items():
            print(f"| {row} | {' | '.join(in_words(values.get(column)) for column in columns)} |")


def in_words(value: object) -> str:
    """A figure of three digits."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    main()
