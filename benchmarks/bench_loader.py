"""Images per second from JPEG files to network input, and those of the public zoobot in the same run.

    python benchmarks/bench_loader.py --peer-python PEER/bin/python --json benchmarks/results/loader.json

Each turn is one epoch over the same files: 424 px JPEG, randomly warped, to 224 px, in batches of 64. Without
`--data` the files are made here: galaxies with noise, of the size on disk of survey cutouts. The loader is
shared by the engines, so `--backend` only goes into the record.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image
from timing import Worker, interleave, write_record

from zoobot.shared.augment import Augmentation
from zoobot.shared.catalog import read_catalog
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.picture_formats import decode_jpeg
from zoobot.shared.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable

    from timing import Round, Samples

SIDE_PIX = 424
LABEL_COUNT = 34
PEER = "public zoobot, training"


def main() -> None:
    options = parse_options()
    with ExitStack() as stack:
        folder = options.data
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            make_galaxies(folder, options.images)
        paths = sorted(str(path) for path in folder.glob("*.jpg"))
        if not paths:
            msg = f"no .jpg files in {folder}"
            raise SystemExit(msg)
        rounds = our_rounds(paths, options.batch_size, options.num_workers)
        if options.peer_python:
            arguments = [str(folder), str(LABEL_COUNT), str(options.batch_size), str(options.num_workers)]
            script = Path(__file__).with_name("peer_loader.py")
            peer = stack.enter_context(Worker(options.peer_python, script, arguments))
            rounds[PEER] = peer.round("epochs")
        summaries = interleave(rounds, repeats=1, times=options.turns, warmup=1)
    results = {name: per_image(summary) for name, summary in summaries.items()}
    print_table(results, len(paths))
    if options.json:
        settings = {
            "images": len(paths),
            "batch_size": options.batch_size,
            "num_workers": options.num_workers,
            "backend": options.backend,
            "synthetic": options.data is None,
        }
        packages = ("numpy", "opencv-python-headless", "simplejpeg", "pillow")
        write_record(options.json, "loader", settings, results, *packages)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of .jpg files; default: made here, seeded")
    parser.add_argument("--peer-python", help="interpreter that has the public zoobot and galaxy-datasets")
    parser.add_argument("--backend", help="engine to name in the record; the loader is the same for all")
    parser.add_argument("--images", type=int, default=1024, help="images to make")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--num-workers", type=int, default=2)
    parser.add_argument("--turns", type=int, default=7, help="epochs of each, taken in turns")
    parser.add_argument("--quick", action="store_true", help="256 images, 2 turns: shows that it runs")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    if options.quick:
        options.images, options.turns = 256, 2
    return options


def make_galaxies(folder: Path, count: int) -> None:
    """Seeded pictures: an inclined exponential disk, a bulge, neighbours and noise."""
    rng = np.random.default_rng(42)
    y, x = np.mgrid[:SIDE_PIX, :SIDE_PIX].astype(np.float32) - SIDE_PIX / 2
    for i in range(count):
        angle, axis_ratio, scale = rng.uniform(0, np.pi), rng.uniform(0.3, 1), rng.uniform(15, 45)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        light = 150 * np.exp(-np.hypot(along, across / axis_ratio) / scale)
        light += 100 * np.exp(-np.hypot(x, y) / (0.2 * scale))
        for _ in range(8):
            place = rng.uniform(-SIDE_PIX / 2, SIDE_PIX / 2, 2)
            light += rng.uniform(40, 200) * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 8)
        colour = rng.uniform(0.6, 1, 3)
        noisy = 12 + light[..., None] * colour + rng.normal(0, 4, (SIDE_PIX, SIDE_PIX, 1))
        pixels = np.clip(noisy, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:05d}.jpg", quality=80)


def our_rounds(paths: list[str], batch_size: int, num_workers: int) -> dict[str, Round]:
    labels = {f"answer_{i}": float(i) for i in range(LABEL_COUNT)}
    catalog = read_catalog(
        pd.DataFrame({"id_str": paths, "file_loc": paths, **labels}), label_cols=list(labels)
    )
    contents = [Path(path).read_bytes() for path in paths]

    def loader(augmentation: Augmentation | None, workers: int) -> GalaxyLoader:
        return GalaxyLoader(
            catalog,
            Preprocessing(),
            batch_size=batch_size,
            augmentation=augmentation,
            shuffle=augmentation is not None,
            num_workers=workers,
        )

    def decode() -> None:
        for content in contents:
            decode_jpeg(content)

    training, evaluation = loader(Augmentation(), num_workers), loader(None, num_workers)
    return {
        "limit: decode alone, 1 thread": epochs(decode, len(paths)),
        "zoobot, training, no worker": epochs(lambda: serve_all(loader(Augmentation(), 0)), len(paths)),
        f"zoobot, evaluation, {num_workers} workers": epochs(lambda: serve_all(evaluation), len(paths)),
        f"zoobot, training, {num_workers} workers": epochs(lambda: serve_all(training), len(paths)),
    }


def serve_all(loader: GalaxyLoader) -> None:
    for _ in loader:
        pass


def epochs(work: Callable[[], None], images: int) -> Round:
    """A round of epochs, each sampled as (wall, CPU) milliseconds per image."""

    def run(repeats: int) -> Samples:
        samples = []
        for _ in range(repeats):
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            samples.append(
                (1e3 * (time.perf_counter() - wall) / images, 1e3 * (time.process_time() - cpu) / images)
            )
        return samples

    return run


def per_image(summary: dict[str, dict[str, float]]) -> dict[str, float]:
    wall, cpu = summary["wall_ms"], summary["cpu_ms"]
    return {
        "images_per_second": 1e3 / wall["median"],
        "images_per_second_p10": 1e3 / wall["p90"],
        "images_per_second_p90": 1e3 / wall["p10"],
        "cpu_ms_per_image": cpu["median"],
        "turns": wall["repeats"],
    }


def print_table(results: dict[str, dict[str, float]], images: int) -> None:
    peer = results.get(PEER)
    print(f"{images} JPEG files to 224 px, median of {next(iter(results.values()))['turns']} epochs\n")
    print(f"{'':38}{'images/s':>10}{'p10 to p90':>16}{'CPU ms/image':>14}{'× peer':>9}")
    for name, row in results.items():
        ratio = f"{row['images_per_second'] / peer['images_per_second']:9.1f}" if peer else ""
        spread = f"{row['images_per_second_p10']:.0f} to {row['images_per_second_p90']:.0f}"
        print(
            f"{name:38}{row['images_per_second']:10.0f}{spread:>16}{row['cpu_ms_per_image']:14.2f}{ratio:>9}"
        )


if __name__ == "__main__":
    main()
