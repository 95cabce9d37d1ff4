"""Our side of bench_predict.py, in a process of its own, so that threads and memory are its own.

    python predict_worker.py ENGINE CATALOG ENCODER IMAGE_SIZE BATCH_SIZE NUM_WORKERS

Answers, through `timing.serve`, how long each way to predict the catalog takes, and how much memory it took.
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

from zoobot.shared.catalog import read_catalog
from zoobot.shared.engine import load_engine
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.onnx.model import OnnxModel
from zoobot.shared.predicting.run import predict_exported

SCHEMA = "gz_decals_dr5"


class PredictWork:
    """One model, as checkpoint and exported, and one catalog to predict."""

    def __init__(
        self, name: str, catalog: Path, encoder: str, size: int, batch_size: int, num_workers: int
    ) -> None:
        self.name, self.engine, self.catalog = name, load_engine(name), catalog
        self.options: dict[str, Any] = {"batch_size": batch_size, "num_workers": num_workers}
        self.model = self.engine.finetune.FinetuneableZoobotTree(
            schema=SCHEMA, name=encoder, preprocessing={"image_size_pix": size}
        )
        self.folder = Path(tempfile.mkdtemp(prefix="bench-predict-"))
        self._images: list[np.ndarray] = []
        self._exported: OnnxModel | None = None
        self._compiled: Callable[[np.ndarray], object] | None = None

    def bare(self, repeats: int) -> timing.Samples:
        """The network alone, over images in memory: what no prediction run can beat without compiling."""
        forward = FORWARDS[self.name](self.model)
        with as_the_engine_works(self.name):
            return self._loop(forward, repeats)

    def compile(self) -> float:
        """Seconds that compiling takes, one batch included."""
        images = self._in_memory()[0]
        began = time.perf_counter()
        self._compiled = COMPILED[self.name](self.model, images)
        return time.perf_counter() - began

    def bare_compiled(self, repeats: int) -> timing.Samples:
        """The same, compiled before."""
        if self._compiled is None:
            self.compile()
        with as_the_engine_works(self.name):
            return self._loop(self._compiled, repeats)

    def predict(self, repeats: int) -> timing.Samples:
        """Files to table, as a user calls it, but for compiling."""

        def run() -> None:
            save_loc = self.folder / "predictions.parquet"
            self.engine.predict.predict(
                self.catalog, self.model, save_loc=save_loc, compile=False, progress=False, **self.options
            )

        return timing.take_samples(run, repeats)

    def export(self) -> float:
        """Seconds that the export to ONNX takes, with its check."""
        began = time.perf_counter()
        self._exported = OnnxModel(self.engine.checkpoint.export(self.model, self.folder / "model.onnx"))
        return time.perf_counter() - began

    def bare_onnx(self, repeats: int) -> timing.Samples:
        """ONNX Runtime alone, over images in memory."""
        return self._loop(self._exported.predict_images, repeats)  # type: ignore[union-attr]

    def predict_onnx(self, repeats: int) -> timing.Samples:
        """Files to table by ONNX Runtime."""

        def run() -> None:
            save_loc = self.folder / "onnx.parquet"
            predict_exported(self.catalog, self._exported, save_loc=save_loc, progress=False, **self.options)

        return timing.take_samples(run, repeats)

    def peak_memory(self) -> float:
        """The most memory that this process has held so far, in MiB."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)

    def _in_memory(self) -> list[np.ndarray]:
        if not self._images:
            loader = GalaxyLoader(read_catalog(self.catalog), self.model.preprocessing, **self.options)
            self._images = [batch.images for batch in loader]
        return self._images

    def _loop(self, forward: Callable[[np.ndarray], object] | None, repeats: int) -> timing.Samples:
        images = self._in_memory()

        def run() -> None:
            for batch in images:
                forward(batch)  # type: ignore[misc]

        return timing.take_samples(run, repeats)


def pytorch_forward(model: Any) -> Callable[[np.ndarray], object]:
    import torch

    model.eval()
    return lambda images: model.predict_images(torch.from_numpy(images)).numpy()


def tensorflow_forward(model: Any) -> Callable[[np.ndarray], object]:
    return lambda images: model.predict_images(images).numpy()


def pytorch_compiled(model: Any, first: np.ndarray) -> Callable[[np.ndarray], object]:
    """As `predict` compiles it."""
    import torch

    from zoobot.pytorch.predict import _predict_batch

    model.eval()
    _, compile_it = _predict_batch(model, torch.device("cpu"), n_samples=1, dtype=None)
    compiled = compile_it(torch.from_numpy(first))
    return lambda images: compiled(torch.from_numpy(images)).numpy()


def tensorflow_compiled(model: Any, first: np.ndarray) -> Callable[[np.ndarray], object]:
    from zoobot.tensorflow.predict import _predict_batch

    _, compile_it = _predict_batch(model, n_samples=1)
    compiled = compile_it(first)
    return lambda images: compiled(images).numpy()


FORWARDS = {"pytorch": pytorch_forward, "tensorflow": tensorflow_forward}
COMPILED = {"pytorch": pytorch_compiled, "tensorflow": tensorflow_compiled}


def main() -> None:
    name, catalog, encoder, size, batch_size, num_workers = sys.argv[1:7]
    work = PredictWork(name, Path(catalog), encoder, int(size), int(batch_size), int(num_workers))
    handlers = (
        work.bare,
        work.compile,
        work.bare_compiled,
        work.predict,
        work.export,
        work.bare_onnx,
        work.predict_onnx,
        work.peak_memory,
    )
    timing.serve({handler.__name__: handler for handler in handlers})


if __name__ == "__main__":
    main()
