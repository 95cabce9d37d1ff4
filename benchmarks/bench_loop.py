r"""How many labels choosing saves: strategies against random choice, on real galaxies whose labels are known.

    python benchmarks/bench_loop.py --data DATA --json benchmarks/results/loop.json \
        --plot benchmarks/results/loop.png

DATA is a folder of labelled surveys: see benchmarks/README.md. The train galaxies of a set are the pool that
labels are bought from, its val galaxies are scored on. The encoder is ImageNet's: zoobot-mini has seen the
votes and classes of this very pool. Tasks, strategies, scores and rounds were fixed after pilot runs of seeds
1 and 2 on parts of these pools; the figures are those of other seeds, all of them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from galaxy_tasks import TASKS
from timing import write_record

from zoobot import workflow
from zoobot.choosing.label_curves import savings
from zoobot.options import LoopOptions
from zoobot.plots import label_curves, save_figure
from zoobot.shared.engine import engine_names

ENCODER = "imagenet-lite0"
TARGET = 0.65
PACKAGES = ("torch", "timm", "tensorflow", "keras", "numpy", "scipy")


@dataclass(frozen=True)
class Game:
    """One task that strategies play.

    Attributes:
        title: What stands above its panel.
        source: The task of `galaxy_tasks` that has the galaxies and their pixels.
        score: What the curves show.
        strategies: Ways to choose.
        start: Labels before the first round.
        per_round: Labels of each round.
        rounds: How many.
        only: Of classes: the one to find among all others; None tells all apart.
        also: Further scores that are kept and drawn.
    """

    title: str
    source: str
    score: str
    strategies: tuple[str, ...]
    start: int = 50
    per_round: int = 50
    rounds: int = 8
    only: str | None = None
    also: tuple[str, ...] = ()


OF_CLASSES = ("random", "bald", "entropy", "margin", "margin+kmeans++", "kmeans++")

GAMES = {
    "edge_on": Game(
        "edge-on or not (14%)",
        "classes",
        "average_precision",
        ("random", "bald", "margin", "margin+kmeans++", "kmeans++"),
        only="edge-on",
    ),
    "classes": Game("five classes", "classes", "accuracy", OF_CLASSES),
    "t_type": Game("Hubble type", "t_type", "r2", ("random", "variance", "variance+kmeans++", "kmeans++")),
    "votes": Game(
        "votes on GZ2's tree",
        "votes",
        "nll",
        ("random", "bald", "bald+kmeans++", "kmeans++"),
        60,
        60,
        5,
        also=("fraction_rmse",),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled surveys")
    parser.add_argument("--tasks", nargs="+", choices=list(GAMES), default=list(GAMES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[4, 5, 6])
    parser.add_argument("--backend", choices=engine_names(), default="pytorch")
    parser.add_argument("--quick", action="store_true", help="two rounds, one seed: does it run at all?")
    parser.add_argument(
        "--work", type=Path, help="folder where killed runs go on; without it they start over"
    )
    parser.add_argument(
        "--json", type=Path, help="write the figures there; tasks that are there already are kept"
    )
    parser.add_argument("--plot", type=Path, help="draw the curves there")
    args = parser.parse_args()
    results = json.loads(args.json.read_text())["results"] if args.json and args.json.exists() else {}
    with tempfile.TemporaryDirectory(prefix="bench-loop-") as folder:
        for name in args.tasks:
            if name in results:
                continue
            results[name] = play(GAMES[name], args, (args.work or Path(folder)) / name)
            if args.json:
                settings = {
                    "encoder": ENCODER,
                    "target": TARGET,
                    "backend": args.backend,
                    "seeds": args.seeds,
                }
                write_record(args.json, "loop", settings, results, *PACKAGES)
    print(markdown_table(results))
    if args.plot:
        save_figure(label_curves(panels(results)), args.plot)


def panels(results: dict[str, Any]) -> dict[str, tuple[pd.DataFrame, str]]:
    """What the picture shows: the scores of every task."""
    return {
        one["title"] if number == 0 else f"{one['title']}: {score.replace('_', ' ')}": (
            pd.DataFrame(one["curves"]),
            score,
        )
        for one in results.values()
        for number, score in enumerate(one["savings"])
    }


def play(game: Game, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Play all strategies, and keep their curves and what they saved."""
    task = TASKS[game.source]
    options: dict[str, Any] = {
        "simulate": True,
        "backend": args.backend,
        "catalog": args.data / task.catalog,
        "task": task.kind,
        "encoder": ENCODER,
        "held_out": "split=val",
        "strategies": game.strategies,
        "start": game.start,
        "rounds": 2 if args.quick else game.rounds,
        "per_round": game.per_round,
        "seeds": args.seeds[:1] if args.quick else args.seeds,
        "score": game.score,
        "save_dir": folder,
        "progress": False,
        **task.preprocessing,
    }
    if task.kind == "tree":
        options["schema"] = "gz2_full"
    elif game.only is None:
        options["labels"] = ("label_name",) if task.kind == "classification" else task.labels
    else:
        options |= {"labels": ("found",), "class_names": ("other", game.only)}
        options["catalog"] = with_one_class(args.data / task.catalog, game.only, folder)
        options["root"] = (args.data / task.catalog).parent
    scores = (game.score, *game.also)
    curves = played(options, folder)[["strategy", "seed", "labels", "decay", *scores]].round(5)
    return {
        "title": game.title,
        "pool": count(args.data / task.catalog, "train"),
        "scored": count(args.data / task.catalog, "val"),
        "savings": {score: savings(curves, score) for score in scores},
        "curves": curves.to_dict("list"),
    }


def played(options: dict[str, Any], folder: Path) -> pd.DataFrame:
    """The curves, of a run that is there already, finished or not, or of a new one."""
    record = folder / "run.json"
    if record.is_file() and json.loads(record.read_text())["status"] == "finished":
        return pd.read_csv(folder / "curves.csv")
    return workflow.loop(LoopOptions(**options, resume=record.is_file())).curves


def with_one_class(catalog: Path, name: str, folder: Path) -> Path:
    """The table with a column `found`: 1 for one class, 0 for all others."""
    table = pd.read_csv(catalog, dtype={"id_str": str})
    table["found"] = (table["label_name"] == name).astype(int)
    path = folder.with_name(f"{folder.name}.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    return path


def count(catalog: Path, part: str) -> int:
    return int((pd.read_csv(catalog)["split"] == part).sum())


def markdown_table(results: dict[str, Any]) -> str:
    """A row for each task and strategy: its last mean score, and the labels it took for random's."""
    lines = [
        "| task | last mean score | strategy | labels for random's last | share | by seed |",
        "|---|---|---|---|---|---|",
    ]
    for one in results.values():
        for score, strategies in one["savings"].items():
            for name, saving in strategies.items():
                seeds = ", ".join("–" if s is None else f"{s:.0%}" for s in saving["share_by_seed"].values())
                needed = "–" if saving["share"] is None else f"{saving['labels_to_match']:.0f}"
                share = "–" if saving["share"] is None else f"{saving['share']:.0%}"
                cells = [one["title"], f"{score} {saving['final']:.3f}", name, needed, share, seeds]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
