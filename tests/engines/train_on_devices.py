"""A script: train a tree on several devices, of which a framework must know before it starts.

Its argument is a JSON object: engine, devices, the catalog and the run's folder.
"""

import json
import os
import sys

from zoobot.shared.engine import load_engine
from zoobot.shared.schemas import Schema

SCHEMA = Schema.from_pairs(
    {"shape": ["edge-on", "round"], "bar": ["yes", "no"]}, {"bar": "shape_round"}, name="tiny"
)


def main(engine, devices, catalog, run):
    options = {"devices": devices, "num_nodes": 2 if "TF_CONFIG" in os.environ else 1}
    if engine == "pytorch" and devices != 1:
        options["strategy"] = "ddp"
    if engine == "tensorflow" and devices != 1:
        import tensorflow as tf

        logical = [tf.config.LogicalDeviceConfiguration()] * devices
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
    loaded = load_engine(engine)
    trainer = loaded.finetune.get_trainer(
        run,
        max_epochs=3,
        accelerator="cpu",
        progress=False,
        gradient_clip=0.5,
        accumulate_batches=2,
        ema_decay=0.5,
        **options,
    )
    # neither dropout nor batch norm, which see one device's share of a batch
    model = loaded.models.ZoobotTree(
        schema=SCHEMA,
        name="test_convnext",
        preprocessing={"image_size_pix": 32},
        dropout_prob=0.0,
        warmup_epochs=0,
    )
    # 16 galaxies learn, in whole batches, so that the devices' shares make up the batches of one
    galaxies = loaded.data.GalaxyDataModule(catalog, batch_size=8, val_fraction=1 / 3, num_workers=1)
    trainer.fit(model, galaxies)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
