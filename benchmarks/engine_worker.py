"""One engine's side of bench_engines.py, in a process of its own, so that memory and imports are its own.

    python engine_worker.py ENGINE SURVEY ENCODER N_BLOCKS IMAGE_SIZE BATCH_SIZE

Answers, through `timing.serve`, how long the engine takes for each piece of work on a simulated survey.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timing
from engine_memory import as_the_engine_works

from zoobot.shared.engine import load_engine

SCHEMA = "gz_decals_dr5"


class EngineWork:
    """The same model, pixels and votes, for one engine."""

    def __init__(
        self, name: str, survey: Path, encoder: str, n_blocks: str, size: int, batch_size: int
    ) -> None:
        self.name, self.engine = name, load_engine(name)
        self.batch_size, self.catalog = batch_size, survey / "catalog.csv"
        self.n_blocks: int | str = n_blocks if n_blocks == "all" else int(n_blocks)
        self.options = {"name": encoder, "preprocessing": {"image_size_pix": size}}
        self.model = self._new_model()
        self.model.meet(self._galaxies())
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
        answers = len(self.model.task.label_cols)
        self.votes = rng.integers(0, 10, (batch_size, answers)).astype(np.float32)
        self._step: Callable[[], object] | None = None

    def forward(self, repeats: int) -> timing.Samples:
        """Predictions of one batch, from uint8 images in memory."""
        predict = FORWARDS[self.name](self.model, self.images)
        with as_the_engine_works(self.name):
            return timing.take_samples(predict, repeats)

    def train_step(self, repeats: int) -> timing.Samples:
        """One step of the optimiser on one batch, from uint8 images in memory."""
        if self._step is None:
            self._step = STEPS[self.name](self.model, self.images, self.votes)
        with as_the_engine_works(self.name):
            return timing.take_samples(self._step, repeats)

    def epoch(self, repeats: int) -> timing.Samples:
        """Finetuning by the epoch as `fit` does it, but for the first, which compiles and encodes.

        From files to metrics; where only the head learns, from the features kept of them.
        """
        wall: list[float] = []
        cpu: list[float] = []

        def note() -> None:
            wall.append(1e3 * time.perf_counter())
            cpu.append(1e3 * time.process_time())

        clock = CLOCKS[self.name](note)
        with tempfile.TemporaryDirectory() as folder:
            trainer = self.engine.finetune.get_trainer(
                folder, max_epochs=repeats + 1, progress=False, callbacks=[clock]
            )
            trainer.fit(self._new_model(), self._galaxies())
        return list(zip(np.diff(wall).tolist(), np.diff(cpu).tolist(), strict=True))

    def predict(self, repeats: int) -> timing.Samples:
        """Predictions over the whole survey, files to table."""

        def run() -> None:
            self.engine.predict.predict(self.catalog, self.model, batch_size=self.batch_size, progress=False)

        return timing.take_samples(run, repeats)

    def peak_memory(self) -> float:
        """The most memory that this process has held so far, in MiB."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)

    def _new_model(self) -> Any:
        return self.engine.finetune.FinetuneableZoobotTree(
            schema=SCHEMA, n_blocks=self.n_blocks, seed=0, **self.options
        )

    def _galaxies(self) -> Any:
        galaxies = self.engine.data.GalaxyDataModule(
            self.catalog, label_cols=self.model.task.label_cols, batch_size=self.batch_size, seed=0
        )
        galaxies.setup("fit")
        return galaxies


def pytorch_forward(model: Any, images: np.ndarray) -> Callable[[], object]:
    import torch

    model.eval()
    tensor = torch.from_numpy(images)
    return lambda: model.predict_images(tensor).numpy()


def tensorflow_forward(model: Any, images: np.ndarray) -> Callable[[], object]:
    return lambda: model.predict_images(images).numpy()


def pytorch_step(model: Any, images: np.ndarray, votes: np.ndarray) -> Callable[[], object]:
    """The model's own step, without Lightning's bookkeeping around it, which is in the epochs."""
    import torch

    from zoobot.pytorch.data import TensorBatch

    ids = [str(number) for number in range(len(images))]
    batch = TensorBatch(torch.from_numpy(images), torch.from_numpy(votes), ids)
    optimizer = torch.optim.AdamW(model._parameter_groups(), lr=model.settings.learning_rate, fused=True)

    def step() -> float:
        model.train()
        optimizer.zero_grad()
        loss = model.training_step(batch, 0)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def tensorflow_step(model: Any, images: np.ndarray, votes: np.ndarray) -> Callable[[], object]:
    import tensorflow as tf

    model.compile()
    planes, targets = tf.constant(images), tf.constant(votes)
    return lambda: model.train_on_batch(planes, targets)


def pytorch_clock(note: Callable[[], None]) -> Any:
    from pytorch_lightning import Callback

    class Clock(Callback):
        def on_train_epoch_end(self, *_: Any) -> None:
            note()

    return Clock()


def tensorflow_clock(note: Callable[[], None]) -> Any:
    import keras

    return keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: note())


FORWARDS = {"pytorch": pytorch_forward, "tensorflow": tensorflow_forward}
STEPS = {"pytorch": pytorch_step, "tensorflow": tensorflow_step}
CLOCKS = {"pytorch": pytorch_clock, "tensorflow": tensorflow_clock}


def main() -> None:
    name, survey, encoder, n_blocks, size, batch_size = sys.argv[1:7]
    work = EngineWork(name, Path(survey), encoder, n_blocks, int(size), int(batch_size))
    handlers = (work.forward, work.train_step, work.epoch, work.predict, work.peak_memory)
    timing.serve({handler.__name__: handler for handler in handlers})


if __name__ == "__main__":
    main()
