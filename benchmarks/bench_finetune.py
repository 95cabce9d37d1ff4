"""How long a finetuning takes: the head on features that are kept, on features encoded anew, and the peer's.

    python benchmarks/bench_finetune.py --catalog DATA/gz2_classes/catalog.csv --peer-python PEER/bin/python \
        --json benchmarks/results/finetune.json

A classifier learns from a few hundred galaxies. The head alone is trained with each galaxy encoded once (as
`n_blocks=0` does), with every view of every epoch encoded (`cache_features=False`), and by the public zoobot,
which does that too; then the top block and the head, from images and from what the blocks below made of them
(`activation_views`). Limits are the network's own steps on images in memory. Last, the share of a step of the
whole network that its encoder's forward and backward take. `--slow-epochs` runs fewer epochs of what encodes
in every epoch, and multiplies. At the end the whole command, as a user types it: CPU seconds of
`zoobot finetune` with the head alone, of five classes and of a GZ2 tree (simulated galaxies, made-up labels),
over those of importing the engine; with default threads, and with one.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timing
from speed_rows import HEAD, PEER_HEAD, STAGE, STAGE_ANEW

from zoobot.shared import schemas
from zoobot.shared.catalog import read_catalog
from zoobot.shared.engine import ENGINES
from zoobot.simulate.survey import simulate_survey


def main() -> None:
    options = parse_options()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-finetune-") as scratch:
        folder = Path(scratch)
        results: dict[str, Any] = {}
        if not options.command_only:
            prepare_galaxies(options, folder)
            results = measure(options, folder)
        results["command"] = measure_command(options, folder)
    report(options, results)
    if options.json:
        names = (
            "backend",
            "encoder",
            "image_size",
            "train",
            "val",
            "epochs",
            "slow_epochs",
            "views",
            "batch_size",
        )
        settings = {name: getattr(options, name) for name in (*names, "num_workers", "threads", "turns")}
        settings |= {"galaxies": "simulated" if options.catalog is None else options.catalog.parent.name}
        settings |= {"load_average_before": load_before, "also_running": options.beside}
        packages = ("zoobot", *ENGINES.values(), "timm", "pytorch-lightning", "keras")
        timing.write_record(options.json, "finetune", settings, results, *packages)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=sorted(ENGINES), default="pytorch", help="engine to measure")
    parser.add_argument("--peer-python", metavar="FILE", help="interpreter with the public zoobot package")
    parser.add_argument("--catalog", type=Path, help="galaxies with classes; default: simulated, ring or not")
    parser.add_argument("--label", default="label", metavar="COLUMN", help="the classes, counted from 0")
    parser.add_argument("--encoder", default="imagenet-lite0", metavar="NAME")
    parser.add_argument("--image-size", type=int, default=224, metavar="PIX")
    parser.add_argument("--train", type=int, default=500, metavar="N", help="galaxies to learn from")
    parser.add_argument("--val", type=int, default=250, metavar="N", help="galaxies to score on")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--slow-epochs", type=int, metavar="N", help="default: all; the rest is multiplied")
    parser.add_argument("--views", type=int, default=2, help="views whose activations are kept")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N")
    parser.add_argument("--num-workers", type=int, default=2, metavar="N")
    parser.add_argument("--peer-rates", type=float, nargs="+", default=[1e-4], help="its learning rates")
    parser.add_argument("--threads", type=int, metavar="N", help="of each framework; default: its own choice")
    parser.add_argument("--classed", type=int, default=600, metavar="N", help="galaxies of the whole command")
    parser.add_argument("--voted", type=int, default=400, metavar="N", help="likewise, with votes on a tree")
    parser.add_argument("--command-only", action="store_true", help="measure the whole command alone")
    parser.add_argument("--turns", type=int, default=3, help="runs of each, taken in turns")
    parser.add_argument("--beside", help="what else ran on the machine, for the record")
    parser.add_argument("--quick", action="store_true", help="few galaxies, one turn: shows that it runs")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    if options.quick:
        options.train, options.val, options.epochs, options.turns = 24, 16, 2, 1
        options.classed = options.voted = 40
    options.slow_epochs = options.slow_epochs or options.epochs
    if options.threads:
        for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
            os.environ[variable] = str(options.threads)
    return options


def prepare_galaxies(options: argparse.Namespace, folder: Path) -> None:
    """Write train.csv and val.csv, drawn from the catalog, or simulated."""
    wanted, label = options.train + options.val, options.label
    if options.catalog is None:
        path, label = simulate_survey(folder / "survey", n_galaxies=wanted, seed=0), "ring"
    else:
        path = options.catalog
    galaxies = read_catalog(path, label_cols=[label])
    table = pd.DataFrame(
        {"id_str": galaxies.ids, "file_loc": galaxies.paths, "label": galaxies.labels[:, 0].astype(int)}
    )
    table = table.sample(wanted, random_state=0)
    table[: options.train].to_csv(folder / "train.csv", index=False)
    table[options.train :].to_csv(folder / "val.csv", index=False)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Each way to finetune, in turns; and the encoder's share of a deep step."""
    words = [str(options.image_size), str(options.batch_size), str(options.num_workers)]
    here = Path(__file__).parent
    with ExitStack() as stack:
        arguments = [options.backend, str(folder), options.encoder, *words]
        ours = stack.enter_context(timing.Worker(sys.executable, here / "finetune_worker.py", arguments)).ask
        slow = {"epochs": options.slow_epochs}
        ways: dict[str, dict[str, Any]] = {
            HEAD: {"epochs": options.epochs},
            "zoobot, head, encoded in every epoch": {**slow, "cache_features": False},
            STAGE_ANEW: {**slow, "n_blocks": 1},
            STAGE: {
                "epochs": options.epochs,
                "n_blocks": 1,
                "activation_views": options.views,
            },
        }
        asked = dict.fromkeys(ways, ours)
        if options.peer_python:
            arguments = [str(folder), ours("checkpoint"), *words]
            peer = stack.enter_context(
                timing.Worker(options.peer_python, here / "peer_finetune.py", arguments)
            ).ask
            for rate in options.peer_rates:
                name = f"{PEER_HEAD}, learning rate {rate:g}"
                ways[name], asked[name] = {**slow, "learning_rate": rate}, peer
        # the first epoch of a process also imports and allocates
        for name, settings in () if options.quick else ways.items():
            asked[name]("finetune", **{**settings, "epochs": 1})
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for _ in range(options.turns):
            for name, settings in ways.items():
                runs[name].append(asked[name]("finetune", **settings))
        limits = {HEAD: limit_of_head(options, ours), STAGE: limit_of_stage(options, ours)}
        return {"runs": runs, "limits": limits, "deep_step": measure_deep_step(options, ours)}


