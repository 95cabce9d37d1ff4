r"""How many labels a task needs: finetune on few and many, from galaxies, from ImageNet, and from nothing.

    python benchmarks/bench_labels.py --data DATA --json benchmarks/results/labels.json \
        --plot benchmarks/results/labels.png

DATA is a folder of labelled surveys: see benchmarks/README.md. Each run takes some of the train galaxies (the
same ones for every encoder), of which a fifth choose the epoch, and is scored on val galaxies. "galaxies"
(zoobot-mini) and "imagenet" train a head on the frozen encoder, "imagenet, all" everything from ImageNet's
weights, and "scratch" everything from random ones.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from galaxy_tasks import TASKS, GalaxyTask, make_model, score_predictions
from timing import write_record

from zoobot.plots.style import ACCENT, GREY, MAIN, new_figure, save_figure, tidy
from zoobot.shared.engine import Engine, engine_names, load_engine

ENCODERS = {
    "galaxies": "zoobot-mini",
    "imagenet": "imagenet-lite0",
    "imagenet, all": "imagenet-lite0",
    "scratch": "tf_efficientnet_lite0",
}
STYLES = {
    "galaxies": (MAIN, "o-"),
    "imagenet": (ACCENT, "o-"),
    "imagenet, all": (ACCENT, "s--"),
    "scratch": (GREY, "o-"),
}
LEARNED = ("rings", "classes", "t_type")
FROZEN = {"n_blocks": 0}
WHOLE = {"n_blocks": "all", "lr_decay": 1.0, "learning_rate": 1e-3, "dropout_prob": 0.2}
SETTINGS = {"galaxies": FROZEN, "imagenet": FROZEN, "imagenet, all": WHOLE, "scratch": WHOLE}
EPOCHS = 20
PACKAGES = ("torch", "timm", "pytorch-lightning", "tensorflow", "keras", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled surveys")
    parser.add_argument("--tasks", nargs="+", choices=LEARNED, default=list(LEARNED))
    parser.add_argument("--encoders", nargs="+", choices=list(ENCODERS), default=list(ENCODERS))
    parser.add_argument("--labels", nargs="+", type=int, default=[16, 64, 256, 1024])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--scored", type=int, default=500, help="most val galaxies that are scored")
    parser.add_argument("--backend", choices=engine_names(), default="pytorch")
    parser.add_argument("--quick", action="store_true", help="16 labels, one seed: does it run at all?")
    parser.add_argument(
        "--json", type=Path, help="write the figures there; runs that are there already are kept"
    )
    parser.add_argument("--plot", type=Path, help="draw the curves there")
    args = parser.parse_args()
    if args.quick:
        args.labels, args.seeds, args.scored = [16], args.seeds[:1], 40
    runs = json.loads(args.json.read_text())["results"] if args.json and args.json.exists() else []
    known = {(r["task"], r["encoder"], r["labels"], r["seed"], r["backend"]) for r in runs}
    for name in args.tasks:
        for encoder in args.encoders:
            for labels in args.labels:
                for seed in args.seeds:
                    if (name, encoder, labels, seed, args.backend) in known:
                        continue
                    runs.append(run(name, encoder, labels, seed, args))
                    print(json.dumps(runs[-1]), flush=True)
                    if args.json:
                        settings = {"frozen": FROZEN, "whole": WHOLE, "epochs": EPOCHS, "scored": args.scored}
                        write_record(args.json, "labels", settings, runs, *PACKAGES)
    print(markdown_table(runs))
    if args.plot:
        draw(runs, args.plot)


def run(name: str, encoder: str, labels: int, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Finetune on so many labels, and score."""
    engine, options = load_engine(args.backend), {"name": ENCODERS[encoder], **SETTINGS[encoder]}
    scored = finetune_and_score(engine, TASKS[name], args.data, labels, seed, args.scored, **options)
    run = {"task": name, "encoder": encoder, "labels": labels, "seed": seed, "backend": args.backend}
    return run | scored


