"""Images per second from JPEG files to network input, and those of the public zoobot in the same run.

    python benchmarks/bench_loader.py --peer-python PEER/bin/python --json benchmarks/results/loader.json

Each turn is one epoch over the same files: 424 px JPEG, randomly warped, to 224 px, in batches of 64. Without
`--data` the files are made here: galaxies with noise, of the size on disk of survey cutouts. The loader is
shared by the engines, so `--backend` only goes into the record.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from decoding_loss import compare_decoding, print_comparison
from loader_work import LABEL_COUNT, make_galaxies, our_rounds
from timing import Worker, interleave, write_record

PEER = "public zoobot, training"


def main() -> None:
    options = parse_options()
    load_before = os.getloadavg()[0]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = options.data
        if folder is None:
            folder = scratch / "galaxies"
            folder.mkdir()
            make_galaxies(folder, options.images)
        paths = sorted(str(path) for path in folder.glob("*.jpg"))
        if not paths:
            msg = f"no .jpg files in {folder}"
            raise SystemExit(msg)
        rounds = our_rounds(paths, options.batch_size, options.num_workers, scratch, stack)
        if options.peer_python:
            arguments = [str(folder), str(LABEL_COUNT), str(options.batch_size), str(options.num_workers)]
            script = Path(__file__).with_name("peer_loader.py")
            peer = stack.enter_context(Worker(options.peer_python, script, arguments))
            rounds[PEER] = peer.round("epochs")
        summaries = interleave(rounds, repeats=1, times=options.turns, warmup=2)
        decoding = compare_decoding(paths[:256])
    results = {name: per_image(summary) for name, summary in summaries.items()}
    print_table(results, len(paths))
    print_comparison(decoding)
    if options.json:
        settings = {
            "images": len(paths),
            "batch_size": options.batch_size,
            "num_workers": options.num_workers,
            "backend": options.backend,
            "synthetic": options.data is None,
            "load_average_before": load_before,
            "also_running": options.beside,
        }
        packages = ("numpy", "opencv-python-headless", "simplejpeg", "pillow")
        write_record(
            options.json, "loader", settings, {"rows": results, "coarse_decoding": decoding}, *packages
        )


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
    parser.add_argument("--beside", help="what else ran on the machine, for the record")
    parser.add_argument("--quick", action="store_true", help="256 images, 2 turns: shows that it runs")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    if options.quick:
        options.images, options.turns = 256, 2
    return options


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
    heads = f"{'images/s':>10}{'p10 to p90':>16}{'CPU ms/image':>14}{'× peer':>9}{'in CPU':>8}"
    print(f"{'':54}{heads}")
    for name, row in results.items():
        spread = f"{row['images_per_second_p10']:.0f} to {row['images_per_second_p90']:.0f}"
        line = f"{name:54}{row['images_per_second']:10.0f}{spread:>16}{row['cpu_ms_per_image']:14.3f}"
        if peer:
            line += f"{row['images_per_second'] / peer['images_per_second']:9.1f}"
            line += f"{peer['cpu_ms_per_image'] / row['cpu_ms_per_image']:8.1f}"
        print(line)


if __name__ == "__main__":
    main()
