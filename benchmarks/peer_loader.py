"""The public zoobot's loader, run by the interpreter it is installed in; answers `bench_loader.py`.

Needs, in that interpreter: `pip install zoobot galaxy-datasets lightning`. Its own data module, its own
training transform (random affine, resize to 224, flips, five erasures), its own torch workers.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import sys
import time
import warnings
from pathlib import Path

import pandas as pd
from timing import serve

# It prints when imported, and the output stream is for answers.
with contextlib.redirect_stdout(sys.stderr):
    from galaxy_datasets.pytorch.galaxy_datamodule import CatalogDataModule


class PeerLoader:
    """One training loader that stays open, its worker processes with it, as over a whole training."""

    def __init__(self, folder: str, label_count: int, batch_size: int, num_workers: int) -> None:
        paths = sorted(str(path) for path in Path(folder).glob("*.jpg"))
        labels = {f"answer_{i}": [float(i)] * len(paths) for i in range(label_count)}
        catalog = pd.DataFrame({"id_str": paths, "file_loc": paths, **labels})
        module = CatalogDataModule(
            label_cols=list(labels),
            train_catalog=catalog,
            val_catalog=catalog,
            batch_size=batch_size,
            num_workers=num_workers,
        )
        module.setup("fit")
        self._loader = module.train_dataloader()

    def epochs(self, repeats: int) -> list[tuple[float, float]]:
        """(wall, CPU) milliseconds per image of each of `repeats` epochs; CPU includes the workers'."""
        samples = []
        for _ in range(repeats):
            wall, cpu, images = time.perf_counter(), _cpu_seconds(), 0
            for batch in self._loader:
                images += len(batch["id_str"])
            samples.append(
                (1e3 * (time.perf_counter() - wall) / images, 1e3 * (_cpu_seconds() - cpu) / images)
            )
        return samples


def _cpu_seconds() -> float:
    children = [child.pid for child in multiprocessing.active_children()]
    return time.process_time() + sum(_cpu_seconds_of(pid) for pid in children if pid is not None)


def _cpu_seconds_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    folder, label_count, batch_size, num_workers = sys.argv[1], *map(int, sys.argv[2:5])
    loader = PeerLoader(folder, label_count, batch_size, num_workers)
    serve({"epochs": loader.epochs})


if __name__ == "__main__":
    main()
