"""Does prediction at survey scale keep its word: constant memory, any kill survived, every broken file named?

    python benchmarks/bench_scale.py --rows 1000000 --kills 20 --json benchmarks/results/scale.json

A catalog repeats a few thousand small images; one row in a hundred names a file broken in one of ten ways.
It is predicted into a folder of parts by `zoobot predict` with a tiny network: a few times undisturbed, and
watched; and once killed with SIGKILL at random moments. Needs /proc, so Linux.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import timing
from scale_survey import BROKEN_WAYS, write_catalog, write_checkpoint, write_images

from zoobot.shared.engine import ENGINES

#: Rows after which a process has loaded all that it needs, so that memory should not grow any more.
SETTLED_ROWS = 10_000


def main() -> None:
    options = parse_options()
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as scratch:
        folder = Path(scratch)
        write_images(folder / "images", options.files)
        catalog, broken = write_catalog(folder, options.rows, options.files)
        checkpoint = write_checkpoint(
            folder / "checkpoint", options.backend, options.encoder, options.image_size
        )
        command = predict_command(options, checkpoint, catalog)
        whole = watch_turns(command, folder / "whole", options)
        kills = run_and_kill(command, folder / "cut", options, whole)
        kept = compare(folder / "whole", folder / "cut", catalog, broken)
    results = {"undisturbed": whole, "killed": kills, "kept": kept}
    report(results)
    if options.json:
        names = (
            "backend",
            "encoder",
            "rows",
            "files",
            "part_rows",
            "image_size",
            "batch_size",
            "num_workers",
            "kills",
            "turns",
        )
        settings = {name: getattr(options, name) for name in names}
        settings |= {"broken_ways": list(BROKEN_WAYS), "also_running": options.beside}
        timing.write_record(
            options.json,
            "scale",
            settings,
            results,
            "zoobot",
            ENGINES[options.backend],
            "numpy",
            "pyarrow",
            "pandas",
        )
    if not all(kept.values()):
        sys.exit("the word was not kept: see above")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=sorted(ENGINES), default="pytorch", help="engine to measure")
    parser.add_argument("--encoder", default="test_resnet", metavar="NAME", help="a tiny one")
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="of the catalog")
    parser.add_argument("--kills", type=int, default=20, metavar="N")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="undisturbed runs, each anew")
    parser.add_argument("--files", type=int, default=3000, metavar="N", help="images that the rows repeat")
    parser.add_argument("--part-rows", type=int, default=2000, metavar="N")
    parser.add_argument("--image-size", type=int, default=32, metavar="PIX", help="of the network's input")
    parser.add_argument("--batch-size", type=int, default=128, metavar="N")
    parser.add_argument("--num-workers", type=int, default=1, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--beside", help="what else ran on the machine, for the record")
    parser.add_argument("--quick", action="store_true", help="few rows, one kill: shows that it runs")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.kills, options.files, options.part_rows = 1500, 1, 20, 100
        options.turns = 1
    return options


def predict_command(options: argparse.Namespace, model: Path, catalog: Path) -> list[str]:
    words = ["predict", model, "--catalog", catalog, "--backend", options.backend, "--no-progress"]
    words += ["--batch-size", options.batch_size, "--num-workers", options.num_workers]
    return [sys.executable, "-m", "zoobot", *map(str, [*words, "--part-rows", options.part_rows])]


def watch_turns(command: list[str], save_loc: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Predict anew a few times: the middle one by how much more a galaxy costs over all than at first."""
    turns = []
    for _ in range(options.turns):
        shutil.rmtree(save_loc, ignore_errors=True)
        turns.append(watch(command, save_loc, options))
    ratios = [turn["ms_a_galaxy_over_all"] / turn["ms_a_galaxy_at_first"] for turn in turns]
    middle = turns[ratios.index(statistics.median_low(ratios))]
    return middle | {"all_beside_first": ratios}