def measure_command(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """CPU seconds of processes: importing the engine, and `zoobot finetune`, by threads and by task."""
    catalogs = write_labelled(options, folder)
    finetune = [sys.executable, "-m", "zoobot", "finetune", "--backend", options.backend, "--no-progress"]
    if options.quick:  # else as a user types it, who leaves both to Zoobot
        finetune += ["--encoder", options.encoder, "--image-size-pix", str(options.image_size)]
    finetune += ["--accelerator", "cpu", "--overwrite", "--save-dir", str(folder / "run"), "--catalog"]
    commands = {
        "import": [sys.executable, "-c", f"import zoobot.{options.backend}.finetune"],
        "classes": [*finetune, str(catalogs["classes"]), "--labels", "kind"],
        "tree": [*finetune, str(catalogs["tree"]), "--task", "tree", "--schema", "gz2"],
    }
    taken: dict[str, dict[str, list[float]]] = {}
    for _ in range(options.turns):
        for threads in ("default",) if options.quick else ("one", "default"):
            for name, command in commands.items():
                spent = cpu_of(command, threads=threads)
                taken.setdefault(threads, {}).setdefault(name, []).append(spent)
    return {
        threads: {name: statistics.median(samples) for name, samples in of.items()}
        for threads, of in taken.items()
    }


def write_labelled(options: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Simulated galaxies in five classes (by how bright they look), and with invented votes on GZ2's tree."""
    number = max(options.classed, options.voted)
    survey = simulate_survey(folder / "labelled", n_galaxies=number, seed=1)
    table = pd.read_csv(survey, dtype={"id_str": str})
    table["file_loc"] = [str(survey.parent / name) for name in table["file_loc"]]
    classed = table[["id_str", "file_loc"]].assign(kind=pd.qcut(table["magnitude"], 5, labels=list("abcde")))
    columns = schemas.get("gz2").label_cols
    votes = np.random.default_rng(0).poisson(6, (number, len(columns)))
    voted = pd.concat([table[["id_str", "file_loc"]], pd.DataFrame(votes, columns=columns)], axis=1)
    paths = {"classes": folder / "classes.csv", "tree": folder / "tree.csv"}
    classed[: options.classed].to_csv(paths["classes"], index=False)
    voted[: options.voted].to_csv(paths["tree"], index=False)
    return paths


def cpu_of(command: list[str], *, threads: str) -> float:
    """CPU seconds of a process and its children: of all their threads, in user and system."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    if threads == "one":
        environment |= dict.fromkeys(names, "1")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def limit_of_head(options: argparse.Namespace, ours: Any) -> dict[str, float]:
    """Seconds of the encoder alone, over every galaxy once."""
    batches = (options.train + options.val) / options.batch_size
    return {"wall_s": batches * middle_seconds(ours("frozen_steps", repeats=6))}


def limit_of_stage(options: argparse.Namespace, ours: Any) -> dict[str, float]:
    """Seconds of the frozen part, over every view once, and of the top block's steps."""
    settings = {"n_blocks": 1, "activation_views": options.views}
    views = (options.views * options.train + options.val) / options.batch_size
    steps = options.epochs * options.train / options.batch_size
    frozen = views * middle_seconds(ours("frozen_steps", repeats=6, **settings))
    return {"wall_s": frozen + steps * middle_seconds(ours("learning_steps", repeats=6, **settings))}


def middle_seconds(samples: timing.Samples) -> float:
    """The median by the clock, but for the first, which allocates and compiles."""
    return statistics.median(wall for wall, _ in samples[1:]) / 1e3


def measure_deep_step(options: argparse.Namespace, ours: Any) -> dict[str, float]:
    """CPU milliseconds of a step of `fit` in which all blocks learn, and of the encoder's share alone."""
    steps = -(-options.train // options.batch_size)
    fits, encoders = [], []
    for _ in range(options.turns):
        encoders += [cpu for _, cpu in ours("encoder_steps", repeats=5)[1:]]
        one, two = (ours("finetune", epochs=n, n_blocks="all", val_galaxies=8)["cpu_s"] for n in (1, 2))
        fits.append(1e3 * (two - one) / steps)
    fit, encoder = statistics.median(fits), statistics.median(encoders)
    return {"fit_cpu_ms": fit, "encoder_cpu_ms": encoder, "share": encoder / fit}


def report(options: argparse.Namespace, results: dict[str, Any]) -> None:
    if "runs" in results:
        report_runs(options, results)
    command = results["command"]
    print("| the whole command | CPU s | × importing the engine | default threads × one |\n|---|---|---|---|")
    for name, spent in command["default"].items():
        ratio = f"{spent / command['one'][name]:.2f}" if "one" in command else "-"
        print(f"| {name} | {spent:.1f} | {spent / command['default']['import']:.1f} | {ratio} |")


def report_runs(options: argparse.Namespace, results: dict[str, Any]) -> None:
    print(f"{options.train} galaxies, {options.epochs} epochs, {options.encoder} at {options.image_size} px")
    print(
        "| finetuning | s | min to max | CPU s | × slower than once | accuracy |\n|---|---|---|---|---|---|"
    )
    once = None
    for name, runs in results["runs"].items():
        factor = options.epochs / runs[0]["epochs"]
        wall = sorted(run["wall_s"] * factor for run in runs)
        cpu = sorted(run["cpu_s"] * factor for run in runs)
        middle = wall[len(wall) // 2]
        once = once or middle
        mark = "" if factor == 1 else f" (from {runs[0]['epochs']} epochs)"
        print(
            f"| {name}{mark} | {middle:.1f} | {wall[0]:.1f} to {wall[-1]:.1f} | {cpu[len(cpu) // 2]:.1f} "
            f"| {middle / once:.1f} | {runs[-1]['accuracy']:.3f} |"
        )
    for name, limit in results["limits"].items():
        print(f"the network's part of {name!r} alone: {limit['wall_s']:.1f} s")
    deep = results["deep_step"]
    print(
        f"a step of all blocks in fit, from files: {deep['fit_cpu_ms']:.0f} CPU ms; "
        f"the encoder's forward and backward: {deep['encoder_cpu_ms']:.0f} ({deep['share']:.0%})"
    )


if __name__ == "__main__":
    main()
