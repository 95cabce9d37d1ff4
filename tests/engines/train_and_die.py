"""A script: train runs that signals end, which a test process had better not get itself.

Its argument is a JSON object: engine, catalog, and for each run its folder and options, how it dies, and
when: at which time the run asks whether it is told to stop, or (SIGKILL) at which checkpoint.
"""

import json
import os
import signal
import sys

from zoobot.shared.engine import load_engine
from zoobot.shared.schemas import Schema
from zoobot.shared.training.steps import SaveTimes

SCHEMA = Schema.from_pairs(
    {"shape": ["edge-on", "round"], "bar": ["yes", "no"]}, {"bar": "shape_round"}, name="tiny"
)
#: 16 galaxies learn in 4 batches, 8 validate in 2.
BATCHES = {"batch_size": 4, "val_fraction": 1 / 3, "num_workers": 1}
SMALL = {"name": "test_resnet", "preprocessing": {"image_size_pix": 32}, "dropout_prob": 0.3}
TOP_BLOCK = {"max_epochs": 2, "accumulate_batches": 2, "ema_decay": 0.5}
HEAD_ALONE = {"max_epochs": 2}


def make_model(engine, kind):
    """A tree whose top block learns, or a classifier's head on features that are encoded once."""
    if kind == "blocks":
        return engine.finetune.FinetuneableZoobotTree(
            schema=SCHEMA, n_blocks=1, learning_rate=1e-3, warmup_epochs=0, **SMALL
        )
    return engine.finetune.FinetuneableZoobotClassifier(
        num_classes=2, label_cols=["edge_on"], learning_rate=1e-2, feature_views=2, **SMALL
    )


def train(engine, catalog, run, kind, **options):
    asked = {"progress": False} | (TOP_BLOCK if kind == "blocks" else HEAD_ALONE) | options
    trainer = engine.finetune.get_trainer(run, accelerator="cpu", **asked)
    galaxies = engine.data.GalaxyDataModule(catalog, **BATCHES)
    trainer.fit(make_model(engine, kind), galaxies, ckpt_path="last" if os.path.exists(run) else None)


def die(name, when):
    """Have the process get a signal at the time `when` something is asked, counted from 1."""
    count = 0
    asked, saved = SaveTimes.is_told_to_stop, SaveTimes.saved

    def hit():
        nonlocal count
        count += 1
        if count == when:
            os.kill(os.getpid(), getattr(signal, name))

    def asked_and_hit(times):
        hit()
        return asked.fget(times)

    def saved_and_hit(times):
        saved(times)
        hit()

    if name == "SIGKILL":
        SaveTimes.saved = saved_and_hit
    else:
        SaveTimes.is_told_to_stop = property(asked_and_hit)
    return asked, saved


def main(engine, catalog, runs):
    loaded = load_engine(engine)
    for run in runs:
        asked, saved = die(run.pop("signal"), run.pop("when"))
        try:
            train(loaded, catalog, **run)
        except SystemExit as ending:
            print(run["run"], ending.code, flush=True)  # noqa: T201  what the test reads
        SaveTimes.is_told_to_stop, SaveTimes.saved = asked, saved


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