def watch(command: list[str], save_loc: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Predict undisturbed: seconds, memory once settled and at most afterwards, and what a galaxy costs."""
    began = time.time()
    process = start(command, save_loc)
    seen: list[tuple[int, float]] = []  # (parts done, MiB)
    while process.poll() is None:
        seen.append((count_parts(save_loc), resident_mib(process.pid)))
        time.sleep(0.2)
    finish(process)
    seconds = time.time() - began
    settled_parts = max(1, min(SETTLED_ROWS, options.rows // 2) // options.part_rows)
    settled = [mib for parts, mib in seen if 0 < parts <= settled_parts]
    after = [mib for parts, mib in seen if parts > settled_parts and mib]
    ended = [path.stat().st_mtime for path in sorted(save_loc.glob("part-*.parquet"))]
    last = options.rows // options.part_rows - 1  # the last whole part
    tenths = min(10, last)

    def cost(first: int, end: int) -> float:
        """Milliseconds a galaxy of the parts after `first`, up to `end`."""
        return 1e3 * (ended[end] - ended[first]) / ((end - first) * options.part_rows)

    return {
        "seconds": seconds,
        "settled_mib": max(settled),
        "most_after_mib": max(after),
        "growth_mib": max(after) - max(settled),
        "mib_by_rows": {str(parts * options.part_rows): mib for parts, mib in thinned(seen) if parts},
        "first_part_after_s": ended[0] - began,
        "ms_a_galaxy_at_first": cost(0, settled_parts),
        "ms_a_galaxy_over_all": cost(0, last),
        "ms_a_galaxy_by_tenths": [
            cost(first, end) for first, end in pairwise(last * i // tenths for i in range(tenths + 1))
        ],
    }


def thinned(seen: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """About ten of many samples, evenly over the run; the last is that of a process that has ended."""
    alive = [sample for sample in seen if sample[1]]
    return alive[:: max(1, len(alive) // 10)]


def run_and_kill(
    command: list[str], save_loc: Path, options: argparse.Namespace, whole: dict[str, Any]
) -> dict[str, Any]:
    """Predict, killed at random moments, until it is done; `whole` says how long that takes undisturbed."""
    draw = random.Random(options.seed)
    starting = whole["first_part_after_s"]
    latest = starting + 2 * (whole["seconds"] - starting) / (options.kills + 1)
    parts, left_over, while_starting = [], 0, 0
    for _ in range(options.kills):
        process = start(command, save_loc)
        before = count_parts(save_loc)
        time.sleep(draw.uniform(0.1, latest))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        parts.append(count_parts(save_loc))
        while_starting += parts[-1] == before
        left_over += sum(1 for path in save_loc.rglob(".*.draft"))
    finish(start(command, save_loc))
    return {
        "parts_after_each_kill": parts,
        "kills_without_a_new_part": while_starting,
        "kills_that_left_a_part_half_written": left_over,
    }


def compare(whole: Path, cut: Path, catalog: Path, broken: list[int]) -> dict[str, bool]:
    """Whether the killed run's files are the other's, and every galaxy is predicted or named."""
    files = [sorted(str(p.relative_to(f)) for p in f.rglob("*.parquet")) for f in (whole, cut)]
    same = files[0] == files[1] and all((whole / n).read_bytes() == (cut / n).read_bytes() for n in files[0])
    ids = pd.read_csv(catalog, usecols=["id_str"], dtype=str)["id_str"].to_numpy()
    predicted = pd.read_parquet(cut, columns=["id_str"])["id_str"].to_numpy()
    failures = pd.concat(pd.read_parquet(p) for p in sorted((cut / "_failures").iterdir()))
    named = failures["id_str"].to_numpy()
    is_broken = pd.Series(False, index=range(len(ids)))
    is_broken.iloc[broken] = True
    reasons = failures.groupby(failures["file_loc"].str.rsplit("/", n=1).str[-1])["reason"].first()
    print(*(f"{name}: {reason[:90]}" for name, reason in reasons.items()), sep="\n")
    return {
        "the same bytes": same,
        "every broken one named": list(named) == list(ids[is_broken]),
        "all others predicted, in order": list(predicted) == list(ids[~is_broken]),
        "every way of breaking met": len(reasons) == len(BROKEN_WAYS),
        "nothing half-written left": not list(cut.rglob(".*")),
    }


def start(command: list[str], save_loc: Path) -> subprocess.Popen[str]:
    words = [*command, "--save-loc", f"{save_loc}/"]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate()
    if process.returncode:
        msg = f"zoobot predict ended with {process.returncode}: {said[-2000:]}"
        raise RuntimeError(msg)


def count_parts(save_loc: Path) -> int:
    return sum(1 for _ in save_loc.glob("part-*.parquet"))


def resident_mib(pid: int) -> float:
    """The memory that a process holds, mapped files included; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next(
        (int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0
    )


def report(results: dict[str, Any]) -> None:
    for name, values in results.items():
        print(f"\n{name}")
        for key, value in values.items():
            print(f"  {key:<36} {f'{value:,.2f}' if isinstance(value, float) else value}")


if __name__ == "__main__":
    main()
