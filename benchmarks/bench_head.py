"""Is a head that is found at once as good as one that also took epochs, and how good is either?

    python benchmarks/bench_head.py --data DATA --json benchmarks/results/head.json

DATA is a folder of real galaxies as `bench_galaxies.py` takes it. A classifier's head learns the five classes
of `gz2_classes` on features of the bundled encoder, as `zoobot finetune` does by default (the best head, no
epochs) and with `--max-epochs 50` after that; a fifth of the galaxies validates. Both are scored on the same
other galaxies, by the mean loss and the share of right classes, from several seeds and numbers of galaxies.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timing

from zoobot.shared.catalog import Catalog, read_catalog
from zoobot.shared.engine import DEFAULT_ENGINE, ENGINES, Engine, load_engine

MODEL = "zoobot-mini"
ARMS = {"at once": None, "50 epochs": 50}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, metavar="FOLDER", help="folder of the real galaxies")
    parser.add_argument("--backend", choices=sorted(ENGINES), default=DEFAULT_ENGINE)
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    parser.add_argument("--galaxies", type=int, nargs="+", default=[250, 600, 1500], metavar="N")
    parser.add_argument("--others", type=int, default=1000, metavar="N", help="galaxies that are scored")
    parser.add_argument("--quick", action="store_true", help="a few galaxies, one seed")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.galaxies, options.others = 1, [20], 10
    engine = load_engine(options.backend)
    galaxies = read_catalog(Path(options.data) / "gz2_classes" / "catalog.csv", label_cols=["label"])
    results = [
        compare(engine, galaxies, number, options.others, seed)
        for number in options.galaxies
        for seed in range(options.seeds)
    ]
    print(table(results))
    if options.json:
        settings = {"model": MODEL, "backend": options.backend, "others": options.others}
        framework = "torch" if options.backend == "pytorch" else "keras"
        timing.write_record(options.json, "head", settings, results, "numpy", framework)


def compare(engine: Engine, galaxies: Catalog, number: int, others: int, seed: int) -> dict[str, Any]:
    """Both heads of one draw of galaxies."""
    order = np.random.default_rng(seed).permutation(len(galaxies))
    parts = np.split(order[: number + others], [number // 5, number])
    validation, training, scored = (galaxies.select(np.sort(part)) for part in parts)
    found: dict[str, Any] = {"galaxies": number, "seed": seed}
    for arm, epochs in ARMS.items():
        data = engine.data.GalaxyDataModule(train_catalog=training, val_catalog=validation, seed=seed)
        model = engine.finetune.FinetuneableZoobotClassifier(name=MODEL, num_classes=5, seed=seed)
        with tempfile.TemporaryDirectory(prefix="bench-head-") as folder:
            trainer = engine.finetune.get_trainer(folder, max_epochs=epochs, progress=False)
            began = time.process_time()
            trainer.fit(model, data)
            found[arm] = {"cpu_s": round(time.process_time() - began, 2), **scores(engine, model, scored)}
    return found


def scores(engine: Engine, model: Any, galaxies: Catalog) -> dict[str, float]:
    """The mean loss of galaxies' classes, and the share of them that is right."""
    predicted = engine.predict.predict(galaxies, model, progress=False).table
    probabilities = predicted[model.task.output_columns].to_numpy(np.float64)
    classes = galaxies.labels[:, 0].astype(int)
    of_truth = probabilities[np.arange(len(classes)), classes]
    right = probabilities.argmax(axis=1) == classes
    return {"loss": float(-np.log(of_truth).mean()), "accuracy": float(right.mean())}


def table(results: Sequence[dict[str, Any]]) -> str:
    """The figures as text."""
    lines = ["galaxies  seed  head       loss    accuracy  CPU s"]
    lines += [
        f"{one['galaxies']:8,}  {one['seed']:4}  {arm:9}  {one[arm]['loss']:.4f}  {one[arm]['accuracy']:8.3f}"
        f"  {one[arm]['cpu_s']:5.1f}"
        for one in results
        for arm in ARMS
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
