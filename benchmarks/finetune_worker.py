"""Our side of bench_finetune.py, in a process of its own.

    python finetune_worker.py ENGINE FOLDER ENCODER IMAGE_SIZE BATCH_SIZE NUM_WORKERS

Answers, through `timing.serve`, how long it takes to finetune a classifier, and how many it then gets right.
FOLDER holds train.csv and val.csv, with the column `label`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timing
from engine_memory import as_the_engine_works

from zoobot.shared.catalog import read_catalog
from zoobot.shared.engine import load_engine
from zoobot.shared.loader import GalaxyLoader


class FinetuneWork:
    """The same labels and encoder, finetuned in several ways."""

    def __init__(
        self, name: str, folder: Path, encoder: str, size: int, batch_size: int, num_workers: int
    ) -> None:
        self.name, self.engine, self.folder, self.encoder = name, load_engine(name), folder, encoder
        self.pixels = {"image_size_pix": size}
        self.loading = {"batch_size": batch_size, "num_workers": num_workers}
        self.labels = pd.read_csv(folder / "val.csv")["label"].to_numpy()
        self.num_classes = int(max(self.labels.max(), pd.read_csv(folder / "train.csv")["label"].max())) + 1

    def checkpoint(self) -> str:
        """A folder with the untouched model, whose encoder timm can load."""
        folder = Path(tempfile.mkdtemp(prefix="bench-finetune-")) / "checkpoint"
        return str(self.engine.checkpoint.save(self._model(), folder))

    def finetune(self, epochs: int, val_galaxies: int | None = None, **settings: Any) -> dict[str, float]:
        """Seconds of one `fit`, and the share of the validation galaxies that it then gets right."""
        model = self._model(**settings)
        galaxies = self.engine.data.GalaxyDataModule(
            train_catalog=self.folder / "train.csv",
            val_catalog=pd.read_csv(self.folder / "val.csv").head(val_galaxies or len(self.labels)),
            label_cols=["label"],
            **self.loading,
        )
        with tempfile.TemporaryDirectory() as folder:
            trainer = self.engine.finetune.get_trainer(
                folder, max_epochs=epochs, patience=epochs, progress=False, accelerator="cpu"
            )
            wall, cpu = time.perf_counter(), time.process_time()
            trainer.fit(model, galaxies)
            taken = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        return {**taken, "epochs": epochs, "accuracy": self._accuracy(model)}

    def encoder_steps(self, repeats: int) -> timing.Samples:
        """The encoder's forward and backward alone, on a batch of training images in memory."""
        model = self._model(n_blocks="all")
        step = ENCODER_STEPS[self.name](model, self._images(model))
        with as_the_engine_works(self.name):
            return timing.take_samples(step, repeats)

    def frozen_steps(self, repeats: int, **settings: Any) -> timing.Samples:
        """The frozen part of the encoder alone, on a batch of images in memory."""
        model = self._model(**settings)
        frozen, images = model.frozen_part(), self._images(model)
        with as_the_engine_works(self.name):
            return timing.take_samples(lambda: frozen.encode(images), repeats)

    def learning_steps(self, repeats: int, **settings: Any) -> timing.Samples:
        """The forward and backward of the part that learns alone, on a batch of what enters it."""
        model = self._model(**settings)
        activations = model.frozen_part().encode(self._images(model))
        step = ENCODER_STEPS[self.name](model, activations)
        with as_the_engine_works(self.name):
            return timing.take_samples(step, repeats)

    def _images(self, model: Any) -> np.ndarray:
        """A batch of the training galaxies."""
        loader = GalaxyLoader(read_catalog(self.folder / "train.csv"), model.preprocessing, **self.loading)
        return next(iter(loader)).images

    def _model(self, **settings: Any) -> Any:
        return self.engine.finetune.FinetuneableZoobotClassifier(
            num_classes=self.num_classes, name=self.encoder, preprocessing=self.pixels, **settings
        )

    def _accuracy(self, model: Any) -> float:
        table = self.engine.predict.predict(
            self.folder / "val.csv", model, progress=False, **self.loading
        ).table
        return float(np.mean(table.iloc[:, 1:].to_numpy().argmax(axis=1) == self.labels))


def pytorch_encoder_step(model: Any, images: np.ndarray) -> Any:
    import torch

    from zoobot.pytorch.data import network_input

    model.train()
    pixels = network_input(torch.from_numpy(images))

    def step() -> None:
        model.zero_grad()
        model.features(pixels).sum().backward()

    return step


def tensorflow_encoder_step(model: Any, images: np.ndarray) -> Any:
    import tensorflow as tf

    pixels = tf.constant(images)

    @tf.function
    def gradients() -> Any:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model.features(pixels, training=True))
        return tape.gradient(total, model.encoder.trainable_variables)

    def step() -> None:
        gradients()[0].numpy()

    return step


ENCODER_STEPS = {"pytorch": pytorch_encoder_step, "tensorflow": tensorflow_encoder_step}


def main() -> None:
    name, folder, encoder, size, batch_size, num_workers = sys.argv[1:7]
    work = FinetuneWork(name, Path(folder), encoder, int(size), int(batch_size), int(num_workers))
    handlers = (work.checkpoint, work.finetune, work.encoder_steps, work.frozen_steps, work.learning_steps)
    timing.serve({handler.__name__: handler for handler in handlers})


if __name__ == "__main__":
    main()
