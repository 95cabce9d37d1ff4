r"""Few labels of a task that the encoder never saw: galaxies of the other tasks against ImageNet.

    python benchmarks/bench_left_out.py --data DATA --work runs/left_out \
        --json benchmarks/results/left_out.json

DATA is a folder of labelled surveys: see benchmarks/README.md. zoobot-mini has learned three of its four
tasks here, which flatters it. So one set after the other is left out, and a model is trained from ImageNet's
weights on what remains, as `train_zoobot_mini.py` begins; heads on its frozen features and on ImageNet's then
learn from a few labels of the set, and are scored on its val galaxies. A training that was killed goes on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

from bench_labels import FROZEN, PACKAGES, finetune_and_score, markdown_table
from galaxy_tasks import TASKS
from mini_galaxies import VOTES, prepare
from timing import write_record
from train_zoobot_mini import STAGES, train

from zoobot.shared.engine import engine_names, load_engine

LEFT_OUT = {"classes": ("gz2_classes",), "t_type": ("efigi",), "votes": tuple(VOTES)}
IMAGENET = "imagenet-lite0"
STAGE = replace(STAGES["coarse"], epochs=4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled surveys")
    parser.add_argument("--work", type=Path, required=True, help="folder for frames, catalog and trainings")
    parser.add_argument("--tasks", nargs="+", choices=list(LEFT_OUT), default=list(LEFT_OUT))
    parser.add_argument("--labels", nargs="+", type=int, default=[64])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--scored", type=int, default=500, help="most val galaxies that are scored")
    parser.add_argument("--epochs", type=int, default=STAGE.epochs, help="of the trainings on the other sets")
    parser.add_argument("--backend", choices=engine_names(), default="pytorch")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    prepare(args.data, args.work)
    engine, runs = load_engine(args.backend), []
    for name in args.tasks:
        folder = f"without_{name}"
        train(engine, replace(STAGE, epochs=args.epochs), args.work, folder, without=LEFT_OUT[name])
        task = replace(
            TASKS[name], preprocessing=TASKS[name].preprocessing | {"image_size_pix": STAGE.image_size_pix}
        )
        places = {"other galaxies": str(args.work / folder / "checkpoint"), "imagenet": IMAGENET}
        for encoder, labels, seed in product(places, args.labels, args.seeds):
            scored = finetune_and_score(
                engine, task, args.data, labels, seed, args.scored, name=places[encoder], **FROZEN
            )
            runs.append({"task": name, "encoder": encoder, "labels": labels, "seed": seed, **scored})
            print(json.dumps(runs[-1]), flush=True)
    if args.json:
        settings = {"epochs": args.epochs, "scored": args.scored, "backend": args.backend}
        write_record(args.json, "left_out", settings, runs, *PACKAGES)
    print(markdown_table(runs, ["other galaxies", "imagenet"], "left out"))


if __name__ == "__main__":
    main()
