r"""Train zoobot-mini, the model that comes with Zoobot: all questions of Galaxy Zoo 2, five classes, EFIGI.

    python benchmarks/train_zoobot_mini.py --data DATA --work runs/mini
    python benchmarks/train_zoobot_mini.py --data DATA --work runs/mini --resume

DATA is a folder of labelled surveys: see benchmarks/README.md. Only galaxies whose `split` is train are
learned from; those of val choose the best epoch. `--work` gets frames, catalog, and the run; the model is in
`run/checkpoint`. `ship_zoobot_mini.py` then makes the bundled files of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mini_galaxies import CROP_FRACTION, NETWORK_SIZE_PIX, mini_schema, prepare

from zoobot.shared.augment import Augmentation
from zoobot.shared.catalog import read_catalog
from zoobot.shared.engine import engine_names, load_engine

MAX_EPOCHS = 11
VALIDATED = ("gz2_votes", "gz2_classes", "efigi")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled surveys")
    parser.add_argument("--work", type=Path, required=True, help="folder for frames, catalog and the run")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was killed")
    parser.add_argument("--epochs", type=int, default=MAX_EPOCHS)
    parser.add_argument("--backend", choices=engine_names(), default="pytorch")
    args = parser.parse_args()
    path = args.work / "catalog.csv"
    if not path.exists():
        prepare(args.data, args.work)
    schema = mini_schema()
    galaxies = read_catalog(path, label_cols=schema.label_cols)
    split, part = galaxies.table["split"].to_numpy(), galaxies.table["set"].to_numpy()
    validated = [name in VALIDATED for name in part] & (split == "val")
    engine = load_engine(args.backend)
    data = engine.data.GalaxyDataModule(
        train_catalog=galaxies.select(split == "train"),
        val_catalog=galaxies.select(validated),
        batch_size=64,
        augmentation=Augmentation(zoom=(0.85, 1.25)),
        num_workers=1,
    )
    model = engine.models.ZoobotTree(
        schema=schema,
        name="imagenet-lite0",
        lr_decay=0.9,
        preprocessing={"image_size_pix": NETWORK_SIZE_PIX, "crop_fraction": CROP_FRACTION},
    )
    trainer = engine.finetune.get_trainer(
        args.work / "run",
        max_epochs=args.epochs,
        patience=args.epochs,
        gradient_clip=20.0,
        ema_decay=0.998,
        progress=False,
    )
    trainer.fit(model, data, ckpt_path="last" if args.resume else None)


if __name__ == "__main__":
    main()
