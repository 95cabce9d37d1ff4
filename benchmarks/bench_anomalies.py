"""Are strange galaxies found, and interesting ones after some ratings, among those of a survey?

    python benchmarks/bench_anomalies.py --work WORK --data DATA --json benchmarks/results/anomalies.json

Rare galaxies are planted among many others, one in a hundred: simulated rings, mergers and artifacts among
simulated smooth galaxies and among ordinary ones of all kinds without them; and, with DATA (see
benchmarks/README.md), real ones among real ones. Features are zoobot-mini's. "Gain" is how many more of them
are in the first 1 % of a ranking than in a random 1 %: 100 if all are. A simulated user rates what a session
asks about, 5 for what is looked for and else 0; a galaxy that was rated is ranked by its rating.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from planted_galaxies import ENCODER, Planted, real_sets, simulated_sets
from timing import write_record

from zoobot.rating.session import RatingSession, predict_ratings
from zoobot.shared.engine import engine_names, load_engine
from zoobot.shared.features.anomalies import score_anomalies

BAR = 10.0
TOP = 0.01
BATCH = 20
MARKS = (20, 40, 60, 100)
#: Ways to tell strange galaxies; the first is the default.
WAYS: dict[str, dict[str, Any]] = {
    "local outlier factor": {},
    "20 components": {"n_components": 20},
    "20 components and neighbours": {"n_components": 20, "neighbours": 20},
    "isolation forest, 20 components": {"method": "isolation-forest", "n_components": 20},
}
STARTS = ("nothing known", "an example known")
PACKAGES = ("torch", "tensorflow", "numpy", "scipy", "scikit-learn")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, help="folder of the labelled surveys; without it, simulated ones"
    )
    parser.add_argument("--work", type=Path, help="folder where images and features are kept for next time")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--backend", choices=engine_names(), default="pytorch")
    parser.add_argument("--compare", choices=engine_names(), help="another engine, whose scores are compared")
    parser.add_argument("--quick", action="store_true", help="few galaxies, one seed: does it run at all?")
    parser.add_argument(
        "--json", type=Path, help="write the figures there; sets that are there already are kept"
    )
    args = parser.parse_args()
    seeds = args.seeds[:1] if args.quick else args.seeds
    marks = MARKS[:2] if args.quick else MARKS
    with tempfile.TemporaryDirectory(prefix="bench-anomalies-") as scratch:
        work = args.work or Path(scratch)
        sets = simulated_sets(work, load_engine(args.backend), quick=args.quick)
        if args.data:
            sets |= real_sets(args.data, work, load_engine(args.backend))
        settings = {"bar": BAR, "top": TOP, "batch": BATCH, "ratings": marks, "seeds": seeds}
        settings |= {"backend": args.backend, "encoder": ENCODER}
        results: dict[str, Any] = {"found": {}}
        if args.json and args.json.exists():
            results = json.loads(args.json.read_text())["results"]
        for name, planted in sets.items():
            if name in results["found"]:
                continue
            results["found"][name] = measure(planted, seeds, marks)
            if args.json:
                write_record(args.json, "anomalies", settings, results, *PACKAGES)
        if args.compare:
            results["engines"] = compare(work, args.backend, args.compare)
            if args.json:
                write_record(args.json, "anomalies", settings, results, *PACKAGES)
    print(markdown_table(results["found"]))


def measure(planted: Planted, seeds: list[int], marks: tuple[int, ...]) -> dict[str, Any]:
    """The gain of each way, and of sessions after so many ratings, for each seed."""
    found: dict[str, Any] = {"strange": {way: [] for way in WAYS}, "rated": {}}
    for seed in seeds:
        galaxies = planted.draw(seed)
        for way, options in WAYS.items():
            scores = score_anomalies(galaxies.ids, galaxies.features, seed=seed, **options)
            found["strange"][way].append(round(gain(scores, galaxies.is_rare), 1))
        with tempfile.TemporaryDirectory() as scratch:
            fresh = Path(scratch) / "fresh"
            session = RatingSession.start(fresh, galaxies.ids, galaxies.features, seed=seed)
            played = {"random galaxies rated": play_at_random(session, galaxies.is_rare, marks, seed)}
            for start, example in zip(STARTS, (None, seed), strict=True):
                session = RatingSession(shutil.copytree(fresh, Path(scratch) / start))
                played[start] = play(session, galaxies.is_rare, marks, example)
        for start, progress in played.items():
            for mark, value in progress.items():
                found["rated"].setdefault(start, {}).setdefault(str(mark), []).append(value)
    drawn = planted.draw(seeds[0])
    return {"galaxies": len(drawn.ids), "planted": int(drawn.is_rare.sum()), **found}


class Progress(NamedTuple):
    """Where a session stands: its gain, and the share of the rare galaxies that were rated."""

    gain: float
    rated: float


def play(
    session: RatingSession, is_rare: np.ndarray, marks: tuple[int, ...], example: int | None
) -> dict[int, Progress]:
    """Rate what the session asks about, after an example if its seed is given."""
    ids = np.array(session.table["id_str"])
    rare = set(ids[is_rare])
    progress: dict[int, Progress] = {}
    if example is not None:
        session.rate({str(np.random.default_rng(example).choice(sorted(rare))): 5})
    for mark in marks:
        while len(session.ratings) < mark:
            asked = session.propose(min(BATCH, mark - len(session.ratings)))["id_str"]
            session.rate({galaxy: 5 * (galaxy in rare) for galaxy in asked})
        ranking = session.ranking()
        scores = -ranking.set_index("id_str")["rank"][ids].to_numpy()
        rated = len(rare & set(session.ratings)) / len(rare)
        progress[mark] = Progress(round(gain(scores, is_rare), 1), round(rated, 2))
    return progress


def play_at_random(
    session: RatingSession, is_rare: np.ndarray, marks: tuple[int, ...], seed: int
) -> dict[int, Progress]:
    """The same model, after ratings of galaxies drawn at random."""
    order = np.random.default_rng(seed).permutation(len(is_rare))
    progress = {}
    for mark in marks:
        rows = order[:mark]
        ratings = 5.0 * is_rare[rows]
        scores = session.table["anomaly"].to_numpy().copy()
        if len(set(ratings)) > 1:
            scores = predict_ratings(session.reduced, rows, ratings).expected.copy()
        scores[rows] = np.where(is_rare[rows], np.inf, -np.inf)
        progress[mark] = Progress(
            round(gain(scores, is_rare), 1), round(is_rare[rows].sum() / is_rare.sum(), 2)
        )
    return progress


def gain(scores: np.ndarray, is_rare: np.ndarray) -> float:
    """How many times more of the rare galaxies are in the first 1 % than chance has there."""
    first = np.argsort(-scores, kind="stable")[: max(1, round(TOP * len(scores)))]
    return float(is_rare[first].sum() / is_rare.sum() / (len(first) / len(scores)))


def compare(work: Path, one: str, other: str) -> dict[str, float]:
    """How far the scores of two engines lie apart, of the same galaxies."""
    tables = [simulated_sets(work / name, load_engine(name), quick=True) for name in (one, other)]
    found = {}
    first, second = (table["rings, mergers, artifacts among smooth (simulated)"].draw(1) for table in tables)
    found["features"] = float(np.abs(first.features - second.features).max())
    for way, options in WAYS.items():
        scores = [score_anomalies(each.ids, each.features, **options) for each in (first, second)]
        found[way] = float(np.abs(scores[0] - scores[1]).max())
    return found


def markdown_table(found: dict[str, Any]) -> str:
    """A row for each planted set: mean gains, and those after ratings."""
    ways = list(WAYS)
    heads = ["looked for", "galaxies", "planted", *ways]
    rated = [
        f"{start}, {mark} ratings" for start in ("random galaxies rated", *STARTS) for mark in ("40", "100")
    ]
    lines = [f"| {' | '.join([*heads, *rated])} |", "|" + "---|" * (len(heads) + len(rated))]
    for name, one in found.items():
        cells = [name, str(one["galaxies"]), str(one["planted"])]
        cells += [f"{np.mean(one['strange'][way]):.0f}" for way in ways]
        for start in ("random galaxies rated", *STARTS):
            for mark in ("40", "100"):
                values = one["rated"][start].get(mark)
                cells.append("–" if values is None else f"{np.mean([value[0] for value in values]):.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
