"""Both engines on the same work, in turns: forward, training step, epoch, prediction, import, memory.

    python benchmarks/bench_engines.py --json benchmarks/results/engines.json

A survey is simulated; a tree model is finetuned on its votes and predicts it. Each engine runs in a process
of its own with the threads its framework takes by itself; the processes take turns, so that a machine that
slows down slows both. Times are for one call; the ratio is TensorFlow's median over PyTorch's. An epoch is
from files to metrics, but where only the head learns: that one is from features kept in the first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import timing

from zoobot.shared.engine import ENGINES
from zoobot.simulate.survey import simulate_survey

#: Piece of work → calls in a turn, and turns.
WORK = {"forward": (5, 6), "train_step": (4, 5), "epoch": (2, 2), "predict": (1, 4)}
BASE, OTHER = "pytorch", "tensorflow"


def main() -> None:
    options = parse_options()
    results = []
    with tempfile.TemporaryDirectory(prefix="bench-engines-") as folder:
        survey = simulate_survey(Path(folder) / "survey", n_galaxies=options.galaxies, seed=0).parent
        for encoder in options.encoders:
            for n_blocks in options.n_blocks:
                results.append(compare(options, survey, encoder, n_blocks))
                print(table(results[-1]), flush=True)
    imports = compare_imports(2 if options.quick else 5)
    print(table({"title": "import of data, finetune and predict, in a new process", "times": imports}))
    settings = {key: getattr(options, key) for key in ("galaxies", "image_size", "batch_size", "threads")}
    if options.json:
        results.append({"title": "import", "times": imports})
        timing.write_record(options.json, "engines", settings, results, *ENGINES.values(), "keras", "timm")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    encoders = ["tf_efficientnet_lite0", "resnet18", "convnext_atto"]
    parser.add_argument("--encoders", nargs="+", default=encoders, metavar="NAME")
    parser.add_argument("--n-blocks", nargs="+", default=["all", "0"], metavar="N", help="blocks that learn")
    parser.add_argument("--galaxies", type=int, default=256, metavar="N", help="galaxies of the survey")
    parser.add_argument("--image-size", type=int, default=128, metavar="PIX")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N")
    parser.add_argument("--threads", type=int, metavar="N", help="of each framework; default: its own choice")
    parser.add_argument("--quick", action="store_true", help="one call of each: does it run at all?")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    if options.threads:
        for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
            os.environ[variable] = str(options.threads)
    return options


def compare(options: argparse.Namespace, survey: Path, encoder: str, n_blocks: str) -> dict[str, Any]:
    """The figures of one encoder, for both engines."""
    script = Path(__file__).with_name("engine_worker.py")
    shape = [encoder, n_blocks, str(options.image_size), str(options.batch_size)]
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(timing.Worker(sys.executable, script, [name, str(survey), *shape]))
            for name in ENGINES
        }
        times = {}
        for work, (repeats, turns) in WORK.items():
            rounds = {name: worker.round(work) for name, worker in workers.items()}
            calls = {"repeats": 1, "times": 1} if options.quick else {"repeats": repeats, "times": turns}
            # an epoch is preceded by one that is not counted, each time
            name = "epoch on kept features" if work == "epoch" and n_blocks == "0" else work
            times[name] = timing.interleave(rounds, **calls, warmup=0 if work == "epoch" else 1)
        memory = {name: worker.ask("peak_memory") for name, worker in workers.items()}
    title = f"{encoder}, {n_blocks} blocks learn, {options.image_size} px, batches of {options.batch_size}"
    return {"title": title, "times": times, "peak_memory_mib": memory}


def compare_imports(turns: int) -> dict[str, Any]:
    """How long a new process takes to import an engine, interpreter and all."""

    def importing(name: str) -> timing.Round:
        command = f"from zoobot.{name} import data, finetune, predict"

        def run() -> None:
            subprocess.run([sys.executable, "-c", command], check=True, capture_output=True)

        return lambda repeats: timing.take_samples(run, repeats)

    return {"import": timing.interleave({n: importing(n) for n in ENGINES}, repeats=1, times=turns, warmup=1)}


def table(result: dict[str, Any]) -> str:
    """The figures in Markdown."""
    lines = [
        f"\n{result['title']}",
        f"| work | {BASE}, ms | {OTHER}, ms | ratio |",
        "|---|---|---|---|",
    ]
    for work, taken in result["times"].items():
        base, other = (taken[name]["wall_ms"] for name in (BASE, OTHER))
        cells = [f"{t['median']:.0f} ({t['p10']:.0f} to {t['p90']:.0f})" for t in (base, other)]
        lines.append(f"| {work} | {cells[0]} | {cells[1]} | {other['median'] / base['median']:.2f} |")
    if "peak_memory_mib" in result:
        base, other = (result["peak_memory_mib"][name] for name in (BASE, OTHER))
        lines.append(f"| peak memory, MiB | {base:.0f} | {other:.0f} | {other / base:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
