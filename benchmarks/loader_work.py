"""The work that `bench_loader.py` times: one epoch over the same files, done in several ways."""

from __future__ import annotations

import multiprocessing
import tarfile
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from zoobot.shared.augment import Augmentation, make_view
from zoobot.shared.catalog import read_catalog
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.pixels.picture_formats import decode_jpeg
from zoobot.shared.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from timing import Round, Samples

    from zoobot.shared.catalog import Catalog

__all__ = ["LABEL_COUNT", "make_galaxies", "our_rounds"]

SIDE_PIX = 424
LABEL_COUNT = 34


def make_galaxies(folder: Path, count: int, *, seed: int = 42) -> None:
    """Seeded pictures: an inclined exponential disk, a bulge, neighbours and noise."""
    rng = np.random.default_rng(seed)
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


def our_rounds(
    paths: list[str], batch_size: int, num_workers: int, scratch: Path, stack: ExitStack
) -> dict[str, Round]:
    """Every row of the table but the peer's: what to call it, and how to take its samples."""
    catalog = catalog_of(paths)

    def serve(workers: int, galaxies: Catalog = catalog, **options: Any) -> Callable[[], None]:
        loader = loader_of(galaxies, batch_size, num_workers=workers, **options)
        return lambda: serve_all(loader)

    workers = f"{num_workers} workers"
    work = {
        f"limit: read and decode, {num_workers} threads": in_threads(read_and_decode, paths, num_workers),
        f"training, {workers}": serve(num_workers),
        f"limit: warp alone, {num_workers} threads": warp_alone(paths, num_workers),
        f"training from the cache, {workers}": serve(num_workers, cache_dir=scratch / "cache"),
        f"training from a tar, {workers}": serve(num_workers, catalog_of(in_tar(paths, scratch / "all.tar"))),
        f"training from a zip, {workers}": serve(num_workers, catalog_of(in_zip(paths, scratch / "all.zip"))),
        f"evaluation, {workers}": serve(num_workers, augmentation=None),
        "limit: decode alone, 1 thread": in_threads(decode_jpeg, [Path(p).read_bytes() for p in paths], 1),
        "training, no worker": serve(0),
    }
    rounds = {name: epochs(run, len(paths)) for name, run in work.items()}
    processes = ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn"))
    stack.enter_context(processes)
    rounds[f"training, {num_workers} processes, batches not handed over"] = in_processes(
        processes, paths, batch_size, num_workers
    )
    return rounds


def catalog_of(paths: list[str]) -> Catalog:
    labels = {f"answer_{i}": float(i) for i in range(LABEL_COUNT)}
    table = pd.DataFrame({"id_str": paths, "file_loc": paths, **labels})
    return read_catalog(table, label_cols=list(labels))


def in_tar(paths: list[str], tar_path: Path) -> list[str]:
    """Where the same files lie in a tar of them."""
    with tarfile.open(tar_path, "w") as tar:
        for path in paths:
            tar.add(path, Path(path).name)
    return [f"{tar_path}::{Path(path).name}" for path in paths]


def in_zip(paths: list[str], zip_path: Path) -> list[str]:
    """Where the same files lie in a zip of them, which is not compressed, as JPEGs are already."""
    with zipfile.ZipFile(zip_path, "w", zipfile.ZIP_STORED) as archive:
        for path in paths:
            archive.write(path, Path(path).name)
    return [f"{zip_path}::{Path(path).name}" for path in paths]


def loader_of(catalog: Catalog, batch_size: int, **options: Any) -> GalaxyLoader:
    augmentation = options.setdefault("augmentation", Augmentation())
    return GalaxyLoader(
        catalog, Preprocessing(), batch_size=batch_size, shuffle=augmentation is not None, **options
    )


def serve_all(loader: GalaxyLoader) -> None:
    for _ in loader:
        pass


def read_and_decode(path: str) -> None:
    decode_jpeg(Path(path).read_bytes())


def in_threads(work: Callable[[Any], object], items: list[Any], threads: int) -> Callable[[], None]:
    def run_share(share: int) -> None:
        for item in items[share::threads]:
            work(item)

    def run() -> None:
        with ThreadPoolExecutor(threads) as executor:
            list(executor.map(run_share, range(threads)))

    return run


def warp_alone(paths: list[str], threads: int) -> Callable[[], None]:
    """The views of training from pixels in memory: what is left when decoding costs nothing."""
    images = {path: decode_jpeg(Path(path).read_bytes()) for path in paths}
    record, augmentation = Preprocessing(), Augmentation()

    def warp(path: str) -> None:
        make_view(images[path], record, augmentation, galaxy_id=path)

    run = in_threads(warp, paths, threads)

    def run_on_one_thread_each() -> None:
        cv2.setNumThreads(1)
        run()

    return run_on_one_thread_each


def in_processes(pool: ProcessPoolExecutor, paths: list[str], batch_size: int, count: int) -> Round:
    """Each process serves its shard and keeps the batches: processes at their best, without the hand-over."""

    def run(repeats: int) -> Samples:
        samples = []
        for _ in range(repeats):
            start = time.perf_counter()
            shares = [pool.submit(serve_shard, paths, batch_size, index, count) for index in range(count)]
            cpu = sum(share.result() for share in shares)
            samples.append((1e3 * (time.perf_counter() - start) / len(paths), 1e3 * cpu / len(paths)))
        return samples

    return run


def serve_shard(paths: list[str], batch_size: int, index: int, count: int) -> float:
    """CPU seconds of this process for one epoch of its shard."""
    loader = loader_of(catalog_of(paths), batch_size, num_workers=0, shard=(index, count))
    before = time.process_time()
    serve_all(loader)
    return time.process_time() - before


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
