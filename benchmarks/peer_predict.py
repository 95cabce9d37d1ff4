"""The public zoobot's prediction, run by the interpreter it is installed in; answers `bench_predict.py`.

    python peer_predict.py CATALOG ENCODER IMAGE_SIZE BATCH_SIZE NUM_WORKERS

Needs, in that interpreter: `pip install zoobot galaxy-datasets lightning timm`. Its own loader, transform and
table; the same architecture, with random weights.
"""

from __future__ import annotations

import contextlib
import logging
import resource
import sys
import tempfile
import warnings
from pathlib import Path

import pandas as pd
import timing

# It prints when imported, and the output stream is for answers.
with contextlib.redirect_stdout(sys.stderr):
    import timm
    import torch
    from galaxy_datasets.transforms import get_galaxy_transform, minimal_view_config
    from zoobot.pytorch.predictions.predict_on_catalog import predict
    from zoobot.pytorch.training.finetune import FinetuneableZoobotClassifier

NUM_OUTPUTS = 34


class PeerPredictions:
    """Its classifier of as many outputs as our tree, predicting the same catalog."""

    def __init__(self, catalog: str, encoder: str, size: int, batch_size: int, num_workers: int) -> None:
        table = pd.read_csv(catalog)
        folder = Path(catalog).parent
        self.catalog = table.assign(file_loc=[str(folder / file) for file in table["file_loc"]])
        self.size, self.batch_size, self.num_workers = size, batch_size, num_workers
        network = timm.create_model(encoder, num_classes=0)
        self.model = FinetuneableZoobotClassifier(encoder=network, num_classes=NUM_OUTPUTS).eval()
        self.save_loc = str(Path(tempfile.mkdtemp(prefix="peer-predict-")) / "predictions.csv")

    def predict(self, repeats: int) -> timing.Samples:
        """Files to table, as its users call it."""
        view = minimal_view_config()
        view.output_size = self.size
        options = {"batch_size": self.batch_size, "num_workers": self.num_workers}
        trainer = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}

        def run() -> None:
            columns = [f"answer_{i}" for i in range(NUM_OUTPUTS)]
            predict(
                self.catalog, self.model, self.save_loc, columns, get_galaxy_transform(view), options, trainer
            )

        return timing.take_samples(run, repeats)

    def bare(self, repeats: int) -> timing.Samples:
        """Its network alone, over as many images in memory."""
        sizes = [self.batch_size] * (len(self.catalog) // self.batch_size)
        sizes += [len(self.catalog) % self.batch_size] if len(self.catalog) % self.batch_size else []
        images = torch.rand(self.batch_size, 3, self.size, self.size)

        @torch.inference_mode()
        def run() -> None:
            self.model.eval()
            for count in sizes:
                self.model(images[:count]).softmax(dim=1).numpy()

        return timing.take_samples(run, repeats)

    def peak_memory(self) -> float:
        """The most memory that this process has held so far, without its workers, in MiB."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    work = PeerPredictions(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
    timing.serve({"predict": work.predict, "bare": work.bare, "peak_memory": work.peak_memory})


if __name__ == "__main__":
    main()