def finetune_and_score(
    engine: Engine, task: GalaxyTask, folder: Path, labels: int, seed: int, most_scored: int, **options: Any
) -> dict[str, Any]:
    """Finetune the model that the options describe on so many labels: its score, and on what it is taken."""
    galaxies = task.read(folder)
    train, val = (
        choose(task, galaxies[part], n, seed) for part, n in (("train", labels), ("val", most_scored))
    )
    model = make_model(engine, task, folder, seed=seed, **options)
    split = "stratified" if task.kind == "classification" else "random"
    data = engine.data.GalaxyDataModule(
        train, label_cols=task.labels or None, batch_size=min(32, max(8, labels // 8)), split=split, seed=seed
    )
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-labels-") as run_folder:
        trainer = engine.finetune.get_trainer(run_folder, max_epochs=EPOCHS, patience=EPOCHS, progress=False)
        trainer.fit(model, data)
    seconds = time.perf_counter() - start
    table = engine.predict.predict(val, model, progress=False).table
    scores = score_predictions(task, model, table.iloc[:, 1:].to_numpy(), val.labels)
    return {
        "used": len(train),
        "image_size_pix": task.preprocessing["image_size_pix"],
        "score": task.score,
        "value": round(float(scores[task.score]), 4),
        "scored": len(val),
        "seconds": round(seconds, 1),
    }


def choose(task: GalaxyTask, galaxies: Any, n: int, seed: int) -> Any:
    """Some of the galaxies; of classes as evenly as there are galaxies, so that few hold all."""
    order = np.random.default_rng(seed).permutation(len(galaxies))
    if task.kind == "classification" and n < len(galaxies):
        classes = galaxies.labels[order, 0]
        place = np.empty(len(order), int)
        for one in np.unique(classes):
            place[classes == one] = np.arange((classes == one).sum())
        order = order[np.argsort(place, kind="stable")]
    return galaxies.select(order[:n])


def means(runs: list[dict[str, Any]], task: str, encoder: str) -> dict[int, list[float]]:
    """The values of all seeds for each number of labels."""
    values: dict[int, list[float]] = {}
    for one in runs:
        if (one["task"], one["encoder"]) == (task, encoder):
            values.setdefault(one["used"], []).append(one["value"])
    return dict(sorted(values.items()))


def markdown_table(
    runs: list[dict[str, Any]], encoders: Iterable[str] = ENCODERS, called: str = "task"
) -> str:
    """A row for each task and number of labels, a column for each encoder: mean, and least to most."""
    encoders = [encoder for encoder in encoders if any(r["encoder"] == encoder for r in runs)]
    lines = [
        f"| {called} | score | labels | {' | '.join(encoders)} |",
        f"|---|---|---|{'---|' * len(encoders)}",
    ]
    for task in dict.fromkeys(r["task"] for r in runs):
        of_encoder = {encoder: means(runs, task, encoder) for encoder in encoders}
        for labels in sorted({n for values in of_encoder.values() for n in values}):
            cells = []
            for encoder in encoders:
                values = of_encoder[encoder].get(labels)
                cells.append(f"{mean(values):.3f} ({min(values):.2f}–{max(values):.2f})" if values else "–")
            lines.append(f"| {task} | {TASKS[task].score} | {labels} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """Score against labels, a panel for each task and a line for each encoder, and the seeds' range."""
    tasks = list(dict.fromkeys(r["task"] for r in runs))
    figure = new_figure(3.4 * len(tasks), 3.0)
    for place, task in enumerate(tasks):
        axes = figure.add_subplot(1, len(tasks), place + 1)
        for encoder in ENCODERS:
            values = means(runs, task, encoder)
            if not values:
                continue
            labels, (colour, line) = list(values), STYLES[encoder]
            axes.plot(
                labels, [mean(v) for v in values.values()], line, color=colour, markersize=4, label=encoder
            )
            spread = [[f(v) for v in values.values()] for f in (min, max)]
            axes.fill_between(labels, *spread, color=colour, alpha=0.15, linewidth=0)
        axes.set_xscale("log", base=2)
        axes.set_xticks(
            ticks := sorted({r["used"] for r in runs if r["task"] == task}), [str(t) for t in ticks]
        )
        tidy(axes, title=task, x="labels", y=TASKS[task].score.replace("r2_T", "R²"))
        if place == 0:
            axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
