r"""Finetune on real galaxies, from galaxies, ImageNet and nothing, and score on galaxies kept aside.

    python benchmarks/bench_galaxies.py --data DATA --json benchmarks/results/galaxies.json
    python benchmarks/bench_galaxies.py --data DATA --encoders galaxies --seeds 1 2 3 --backend tensorflow \
        --json benchmarks/results/galaxies_tensorflow.json

DATA is a folder of labelled surveys: see benchmarks/README.md for what is in it and how to get such data.
Each task trains on galaxies whose `split` is train, a tenth of which choose the best epoch, and is scored on
those whose `split` is val, which training never sees. "galaxies" learns a head on zoobot-mini, "imagenet" one
on ImageNet's weights; "scratch" trains everything from random weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from galaxy_tasks import TASKS, make_model, score_predictions
from timing import write_record

from zoobot.shared.engine import engine_names, load_engine

ENCODERS = {"galaxies": "zoobot-mini", "imagenet": "imagenet-lite0", "scratch": "tf_efficientnet_lite0"}
#: The head alone learns, on features encoded once.
SETTINGS = {
    "n_blocks": 0,
    "learning_rate": 1e-3,
    "lr_decay": 0.8,
    "dropout_prob": 0.2,
    "weight_decay": 0.05,
}
SCRATCH = {"n_blocks": "all", "lr_decay": 1.0}
SCRATCH_EPOCHS = {"rings": 15, "classes": 3, "t_type": 6, "votes": 6}
PACKAGES = ("torch", "timm", "pytorch-lightning", "tensorflow", "keras", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled surveys")
    parser.add_argument("--tasks", nargs="+", choices=sorted(TASKS), default=list(TASKS))
    parser.add_argument("--encoders", nargs="+", choices=list(ENCODERS), default=list(ENCODERS))
    parser.add_argument("--keep", type=Path, help="keep each run's folder below this one")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    parser.add_argument("--backend", choices=engine_names(), default="pytorch")
    parser.add_argument("--quick", action="store_true", help="one epoch of 200 galaxies: does it run at all?")
    parser.add_argument("--json", type=Path, help="write the figures there; runs that are there are kept")
    args = parser.parse_args()
    runs = json.loads(args.json.read_text())["results"] if args.json and args.json.exists() else []
    known = {(r["task"], r["encoder"], r["seed"], r["backend"]) for r in runs}
    for name in args.tasks:
        for encoder in args.encoders:
            for seed in args.seeds:
                if (name, encoder, seed, args.backend) in known:
                    continue
                run = run_task(name, encoder, seed, args)
                runs.append(run)
                print(json.dumps(run), flush=True)
                if args.json:
                    settings = {"settings": SETTINGS, "backend": args.backend, "quick": args.quick}
                    write_record(args.json, "galaxies", settings, runs, *PACKAGES)
    print(markdown_table(runs))


def run_task(name: str, encoder: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One finetuning run, scored."""
    engine = load_engine(args.backend)
    task = dataclasses.replace(TASKS[name], max_epochs=1) if args.quick else TASKS[name]
    galaxies = task.read(args.data)
    if args.quick:
        galaxies = {
            part: catalog.select(range(200 if part == "train" else 40)) for part, catalog in galaxies.items()
        }
    data = engine.data.GalaxyDataModule(
        train_catalog=galaxies["train"],
        test_catalog=galaxies["val"],
        val_fraction=0.1,
        batch_size=task.batch_size,
        seed=seed,
    )
    options = SETTINGS | (SCRATCH if encoder == "scratch" else {})
    model = make_model(engine, task, args.data, name=ENCODERS[encoder], seed=seed, **options)
    temporary = Path(tempfile.mkdtemp(prefix="bench-galaxies-"))
    folder = args.keep / f"{name}-{encoder}-{seed}" if args.keep else temporary
    started = time.perf_counter()
    epochs = SCRATCH_EPOCHS[name] if encoder == "scratch" and not args.quick else task.max_epochs
    trainer = engine.finetune.get_trainer(folder, max_epochs=epochs, patience=epochs, progress=False)
    trainer.fit(model, data)
    seconds = time.perf_counter() - started
    table = engine.predict.predict(galaxies["val"], model, progress=False).table
    shutil.rmtree(temporary)
    scores = score_predictions(task, model, table.iloc[:, 1:].to_numpy(), galaxies["val"].labels)
    return {
        "task": name,
        "encoder": encoder,
        "seed": seed,
        "backend": args.backend,
        "train_galaxies": len(galaxies["train"]),
        "scored_galaxies": len(table),
        "seconds": round(seconds, 1),
        "score": task.score,
        "value": round(scores[task.score], 4),
        "floor": task.floor,
        "scores": {key: round(float(value), 4) for key, value in scores.items()},
    }


def markdown_table(runs: list[dict[str, Any]]) -> str:
    """A row for each task and score that has a floor; a column for each encoder; mean over seeds."""
    encoders = list(dict.fromkeys(run["encoder"] for run in runs))
    lines = [
        f"| task | score | hand-made features | {' | '.join(encoders)} |",
        f"|---|---|---|{'---|' * len(encoders)}",
    ]
    for task in dict.fromkeys(run["task"] for run in runs):
        for score, floor in TASKS[task].floor.items():
            cells = []
            for encoder in encoders:
                values = [r["scores"][score] for r in runs if (r["task"], r["encoder"]) == (task, encoder)]
                cells.append(f"{sum(values) / len(values):.3f}")
            lines.append(f"| {task} | {score} | {floor} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
