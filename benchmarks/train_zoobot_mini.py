r"""Train zoobot-mini, the model that comes with Zoobot: all questions of Galaxy Zoo 2, five classes, EFIGI.

    python benchmarks/train_zoobot_mini.py --data DATA --work runs/mini

DATA is a folder of labelled surveys: see benchmarks/README.md. Only galaxies whose `split` is train are
learned from; those of val choose the best epoch. Three trainings, each in a folder of `--work`:

- `coarse`: from ImageNet's weights, at 128 px;
- `fine`: on from `coarse`, at 160 px, some views with another survey's look;
- `taught`: the same with another seed, and with `coarse` as the teacher: what nobody has labelled, it
  answers.

`mean` then holds the mean of the weights of `fine` and `taught`, of which `ship_zoobot_mini.py` makes the
bundled files. A training that was killed goes on, and one that has ended stays: call it again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mini_galaxies import CROP_FRACTION, fill_unasked, mini_schema, prepare

from zoobot.shared.augment import Augmentation
from zoobot.shared.catalog import read_catalog
from zoobot.shared.checkpoint import read_checkpoint, write_checkpoint
from zoobot.shared.engine import Engine, engine_names, load_engine

VALIDATED = ("gz2_votes", "gz2_classes", "efigi")
TEACHER_VIEWS = 4


@dataclass(frozen=True)
class Stage:
    """One training: where it starts, what it learns from, and how."""

    start: str
    image_size_pix: int
    epochs: int
    augmentation: Augmentation
    learning_rate: float
    teacher: str | None = None
    seed: int = 42


LOOKS = Augmentation(zoom=(0.8, 1.3), look_probability=0.3)
STAGES = {
    "coarse": Stage("imagenet-lite0", 128, 11, Augmentation(zoom=(0.85, 1.25)), 1e-3),
    "fine": Stage("coarse", 160, 7, LOOKS, 8e-4, seed=1),
    "taught": Stage("coarse", 160, 6, LOOKS, 8e-4, teacher="coarse", seed=2),
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
    if not (args.work / "catalog.csv").exists():
        prepare(args.data, args.work)
    engine = load_engine(args.backend)
    for name, stage in STAGES.items():
        train(engine, replace(stage, epochs=args.epochs or stage.epochs), args.work, name)
    average([args.work / name / "checkpoint" for name in ("fine", "taught")], args.work / "mean")


def train(engine: Engine, stage: Stage, work: Path, name: str) -> None:
    """One training, from its beginning or from where it stands."""
    labels = work / "catalog.csv" if stage.teacher is None else taught(engine, work, stage.teacher)
    schema = mini_schema()
    galaxies = read_catalog(labels, label_cols=schema.label_cols)
    split, part = galaxies.table["split"].to_numpy(), galaxies.table["set"].to_numpy()
    data = engine.data.GalaxyDataModule(
        train_catalog=galaxies.select(split == "train"),
        val_catalog=galaxies.select([one in VALIDATED for one in part] & (split == "val")),
        batch_size=64,
        augmentation=stage.augmentation,
        num_workers=1,
        seed=stage.seed,
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


def taught(engine: Engine, work: Path, teacher: str) -> Path:
    """The catalog with the teacher's answers where nobody was asked."""
    target = work / f"{teacher}_taught.csv"
    if not target.exists():
        checkpoint = work / teacher / "checkpoint"
        predicted = engine.predict.predict(
            work / "catalog.csv", checkpoint, views=TEACHER_VIEWS, progress=False
        )
        fill_unasked(work / "catalog.csv", predicted.table, target)
    return target


def average(checkpoints: list[Path], target: Path) -> None:
    """Write the mean of the weights of trainings that began at the same weights."""
    models = [read_checkpoint(folder) for folder in checkpoints]
    encoders, heads = ([getattr(m, part) for m in models] for part in ("encoder", "head_tensors"))
    mean = replace(models[0], encoder=_mean(encoders), head_tensors=_mean(heads))
    write_checkpoint(target / "checkpoint", mean)


def _mean(tensors: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {
        name: np.mean([one[name] for one in tensors], axis=0, dtype=np.float64).astype(tensors[0][name].dtype)
        for name in tensors[0]
    }


if __name__ == "__main__":
    main()
