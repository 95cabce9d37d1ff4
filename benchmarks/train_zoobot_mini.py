r"""Train zoobot-mini, the model that comes with Zoobot: all questions of Galaxy Zoo 2, five classes, EFIGI.

    python benchmarks/train_zoobot_mini.py --data DATA --work runs/mini

DATA is a folder of labelled surveys: see benchmarks/README.md. Only galaxies whose `split` is train are
learned from; those of val choose the best epoch. Three trainings, each in a folder of `--work`:

- `coarse`: from ImageNet's weights, at 128 px;
- `fine`: on from `coarse`, at 160 px, some views with another survey's look;
- `further`: the same once more, on from `fine`.

Last, in `settled`, Galaxy Zoo's questions get a new head on the features of `further`, from the one set with
votes whose galaxies were not chosen for what volunteers said: from the others the model had learned that
volunteers agree more than they do.

A training that was killed goes on, and one that has ended stays: call it again. `ship_zoobot_mini.py` then
makes the bundled files of `settled`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mini_galaxies import CROP_FRACTION, UNBIASED_VOTES, mini_schema, prepare

from zoobot.shared import schemas
from zoobot.shared.augment import Augmentation
from zoobot.shared.catalog import read_catalog
from zoobot.shared.checkpoint import read_checkpoint, write_checkpoint
from zoobot.shared.engine import Engine, engine_names, load_engine


@dataclass(frozen=True)
class Stage:
    """One training: where it starts, what it learns from, and how."""

    start: str
    image_size_pix: int
    epochs: int
    augmentation: Augmentation
    learning_rate: float


OTHER_LOOKS = Augmentation(zoom=(0.8, 1.3), look_probability=0.3)
STAGES = {
    "coarse": Stage("imagenet-lite0", 128, 11, Augmentation(zoom=(0.85, 1.25)), 1e-3),
    "fine": Stage("coarse", 160, 7, OTHER_LOOKS, 8e-4),
    "further": Stage("fine", 160, 7, OTHER_LOOKS, 8e-4),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled surveys")
    parser.add_argument("--work", type=Path, required=True, help="folder for frames, catalogs and trainings")
    parser.add_argument("--epochs", type=int, help="of every training, in place of its own number")
    parser.add_argument("--backend", choices=engine_names(), default="pytorch")
    args = parser.parse_args()
    prepare(args.data, args.work)
    engine = load_engine(args.backend)
    for name, stage in STAGES.items():
        train(engine, replace(stage, epochs=args.epochs or stage.epochs), args.work, name)
    if not (args.work / "settled").exists():
        settle(engine, args.work, name)


def train(engine: Engine, stage: Stage, work: Path, name: str, *, without: Sequence[str] = ()) -> None:
    """One training, without some sets, from its beginning or from where it stands."""
    schema = mini_schema()
    galaxies = read_catalog(work / "catalog.csv", label_cols=schema.label_cols)
    galaxies = galaxies.select(~galaxies.table["set"].isin(without).to_numpy())
    split = galaxies.table["split"].to_numpy()
    data = engine.data.GalaxyDataModule(
        train_catalog=galaxies.select(split == "train"),
        val_catalog=galaxies.select(split == "val"),
        batch_size=64,
        augmentation=stage.augmentation,
        num_workers=1,
    )
    model = engine.models.ZoobotTree(
        schema=schema,
        name=str(work / stage.start / "checkpoint") if stage.start in STAGES else stage.start,
        learning_rate=stage.learning_rate,
        lr_decay=0.9,
        preprocessing={"image_size_pix": stage.image_size_pix, "crop_fraction": CROP_FRACTION},
    )
    trainer = engine.finetune.get_trainer(
        work / name,
        max_epochs=stage.epochs,
        patience=stage.epochs,
        gradient_clip=20.0,
        ema_decay=0.998,
        progress=False,
    )
    has_begun = (work / name / "last.ckpt").exists()
    trainer.fit(model, data, ckpt_path="last" if has_begun else None)


def settle(engine: Engine, work: Path, name: str) -> None:
    """What a training made, its answers to Galaxy Zoo's questions learned anew from galaxies nobody chose."""
    galaxies = read_catalog(work / "catalog.csv", label_cols=mini_schema().label_cols)
    wanted = (galaxies.table["split"] == "train") & (galaxies.table["set"] == UNBIASED_VOTES)
    unbiased = galaxies.select(wanted.to_numpy())
    model = engine.checkpoint.load(work / name / "checkpoint")
    features = engine.represent.represent(unbiased, model, max_failures=0, progress=False)
    decay = engine.represent.fit_head(features.features, unbiased.labels, model)
    trained, fitted = read_checkpoint(work / name / "checkpoint"), model.to_neutral()
    answers = len(schemas.get("gz2_full").label_cols)  # they stand first
    tensors = {
        key: np.concatenate([fitted.head_tensors[key][:answers], kept[answers:]])
        for key, kept in trained.head_tensors.items()
    }
    settled = {"set": UNBIASED_VOTES, "galaxies": len(unbiased), "head_decay": decay}
    training = {**trained.training, "settled": settled}
    write_checkpoint(work / "settled", replace(trained, head_tensors=tensors, training=training))


if __name__ == "__main__":
    main()
