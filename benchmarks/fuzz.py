"""Fuzz all that reads what strangers give: the tests of tests/fuzz, for as long as they are given.

Each test runs in a process of its own, with bounded memory: a crash, a hang and an absurd allocation are
failures like an error that is none of ours. A failure is found again with the seed that is printed beside it.

    python benchmarks/fuzz.py --minutes 8 --json benchmarks/results/fuzz.json
    python benchmarks/fuzz.py --minutes 1 --only test_a_damaged_image_is_pixels_or_an_error --seed 17
"""

from __future__ import annotations

import argparse
import faulthandler
import functools
import importlib
import inspect
import json
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from timing import write_record

TESTS = Path(__file__).parents[1] / "tests" / "fuzz"
EXAMPLES_IN_ROUND = 200
MEMORY_BYTES = 4 * 2**30
HANG_S = 60.0
PACKAGES = (
    *("zoobot", "hypothesis", "numpy", "pandas", "pyarrow", "astropy", "pillow", "simplejpeg"),
    *("opencv-python-headless", "h5py", "pyyaml", "safetensors", "onnxruntime", "torch"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="for all tests together")
    parser.add_argument("--seed", type=int, default=0, help="of the first round; later ones count up")
    parser.add_argument("--only", default="", help="part of the names of the tests to run")
    parser.add_argument("--quick", action="store_true", help="a few inputs each; the figures mean nothing")
    parser.add_argument("--json", help="keep the figures in this file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    if options.child:
        fuzz_one(options.child, options.seed, 60 * options.minutes)
        return
    names = [name for name, _ in find_tests() if options.only in name]
    seconds = 0.0 if options.quick else 60 * options.minutes / max(1, len(names))
    results = {name: run_child(name, options.seed, seconds) for name in names}
    total = sum(result["inputs"] for result in results.values())
    failures = [name for name, result in results.items() if result["failure"]]
    print(f"{total:,} inputs to {len(names)} tests, {len(failures)} failures")
    if options.json:
        record = {"inputs": total, "failures": len(failures), "tests": results}
        settings = {"minutes": options.minutes, "seed": options.seed, "quick": options.quick}
        write_record(options.json, "fuzz", settings, record, *PACKAGES)
    sys.exit(bool(failures))


def find_tests() -> Iterator[tuple[str, Any]]:
    """Every fuzzed test by its name: module, two colons, function."""
    for path in sorted(TESTS.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        for name, member in inspect.getmembers(module):
            if hasattr(member, "strategies"):
                yield f"{path.stem}::{name}", member


def run_child(name: str, seed: int, seconds: float) -> dict[str, Any]:
    """How many inputs one test took in its time, and what failed."""
    with tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, __file__, "--child", name, "--seed", str(seed)]
        child = subprocess.run(
            [*command, "--minutes", str(seconds / 60)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
        )
        errors.seek(0)
        said = errors.read()
    rounds = [json.loads(line) for line in child.stdout.splitlines() if line.startswith("{")]
    last = rounds[-1] if rounds else {"inputs": 0, "seed": seed, "failure": None}
    failure = last["failure"]
    if child.returncode and failure is None:
        died = f"the process ended with {child.returncode} (a crash, or {HANG_S:g} s on one input)"
        failure = f"{died} in the round of seed {last['seed']}:\n{said[-3000:]}"
    print(f"{name}: {last['inputs']:,} inputs{', FAILED' if failure else ''}", flush=True)
    if failure:
        print(failure, flush=True)
    return {"inputs": last["inputs"], "failure": failure}


def fuzz_one(name: str, seed: int, seconds: float) -> None:
    """Run rounds of one test until the time is up or an input fails; print the state around each."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    module, _, function = name.partition("::")
    test = getattr(importlib.import_module(module), function)
    _be_strict()
    inputs = 0
    began = time.monotonic()

    @functools.wraps(test.check)
    def counted(**arguments: Any) -> None:
        nonlocal inputs
        inputs += 1
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        test.check(**arguments)

    rounds = settings(
        max_examples=EXAMPLES_IN_ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    while True:
        print(json.dumps({"inputs": inputs, "seed": seed, "failure": None}), flush=True)
        failure = _run(seeded(seed)(rounds(given(**test.strategies)(counted))))
        if failure:
            failure = f"seed {seed}:\n{failure}"
        print(json.dumps({"inputs": inputs, "seed": seed, "failure": failure}), flush=True)
        if failure or time.monotonic() - began > seconds:
            break
        seed += 1
    faulthandler.cancel_dump_traceback_later()


def _run(test: Callable[[], None]) -> str | None:
    try:
        test()
    except Exception as error:  # noqa: BLE001  whatever it is, it is to be reported
        return "".join(traceback.format_exception(error))[-6000:]
    return None


def _be_strict() -> None:
    """Bounded memory, and the warnings that the suite takes for errors: a wrong number may begin with one."""
    for category in (UserWarning, DeprecationWarning, FutureWarning, RuntimeWarning):
        warnings.filterwarnings("error", category=category, module="zoobot")
    if sys.platform == "linux":
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))


if __name__ == "__main__":
    main()
