"""Times pieces of work, here or in another interpreter, and keeps the figures with the machine's description.

Standard library only, so that an interpreter which has nothing of ours can import it too.

Two libraries are compared as ratios inside one run: `interleave` gives each in turn a short round, so that a
machine that slows down slows both. A library that bears our name lives in another interpreter: `Worker`
starts a script there, which answers by `serve`.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["Worker", "interleave", "machine", "measure", "serve", "summarise", "take_samples", "write_record"]

Samples = list[tuple[float, float]]
Round = Callable[[int], Samples]


def measure(work: Callable[[], object], *, repeats: int = 20, warmup: int = 3) -> dict[str, dict[str, float]]:
    """Wall and CPU time of one call of `work`, in milliseconds: median, p10, p90 and number of calls."""
    take_samples(work, warmup)
    return summarise(take_samples(work, repeats))


def take_samples(work: Callable[[], object], repeats: int) -> Samples:
    """(wall, CPU) milliseconds of each of `repeats` calls; CPU time is of all threads of this process."""
    samples = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        samples.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    return samples


def summarise(samples: Samples) -> dict[str, dict[str, float]]:
    """Median and spread of samples: {"wall_ms": {"median", "p10", "p90", "repeats"}, "cpu_ms": {…}}."""
    wall, cpu = zip(*samples, strict=True)
    return {"wall_ms": _spread(wall), "cpu_ms": _spread(cpu)}


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "median": statistics.median(ordered),
        "p10": ordered[round(0.1 * last)],
        "p90": ordered[round(0.9 * last)],
        "repeats": len(ordered),
    }


def interleave(
    rounds: Mapping[str, Round], *, repeats: int = 10, times: int = 10, warmup: int = 5
) -> dict[str, dict[str, dict[str, float]]]:
    """Summaries of several pieces of work that took turns.

    Args:
        rounds: Name → function that runs the work n times and returns its samples (`take_samples`, or
            `Worker.round` for work in another interpreter).
        repeats: Calls in one turn.
        times: Turns of each piece of work.
        warmup: Calls of each before the first turn, not counted.
    """
    samples: dict[str, Samples] = {name: [] for name in rounds}
    for run in rounds.values():
        run(warmup)
    for _ in range(times):
        for name, run in rounds.items():
            samples[name] += run(repeats)
    return {name: summarise(taken) for name, taken in samples.items()}


class Worker(AbstractContextManager["Worker"]):
    """A script in another interpreter that does work when told to, one JSON line for each request.

    Args:
        python: The interpreter.
        script: A script that calls `serve`. It can import `timing` when it lies in this folder.
        arguments: Its command line.
    """

    def __init__(self, python: str | Path, script: str | Path, arguments: Sequence[str] = ()) -> None:
        # Without PYTHONPATH, so that `import zoobot` there finds that interpreter's own.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [str(python), str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, request: str, **arguments: Any) -> Any:
        """What the script answers to `request`."""
        if self._process.stdin is None or self._process.stdout is None:
            msg = "the worker has no pipes"
            raise RuntimeError(msg)
        print(json.dumps({"request": request, "arguments": arguments}), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            msg = f"the worker {self._process.args} ended with {self._process.wait()}; its error is above"
            raise RuntimeError(msg)
        return json.loads(answer)

    def round(self, request: str, **arguments: Any) -> Round:
        """A round for `interleave`: the script gets `repeats` and the arguments, and answers with samples."""
        return lambda repeats: [tuple(s) for s in self.ask(request, repeats=repeats, **arguments)]

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=30)


def serve(handlers: Mapping[str, Callable[..., Any]]) -> None:
    """Answer the requests of a `Worker` until it closes: each is a handler's name and its keyword arguments.

    What the handlers print goes to the error stream, so that it can't be taken for an answer.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        message = json.loads(line)
        answer = handlers[message["request"]](**message["arguments"])
        print(json.dumps(answer), file=answers, flush=True)


def machine(*packages: str) -> dict[str, Any]:
    """Where and when the figures were taken: processor, cores, Python, and the versions of `packages`."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_record(
    path: str | Path, benchmark: str, settings: Mapping[str, Any], results: Any, *packages: str
) -> None:
    """Write one benchmark's figures as JSON: its name, command, settings, machine and results."""
    record = {
        "benchmark": benchmark,
        "command": " ".join(["python", *sys.argv]),
        "settings": dict(settings),
        "machine": machine(*packages),
        "results": results,
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(record, indent=1, default=str) + "\n")
