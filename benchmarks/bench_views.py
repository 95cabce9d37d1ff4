"""How much more accurate are several views of each image, and what do they cost?

    python benchmarks/bench_views.py --data DATA --json benchmarks/results/views.json

DATA is a folder of real galaxies as `bench_galaxies.py` takes it. The bundled tree model predicts the
validation galaxies of `gz2_votes` with 1, 2, 4 and 8 views (`zoobot evaluate --views N` does the same): the
score is the Galaxy Challenge's RMSE. Heads on features of 1 and of 8 views learn the rings of `decals_rings`
from half of the galaxies and are scored on the others, in many splits, the same for both.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timing

from zoobot.certainty.tree_scores import CHALLENGE_COLUMNS, challenge_from_concentrations, challenge_rmse
from zoobot.shared.catalog import read_catalog
from zoobot.shared.engine import DEFAULT_ENGINE, ENGINES, Engine, load_engine

MODEL = "zoobot-mini"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, metavar="FOLDER", help="folder of the real galaxies")
    parser.add_argument("--backend", choices=sorted(ENGINES), default=DEFAULT_ENGINE)
    parser.add_argument("--splits", type=int, default=20, metavar="N", help="halves of the ring galaxies")
    parser.add_argument("--quick", action="store_true", help="a few galaxies, one split")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    engine = load_engine(options.backend)
    data = Path(options.data)
    splits, most = (1, 24) if options.quick else (options.splits, None)
    results = {
        "votes": votes(engine, data / "gz2_votes", most),
        "rings": rings(engine, data / "decals_rings", splits, most),
    }
    print(table(results))
    if options.json:
        settings = {"model": MODEL, "backend": options.backend, "splits": splits, "galaxies": most}
        timing.write_record(
            options.json,
            "views",
            settings,
            results,
            "numpy",
            "torch" if options.backend == "pytorch" else "keras",
        )


def votes(engine: Engine, folder: Path, most: int | None) -> list[dict[str, Any]]:
    """The challenge's score and the CPU time with each number of views."""
    model = engine.checkpoint.load(MODEL)
    published = pd.read_csv(folder / "catalog.csv", dtype={"id_str": str})
    published = published[published["split"] == "val"].head(most or len(published))
    galaxies = read_catalog(published, root=folder)
    truth = published.set_index("id_str")[list(CHALLENGE_COLUMNS)]
    engine.predict.predict(galaxies.select(range(4)), model, progress=False)  # what is made once
    found = []
    for views in (1, 2, 4, 8):
        began = time.process_time()
        predicted = engine.predict.predict(galaxies, model, views=views, compile=False, progress=False).table
        seconds = time.process_time() - began
        expected = challenge_from_concentrations(
            predicted[model.task.output_columns].to_numpy(np.float64), model.task.schema
        )
        score = challenge_rmse(expected, truth.loc[predicted["id_str"]].to_numpy())
        found.append(
            {"views": views, "galaxies": len(predicted), "rmse": float(score), "cpu_s": round(seconds, 2)}
        )
    return found


def rings(engine: Engine, folder: Path, splits: int, most: int | None) -> list[dict[str, Any]]:
    """The accuracy of heads on features of one and of eight views."""
    listed = pd.read_csv(folder / "catalog.csv", dtype={"id_str": str}).drop(columns="split")
    listed = listed.sample(frac=1, random_state=0).head(most or len(listed))
    galaxies = read_catalog(listed, root=folder)
    found = []
    for views in (1, 8):
        features = engine.represent.represent(galaxies, MODEL, views=views, progress=False)
        labels = listed.set_index("id_str").loc[features.ids, ["label"]].to_numpy(np.float32)
        model = engine.finetune.FinetuneableZoobotClassifier(name=MODEL, num_classes=2, n_blocks=0)
        accuracies, decay = [], None
        for split in range(splits):
            order = np.random.default_rng(split).permutation(len(labels))
            train, test = np.array_split(order, 2)
            decay = engine.represent.fit_head(
                features.features[train], labels[train], model, decay=decay, seed=split
            )
            predicted = engine.represent.predict_features(features.features[test], model)[0].argmax(axis=1)
            accuracies.append(float((predicted == labels[test, 0]).mean()))
        found.append(
            {
                "views": views,
                "galaxies": len(labels),
                "accuracy": float(np.mean(accuracies)),
                "accuracies": [round(one, 4) for one in accuracies],
            }
        )
    return found


def table(results: dict[str, Any]) -> str:
    lines = ["views   challenge RMSE   beside 1 view   CPU s"]
    first = results["votes"][0]
    for one in results["votes"]:
        gain = one["rmse"] / first["rmse"] - 1
        lines.append(f"{one['views']:5}   {one['rmse']:14.4f}   {gain:13.1%}   {one['cpu_s']:5.1f}")
    lines += ["", "views   accuracy of rings"]
    lines += [f"{one['views']:5}   {one['accuracy']:17.3f}" for one in results["rings"]]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
