"""How much sooner does a PyTorch network predict on a CPU that keeps the memory of its layers?

    python benchmarks/bench_kept_memory.py --json benchmarks/results/kept_memory.json

Each network predicts random images in a process of its own, with one thread: first as PyTorch by itself does,
then as a run of Zoobot does (`zoobot.pytorch.devices`). Page faults are the pages of memory that the
system handed out, cleared, for a batch.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from contextlib import nullcontext
from typing import Any

import timing

#: Encoder, pixels, batch.
NETWORKS = [
    ("tf_efficientnet_lite0", 128, 32),
    ("tf_efficientnet_lite0", 224, 32),
    ("resnet18", 128, 32),
    ("resnet50", 224, 32),
    ("convnext_atto", 128, 32),
    ("convnext_nano", 224, 32),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9, metavar="N", help="batches of each")
    parser.add_argument("--beside", help="what else ran on the machine, for the record")
    parser.add_argument("--quick", action="store_true", help="the first network alone, one batch")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, size, batch = options.one
        print(json.dumps(measure(name, int(size), int(batch), options.repeats)))
        return
    if options.quick:
        options.repeats = 1
    networks = NETWORKS[:1] if options.quick else NETWORKS
    results = [in_a_process(*network, options.repeats) for network in networks]
    print(table(results))
    if options.json:
        settings = {"repeats": options.repeats, "threads": 1, "also_running": options.beside}
        timing.write_record(options.json, "kept_memory", settings, results, "torch", "timm")


def in_a_process(name: str, size: int, batch: int, repeats: int) -> dict[str, Any]:
    words = [sys.executable, __file__, "--repeats", str(repeats), "--one", name, str(size), str(batch)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(name: str, size: int, batch: int, repeats: int) -> dict[str, Any]:
    """Times and page faults of a batch, with memory asked anew and kept."""
    import torch

    from zoobot.pytorch.devices import kept_memory
    from zoobot.pytorch.encoders import load_encoder

    torch.set_num_threads(1)
    encoder = load_encoder(name, image_size_pix=size).eval()
    images = torch.rand(batch, size, size, 3).permute(0, 3, 1, 2)
    found: dict[str, Any] = {"encoder": name, "image_size": size, "batch_size": batch}
    with torch.inference_mode():
        for way, context in (("asked anew", nullcontext()), ("kept", kept_memory())):
            with context:
                encoder(images)
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                samples = timing.take_samples(lambda: encoder(images), repeats)
                faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
            found[way] = timing.summarise(samples) | {"page_faults": faults / repeats}
    return found


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| network | asked anew, ms an image | kept | times faster | page faults a batch |",
        "|---|---|---|---|---|",
    ]
    for found in results:
        ways = [found[way] for way in ("asked anew", "kept")]
        anew, kept = (way["wall_ms"]["median"] / found["batch_size"] for way in ways)
        faults = ", ".join(f"{way['page_faults']:,.0f}" for way in ways)
        network = f"{found['encoder']}, {found['image_size']} px"
        lines.append(f"| {network} | {anew:.1f} | {kept:.1f} | {anew / kept:.2f} | {faults} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
