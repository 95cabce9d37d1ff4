"""The public zoobot's finetuning, run by the interpreter it is installed in; answers `bench_finetune.py`.

    python peer_finetune.py FOLDER CHECKPOINT IMAGE_SIZE BATCH_SIZE NUM_WORKERS

Needs, in that interpreter: `pip install zoobot galaxy-datasets lightning timm`. Its own data module,
transforms, trainer and prediction. The encoder is ours: timm loads its weights from CHECKPOINT; and since the
public zoobot hands on pixels as they are, they are normalised here as the weights need.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import timing

# It prints when imported, and the output stream is for answers.
with contextlib.redirect_stdout(sys.stderr):
    import timm
    from galaxy_datasets.pytorch.galaxy_datamodule import CatalogDataModule
    from galaxy_datasets.transforms import default_view_config, get_galaxy_transform, minimal_view_config
    from torch import nn
    from torchvision.transforms import v2
    from zoobot.pytorch.predictions.predict_on_catalog import predict
    from zoobot.pytorch.training.finetune import FinetuneableZoobotClassifier, get_trainer


class PeerFinetuning:
    """The same labels and encoder, its own way."""

    def __init__(self, folder: str, checkpoint: str, size: int, batch_size: int, num_workers: int) -> None:
        self.checkpoint = checkpoint
        self.loading = {"batch_size": batch_size, "num_workers": num_workers}
        self.catalogs = {part: _read(Path(folder), part) for part in ("train", "val")}
        views = default_view_config(), minimal_view_config()
        for view in views:
            view.output_size = size
        self.train_transform, self.test_transform = map(get_galaxy_transform, views)

    def finetune(self, epochs: int, learning_rate: float) -> dict[str, float]:
        """Seconds of one `fit` of the head, and the share of validation galaxies that it then gets right."""
        labels = self.catalogs["val"]["label"].to_numpy()
        num_classes = int(max(labels.max(), self.catalogs["train"]["label"].max())) + 1
        model = FinetuneableZoobotClassifier(
            num_classes, encoder=self._encoder(), training_mode="head_only", learning_rate=learning_rate
        )
        galaxies = CatalogDataModule(
            label_cols=["label"],
            train_catalog=self.catalogs["train"],
            val_catalog=self.catalogs["val"],
            train_transform=self.train_transform,
            test_transform=self.test_transform,
            **self.loading,
        )
        quiet = {"enable_progress_bar": False, "logger": False, "accelerator": "cpu"}
        with tempfile.TemporaryDirectory() as folder:
            # its trainer watches the learning rate, for which Lightning demands a logger of some kind
            logging_to = {"logger": True, "default_root_dir": folder}
            trainer = get_trainer(folder, max_epochs=epochs, patience=epochs, **quiet | logging_to)
            wall, cpu = time.perf_counter(), time.process_time()
            trainer.fit(model, galaxies)
            taken = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
            columns = [f"class_{i}" for i in range(num_classes)]
            table = predict(
                self.catalogs["val"],
                model,
                f"{folder}/predictions.csv",
                columns,
                self.test_transform,
                self.loading,
                quiet,
            )
        right = np.mean(table[columns].to_numpy().argmax(axis=1) == labels)
        return {**taken, "epochs": epochs, "accuracy": float(right)}

    def _encoder(self) -> nn.Module:
        network = timm.create_model(f"local-dir:{self.checkpoint}", pretrained=True)
        told = json.loads((Path(self.checkpoint) / "config.json").read_text())["zoobot"]["preprocessing"]
        encoder = nn.Sequential(v2.Normalize(told["mean"], told["std"]), network)
        encoder.num_features = network.num_features
        return encoder


def _read(folder: Path, part: str) -> pd.DataFrame:
    table = pd.read_csv(folder / f"{part}.csv")
    return table.assign(file_loc=[str(folder / file) for file in table["file_loc"]])


def main() -> None:
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    work = PeerFinetuning(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
    timing.serve({"finetune": work.finetune})


if __name__ == "__main__":
    main()
