"""Does training keep its word: any kill survived, and the same model, scores and predictions in the end?

    python benchmarks/bench_kills.py --kills 10 --backend tensorflow

Two runs of `zoobot finetune` on a small simulated survey, one of the head alone and one of encoder blocks,
are trained undisturbed. The same runs are then killed at random moments, mostly with SIGKILL and sometimes
with SIGTERM, and resumed, over and over, until as many kills as asked for have hit a run at work. Whatever a
run leaves must be what the undisturbed one left, byte for byte, but for the record of the run itself.

The killed runs are forks of one process that has loaded the engine: what is killed is the work, not Python's
imports. The undisturbed ones are started anew. Needs fork, so no Windows.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import timing

from zoobot import cli
from zoobot.shared.engine import ENGINES, load_engine
from zoobot.shared.files.locks import lock_file
from zoobot.simulate.survey import simulate_survey

#: The runs that are killed in turn, by what learns.
RUNS = {
    "head alone": ["--n-blocks", "0"],
    "blocks": ["--n-blocks", "all", "--ema-decay", "0.5", "--accumulate-batches", "2"],
}
FORKS = multiprocessing.get_context("fork")
_LONGEST_S = 900.0

#: One kill in so many is by SIGTERM, and one in so many may come after training, while the model is scored.
_SIGTERM_ONE_IN = 4
_LATE_ONE_IN = 4


def main() -> None:
    options = parse_options()
    with tempfile.TemporaryDirectory(prefix="bench-kills-") as scratch:
        folder = Path(scratch)
        survey = folder / "survey"
        # by a process of its own: one that is forked later should have no threads
        drawn = FORKS.Process(target=simulate, args=(survey, options))
        drawn.start()
        drawn.join()
        runs = {name: finetune_command(options, survey, extra) for name, extra in options.runs.items()}
        seconds = {name: train_whole(command, folder / f"whole {name}") for name, command in runs.items()}
        load_engine(options.backend)
        kills, differing = kill_in_turn(runs, folder, options, seconds)
    report(seconds, kills, differing)
    if options.json:
        names = ("backend", "encoder", "galaxies", "epochs", "image_size", "batch_size", "kills", "seed")
        settings = {name: getattr(options, name) for name in names}
        results = {"seconds_at_work": seconds, "kills": kills, "differing": differing}
        timing.write_record(options.json, "kills", settings, results, "zoobot", ENGINES[options.backend])
    if any(differing.values()):
        sys.exit("the word was not kept: see above")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=sorted(ENGINES), default="pytorch", help="engine to measure")
    parser.add_argument("--encoder", default="test_resnet", metavar="NAME", help="a tiny one")
    parser.add_argument("--galaxies", type=int, default=120, metavar="N")
    parser.add_argument("--epochs", type=int, default=3, metavar="N")
    parser.add_argument("--image-size", type=int, default=32, metavar="PIX")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N")
    parser.add_argument("--kills", type=int, default=10, metavar="N", help="of runs at work, in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument(
        "--quick", action="store_true", help="few galaxies, one kill of one run: shows that it runs"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    options.runs = RUNS
    if options.quick:
        options.galaxies, options.epochs, options.kills = 40, 1, 1
        options.runs = dict(list(RUNS.items())[:1])
    return options


def simulate(survey: Path, options: argparse.Namespace) -> None:
    simulate_survey(survey, n_galaxies=options.galaxies, image_size_pix=options.image_size, num_workers=1)


def finetune_command(options: argparse.Namespace, survey: Path, extra: list[str]) -> list[str]:
    words = ["finetune", "--catalog", survey / "catalog.csv", "--labels", "ring", "--no-progress"]
    words += ["--encoder", options.encoder, "--backend", options.backend, "--accelerator", "cpu"]
    words += ["--max-epochs", options.epochs, "--batch-size", options.batch_size, "--num-workers", 1]
    words += ["--image-size-pix", options.image_size, "--checkpoint-minutes", 1e-6, *extra]
    return [str(word) for word in words]


def train_whole(command: list[str], folder: Path) -> dict[str, float]:
    """Train undisturbed: the seconds of training and in all, from when the folder is the process's own."""
    words = [sys.executable, "-m", "zoobot", *command, "--save-dir", str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    moments: dict[str, float] = {}
    while process.poll() is None:
        if folder.is_dir() and lock_file(folder).exists():
            moments.setdefault("work", time.monotonic())
        if said_of_run(folder).get("trained"):
            moments.setdefault("trained", time.monotonic())
        time.sleep(0.05)
    _, said = process.communicate()
    if process.returncode:
        msg = f"zoobot finetune ended with {process.returncode}: {said[-3000:]}"
        raise RuntimeError(msg)
    return {"training": moments["trained"] - moments["work"], "all": time.monotonic() - moments["work"]}


def kill_in_turn(
    runs: dict[str, list[str]],
    folder: Path,
    options: argparse.Namespace,
    seconds: dict[str, dict[str, float]],
) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """The kills, and by killed run what differs from the undisturbed one in the end."""
    draw = random.Random(options.seed)
    kills: list[dict[str, Any]] = []
    differing: dict[str, list[str]] = {}
    while len(kills) < options.kills:
        name = list(runs)[len(differing) % len(runs)]
        cut = folder / f"cut {len(differing)}"
        command = [*runs[name], "--save-dir", str(cut)]
        enough = min(options.kills, len(kills) + math.ceil(options.kills / len(runs)))
        while len(kills) < enough:
            how = signal.SIGKILL if draw.randrange(_SIGTERM_ONE_IN) else signal.SIGTERM
            latest = seconds[name]["training" if draw.randrange(_LATE_ONE_IN) else "all"]
            kill = kill_once(command, cut, draw.uniform(0, latest), how)
            if kill is None:
                break  # it was done before
            kills.append({"run": name, **kill})
            print(kills[-1], flush=True)
        if said_of_run(cut)["status"] != "finished":
            finish(start([*command, "--resume"], cut), cut)
        differing[f"{cut.name}: {name}"] = compare(folder / f"whole {name}", cut)
    return kills, differing


def kill_once(command: list[str], folder: Path, after: float, how: signal.Signals) -> dict[str, Any] | None:
    """Start or resume a run, and kill it some seconds into its work; None if it was done by then."""
    resumed = (folder / "run.json").exists()
    process = start([*command, "--resume"] if resumed else command, folder)
    wait_for_work(process, folder)
    process.join(after)
    if process.is_alive():
        os.kill(process.pid, how)
    finish(process, folder, {0, -how, 128 + how})
    if process.exitcode == 0:
        return None
    return {
        "signal": how.name,
        "after_s": round(after, 2),
        "code": process.exitcode,
        "epochs_done": count_epochs(folder),
        "left_over": sorted(path.name for path in folder.rglob(".*")),
        "last_ckpt": (folder / "last.ckpt").exists(),
        "trained": said_of_run(folder).get("trained", False),
    }


def said_of_run(folder: Path) -> dict[str, Any]:
    record = folder / "run.json"
    return json.loads(record.read_text()) if record.exists() else {}


def start(command: list[str], folder: Path) -> Any:
    """A fork that does what the command line does, whose words go into a file beside the run's folder."""
    process = FORKS.Process(target=work, args=(command, folder.with_name(f"{folder.name}.log")))
    process.start()
    return process


def work(command: list[str], log: Path) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.argv = ["zoobot", *command]
    cli.main_exit()


def wait_for_work(process: Any, folder: Path) -> None:
    """Return when a process has made a run's folder its own, or has ended."""
    while process.is_alive():
        with suppress(FileNotFoundError):
            if f'"pid": {process.pid},' in lock_file(folder).read_text() and said_of_run(folder):
                return
        time.sleep(0.005)


def finish(process: Any, folder: Path, codes: set[int] | None = None) -> None:
    process.join(_LONGEST_S)
    if process.exitcode not in (codes or {0}):
        said = folder.with_name(f"{folder.name}.log").read_text(errors="replace")
        msg = f"zoobot finetune ended with {process.exitcode}: {said[-3000:]}"
        raise RuntimeError(msg)


def count_epochs(folder: Path) -> int:
    log = folder / "metrics.csv"
    return len(pd.read_csv(log)) if log.exists() else 0


def compare(whole: Path, cut: Path) -> list[str]:
    """The files that differ, or that only one of the runs has."""
    files = [{str(p.relative_to(f)) for p in f.rglob("*") if p.is_file()} for f in (whole, cut)]
    both = files[0] & files[1]
    return sorted(files[0] ^ files[1]) + sorted(name for name in both if not same(whole / name, cut / name))


def same(whole: Path, cut: Path) -> bool:
    if whole.name in ("run.json", "last.ckpt"):
        return True  # they tell of the run itself: where, when, how often resumed
    return whole.read_bytes() == cut.read_bytes()


def report(
    seconds: dict[str, dict[str, float]], kills: list[dict[str, Any]], differing: dict[str, list[str]]
) -> None:
    print("\nseconds at work:", seconds)
    print("kills:", dict(Counter(kill["signal"] for kill in kills)))
    print("kills while training:", sum(not kill["trained"] for kill in kills))
    for name, files in differing.items():
        print(f"  {name:<24} {'differs in ' + ', '.join(files) if files else 'the same bytes'}")


if __name__ == "__main__":
    main()
