"""How long it takes until Zoobot can begin: its help, its imports, and those of the public zoobot.

    python benchmarks/bench_startup.py --peer-python PEER/bin/python --json benchmarks/results/startup.json

Every sample is a new process, whose CPU seconds (user and system, of all its threads) the system counts. The
limit is the import of the frameworks themselves. Files are in the system's cache, as from the second start.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import timing

from zoobot.shared.engine import ENGINES

#: What an engine can't do without, so what its import must take at least.
FRAMEWORKS = {
    "pytorch": "import torch, timm, pytorch_lightning",
    "tensorflow": "import tensorflow, keras",
}
PEER = "public zoobot: import zoobot.pytorch.training.finetune"
PEER_LIMIT = "public zoobot, limit: import torch, timm, lightning"


def main() -> None:
    options = parse_options()
    rows = {name: [sys.executable, *words] for name, words in our_rows(options.backend).items()}
    if options.peer_python:
        peer = options.peer_python
        rows[PEER] = [peer, "-c", counted("from zoobot.pytorch.training import finetune")]
        rows[PEER_LIMIT] = [peer, "-c", counted("import torch, timm, lightning")]
    facts: dict[str, dict[str, float]] = {name: {} for name in rows}
    rounds = {name: starting(words, facts[name]) for name, words in rows.items()}
    warmup = 0 if options.quick else 1  # reads the files from the disk
    taken = timing.interleave(rounds, repeats=1, times=options.turns, warmup=warmup)
    results = {name: {**taken[name], **facts[name]} for name in rows}
    report(results)
    if options.json:
        settings = {"backend": options.backend, "turns": options.turns, "also_running": options.beside}
        packages = ("zoobot", *ENGINES.values(), "timm", "pytorch-lightning", "keras")
        timing.write_record(options.json, "startup", settings, results, *packages)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=[*FRAMEWORKS, "all"], default="all", help="engine to measure")
    parser.add_argument("--peer-python", metavar="FILE", help="interpreter with the public zoobot package")
    parser.add_argument("--turns", type=int, default=7, help="starts of each, taken in turns")
    parser.add_argument("--beside", help="what else ran on the machine, for the record")
    parser.add_argument("--quick", action="store_true", help="one start of each: shows that it runs")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    if options.quick:
        options.turns = 1
    return options


def our_rows(backend: str) -> dict[str, list[str]]:
    """What to call each start, and the words after the interpreter."""
    rows = {
        "limit: python -c pass": ["-c", "pass"],
        "zoobot --help": ["-m", "zoobot", "--help"],
        "import zoobot": ["-c", counted("import zoobot")],
    }
    for name in FRAMEWORKS if backend == "all" else [backend]:
        rows[f"import zoobot.{name}.finetune"] = ["-c", counted(f"from zoobot.{name} import finetune")]
        rows[f"limit: {FRAMEWORKS[name]}"] = ["-c", counted(FRAMEWORKS[name])]
    return rows


def counted(code: str) -> str:
    return f"import sys\n{code}\nsys.stdout.write(str(len(sys.modules)))"


def starting(command: list[str], facts: dict[str, float]) -> Callable[[int], timing.Samples]:
    """Rounds of new processes; the memory and modules of the last one are left in `facts`."""

    def start() -> tuple[float, float]:
        environment = dict(os.environ)
        if command[0] != sys.executable:  # the peer must find its own package of our name, here and below
            environment.pop("PYTHONPATH", None)
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=tempfile.gettempdir(),
            text=True,
        )
        said = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            msg = f"{command} ended with {process.returncode}"
            raise RuntimeError(msg)
        facts["peak_memory_mib"] = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        last = said.split()[-1:]  # the peer says something first
        if last and last[0].isdigit():
            facts["modules"] = int(last[0])
        return 1e3 * (time.perf_counter() - began), 1e3 * (usage.ru_utime + usage.ru_stime)

    return lambda repeats: [start() for _ in range(repeats)]


def report(results: dict[str, dict[str, Any]]) -> None:
    print("| start | CPU s | p10 to p90 | wall s | modules | peak MiB |\n|---|---|---|---|---|---|")
    for name, row in results.items():
        cpu, wall = ({k: v / 1e3 for k, v in row[clock].items()} for clock in ("cpu_ms", "wall_ms"))
        spread = f"{cpu['p10']:.2f} to {cpu['p90']:.2f}"
        print(
            f"| {name} | {cpu['median']:.2f} | {spread} | {wall['median']:.2f} "
            f"| {row.get('modules', '–')} | {row['peak_memory_mib']:.0f} |"
        )


if __name__ == "__main__":
    main()
