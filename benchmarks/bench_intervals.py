"""Do intervals and sets hold the truth as often as they promise, on galaxies that nobody tuned on?

    python benchmarks/bench_intervals.py --data DATA --json benchmarks/results/intervals.json

DATA is a folder of real galaxies as `bench_galaxies.py` takes it. Heads on zoobot-mini's features learn the
T-type of `efigi`, the classes of `gz2_classes`, the rings of `decals_rings` and the votes of `gz2_votes`, as
`zoobot finetune` does: 40 % of the galaxies train, 20 % are the validation galaxies (which fit the
calibration and give the errors), 15 % a set apart, and 25 % are scored. The parts are drawn anew from each
seed, and of few galaxies more often. Beside what is promised stands the coverage with errors of the set
apart, on which nothing else was fitted, and that of adaptive sets of classes, with and without a random step
at their edge.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import timing
from galaxy_tasks import TASKS, GalaxyTask, make_model

from zoobot.certainty.calibration import fit_calibration
from zoobot.certainty.coverage import interval_table
from zoobot.certainty.temperature import fit_temperature
from zoobot.shared.catalog import Catalog, read_catalog
from zoobot.shared.conformal import Conformal, fit_conformal
from zoobot.shared.engine import DEFAULT_ENGINE, ENGINES, Engine, load_engine
from zoobot.shared.schemas import get

MODEL = "zoobot-mini"
LEVELS = (0.68, 0.9, 0.95, 0.99)
#: A smaller set is parted more often, until the galaxies scored from each seed are as those of so many.
ENOUGH = 6000
NAMES = ("t_type", "classes", "rings", "votes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, metavar="FOLDER", help="folder of the real galaxies")
    parser.add_argument("--backend", choices=sorted(ENGINES), default=DEFAULT_ENGINE)
    parser.add_argument("--tasks", nargs="+", choices=NAMES, default=list(NAMES), metavar="TASK")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how often the parts are drawn")
    parser.add_argument("--quick", action="store_true", help="a few galaxies, one seed")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    engine = load_engine(options.backend)
    seeds, most = (1, 160) if options.quick else (options.seeds, None)
    results = {name: measure(engine, TASKS[name], Path(options.data), seeds, most) for name in options.tasks}
    print(table(results))
    if options.json:
        settings = {"model": MODEL, "backend": options.backend, "seeds": seeds, "galaxies": most}
        framework = "torch" if options.backend == "pytorch" else "keras"
        timing.write_record(options.json, "intervals", settings, results, "numpy", framework)


def measure(
    engine: Engine, task: GalaxyTask, data: Path, seeds: int, most: int | None
) -> list[dict[str, Any]]:
    """Coverage and size by seed and level, means over targets, classes or answers by their galaxies."""
    galaxies = read_catalog(data / task.catalog, label_cols=task.labels or tuple(get("gz2_full").label_cols))
    galaxies = galaxies.select(np.random.default_rng(0).permutation(len(galaxies))[:most])
    seeds *= 1 if most else max(1, ENOUGH // (3 * len(galaxies)))
    model = make_model(engine, task, data, name=MODEL, n_blocks=0)
    encoder = engine.encoders.load_encoder(MODEL)
    encoder.preprocessing = model.preprocessing
    found = engine.represent.represent(galaxies, encoder, progress=False)
    labels = labels_of(galaxies, found.ids)
    rows, decay = [], None
    for seed in range(seeds):
        train, val, apart, test = parts(len(labels), seed)
        decay = engine.represent.fit_head(found.features[train], labels[train], model, decay=decay, seed=seed)
        predicted = engine.represent.predict_features(found.features, model)[0].astype(np.float64)
        predicted = calibrated(model.task, predicted, labels, val)
        errors = {
            name: fit_conformal(model.task, predicted[part], labels[part], model.preprocessing)
            for name, part in (("val", val), ("apart", apart))
        }
        rows += scored(model.task, errors, predicted, labels, val, test, seed)
    return rows


def labels_of(galaxies: Catalog, ids: list[str]) -> np.ndarray:
    row = {galaxy: number for number, galaxy in enumerate(galaxies.ids)}
    return np.asarray(galaxies.labels, np.float64)[[row[galaxy] for galaxy in ids]]


def parts(galaxies: int, seed: int) -> list[np.ndarray]:
    """Shares of 40, 20, 15 and 25 percent."""
    order = np.random.default_rng(seed).permutation(galaxies)
    return np.split(order, [galaxies * share // 100 for share in (40, 60, 75)])


def calibrated(task: Any, predicted: np.ndarray, labels: np.ndarray, val: np.ndarray) -> np.ndarray:
    """Predictions, calibrated by the validation galaxies as `zoobot finetune` does."""
    if task.tree is not None:
        return fit_calibration(predicted[val], labels[val], task.tree).apply(predicted)
    if task.num_factors:
        return fit_temperature(task, predicted[val], labels[val]).apply(predicted)
    return predicted


def scored(
    task: Any,
    errors: dict[str, Conformal],
    predicted: np.ndarray,
    labels: np.ndarray,
    val: np.ndarray,
    test: np.ndarray,
    seed: int,
) -> list[dict[str, Any]]:
    """A row for each level."""
    tables = {
        name: interval_table(task, one, predicted[test], labels[test], levels=LEVELS)
        for name, one in errors.items()
    }
    rows = []
    for level in LEVELS:
        row: dict[str, Any] = {"seed": seed, "level": level, "errors": max(errors["val"].n)}
        for name, whole in tables.items():
            one = whole[(whole["level"] == level) & whole["held"].notna()]
            row[f"held_{name}"] = weighted(one["held"], one["n"])
            row[f"size_{name}"] = weighted(one["size"], one["n"])
        at = tables["val"][tables["val"]["level"] == level]
        row["galaxies"] = int(at["n"].max())
        if len(at) > 1:
            often = at[at["n"] >= 100]["held"]
            row["least_held"], row["most_held"] = float(often.min()), float(often.max())
        if task.predicts == "classes":
            row |= adaptive(predicted, labels[:, 0].astype(int), val, test, level, seed)
            sizes = task.intervals(predicted[test], errors["val"].thresholds(level))[1]
            row["least_size"] = int(sizes.min())
        if task.tree is not None:
            beyond = np.full(task.num_outputs, -np.log((1 - level) / 2))
            held = task.judge_intervals(predicted[test], labels[test], beyond)[0]
            often = np.sum(~np.isnan(held), axis=0) >= 100
            shares = [float(np.nanmean(column)) for column in held[:, often].T]
            row["held_dirichlet"] = float(np.nanmean(held))
            row |= {"least_dirichlet": min(shares), "most_dirichlet": max(shares)} if shares else {}
        rows.append(row)
    return rows


def weighted(values: Any, weights: Any) -> float:
    """The mean of these values; NaN of none, where too few galaxies gave errors."""
    return float(np.average(values, weights=weights)) if len(values) else float("nan")


def adaptive(
    predicted: np.ndarray, labels: np.ndarray, val: np.ndarray, test: np.ndarray, level: float, seed: int
) -> dict[str, float]:
    """Coverage and size of sets that add classes, the likeliest first, until they are likely enough.

    References:
        Romano et al. 2020, NeurIPS (arXiv:2006.02544).
    """
    order = np.argsort(-predicted, axis=1)
    ranked = np.take_along_axis(predicted, order, axis=1)
    place = np.argsort(order, axis=1)
    found = {}
    for name, step in (("adaptive", 1.0), ("adaptive_random", None)):
        share = np.random.default_rng(seed).random((len(predicted), 1)) if step is None else step
        reached = np.take_along_axis(np.cumsum(ranked, axis=1) - (1 - share) * ranked, place, axis=1)
        errors = np.sort(reached[val, labels[val]])
        number = int(np.ceil((len(errors) + 1) * level - 1e-9))
        inside = reached[test] <= errors[min(number, len(errors)) - 1]
        found[f"empty_{name}"] = float((~inside.any(axis=1)).mean())
        inside |= place[test] == 0
        found[f"held_{name}"] = float(inside[np.arange(len(test)), labels[test]].mean())
        found[f"size_{name}"] = float(inside.sum(axis=1).mean())
    return found


def by_seed(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The draws in three equal groups: of many galaxies, each seed by itself."""
    groups = min(3, len(rows))
    return [rows[place::groups] for place in range(groups)]


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    lines = ["task      promised   held (each seed)            set apart     size   beside"]
    beside = {"adaptive": "adaptive", "adaptive_random": "adaptive, random", "dirichlet": "Dirichlet"}
    for name, rows in results.items():
        for level in LEVELS:
            some = [row for row in rows if row["level"] == level]
            each = " ".join(f"{np.mean([row['held_val'] for row in draws]):.3f}" for draws in by_seed(some))
            mean = {key: float(np.mean([row[key] for row in some])) for key in some[0]}
            words = []
            for key, told in beside.items():
                if f"held_{key}" in mean:
                    size = f" ({mean[f'size_{key}']:.2f})" if f"size_{key}" in mean else ""
                    words.append(f"{told} {mean[f'held_{key}']:.3f}{size}")
            if "least_held" in mean:
                words.append(f"answers {mean['least_held']:.3f} to {mean['most_held']:.3f}")
            if "least_dirichlet" in mean:
                words.append(f"Dirichlet's {mean['least_dirichlet']:.3f} to {mean['most_dirichlet']:.3f}")
            lines.append(
                f"{name:9} {level:8.2f}   {mean['held_val']:.3f} ({each})   {mean['held_apart']:9.3f}   "
                f"{mean['size_val']:6.3f}   {'; '.join(words)}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
