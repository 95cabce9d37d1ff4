"""The work that `bench_gpu.py` times on a GPU: each section gives its rows, as soon as it has them.

A section runs for the seconds that it has. What one row can't do (memory, a compiler) is that row's text, and
the others go on; what raises elsewhere ends the section, and what it found is kept.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from engine_memory import as_the_engine_works

from zoobot.pytorch import checkpoint, finetune, predict
from zoobot.pytorch.data import GalaxyDataModule, network_input
from zoobot.pytorch.devices import best_device, ready_on, true_float32
from zoobot.shared import defaults
from zoobot.shared.augment import Augmentation
from zoobot.shared.catalog import read_catalog
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.models.model_places import bundled_checkpoint
from zoobot.shared.models.weights import largest_difference
from zoobot.shared.preprocessing import Preprocessing

__all__ = ["BOUNDS", "SECTIONS", "Found", "Plan", "describe_device"]

SCHEMA = "gz_decals_dr5"
BUNDLED = "zoobot-mini"

#: How far predictions of each precision may lie from a CPU's in float32, relative where they are above 1.
BOUNDS = {
    "32-true": defaults.AGREEMENT,
    "16-mixed": defaults.AGREEMENT_FLOAT16,
    "bf16-mixed": defaults.AGREEMENT_BFLOAT16,
}
HALVES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}

#: Calls between two waits for the device: seldom enough to cost nothing, often enough to keep to the seconds.
_CALLS_BETWEEN_WAITS = 4
_TURNS = 3

Row = dict[str, Any]
Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """What is measured, with what.

    Args:
        encoders: Networks; the first is the one for the longer rows.
        size_pix: Side of their input.
        batch_size: Galaxies predicted at once.
        train_batch_size: Galaxies learned from at once.
        num_workers: Threads that read.
        files: The pictures.
        seconds: What the section has.
        quick: Whether it only has to show that it runs.
    """

    encoders: list[str]
    size_pix: int
    batch_size: int
    train_batch_size: int
    num_workers: int
    files: list[str]
    seconds: float
    quick: bool = False

    def catalog(self, galaxies: int, of: str = "galaxy") -> pd.DataFrame:
        """So many galaxies over the files that there are, labelled by whether theirs is a large one."""
        sizes = [Path(file).stat().st_size for file in self.files]
        middle = statistics.median(sizes)
        rows = [(i, i % len(self.files)) for i in range(galaxies)]
        return pd.DataFrame(
            {
                "id_str": [f"{of}_{i}" for i, _ in rows],
                "file_loc": [self.files[place] for _, place in rows],
                "label": [int(sizes[place] > middle) for _, place in rows],
            }
        )

    def tree(self, encoder: str) -> Any:
        """A model that predicts votes; its head's weights are drawn, so that galaxies differ."""
        model = finetune.FinetuneableZoobotTree(
            schema=SCHEMA, name=encoder, preprocessing={"image_size_pix": self.size_pix}
        )
        with torch.no_grad():
            model.head.linear.weight.normal_(
                std=model.encoder.num_features**-0.5, generator=torch.Generator().manual_seed(0)
            )
        return model

    def classifier(self, encoder: str, **settings: Any) -> Any:
        """A model that learns the two labels."""
        return finetune.FinetuneableZoobotClassifier(
            name=encoder,
            class_names=["small", "large"],
            label_cols=["label"],
            preprocessing={"image_size_pix": self.size_pix},
            **settings,
        )


@dataclass
class Found:
    """What a section has found so far; `keep` is told at each addition."""

    keep: Callable[[dict[str, Any]], None]
    rows: dict[str, Row]
    broken: list[str]

    def add(self, name: str, row: Row) -> None:
        """One more row."""
        self.rows[name] = row
        self.keep({"rows": self.rows, "broken": self.broken})

    def require(self, what: str, value: float, bound: float) -> None:
        """Write down a bound that is broken; NaN breaks any."""
        if not value <= bound:
            self.broken.append(f"{what}: {value:.2g}, bound {bound:.2g}")
            self.keep({"rows": self.rows, "broken": self.broken})


def describe_device(*, needs_gpu: bool) -> dict[str, Any]:
    """The GPU, or that there is none."""
    device = best_device()
    if device.type != "cuda":
        if needs_gpu:
            msg = "PyTorch finds no GPU here; --quick or --cpu show that the benchmark runs"
            raise RuntimeError(msg)
        return {"device": "cpu", "threads": torch.get_num_threads()}
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": properties.name,
        "memory_gib": properties.total_memory / 2**30,
        "capability": f"{properties.major}.{properties.minor}",
        "bfloat16": torch.cuda.is_bf16_supported(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def in_one_line(error: BaseException) -> str:
    """An error's class and words."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak(device: torch.device) -> None:
    """Begin to look for the most memory."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: torch.device) -> float | None:
    """The most that tensors took on the GPU since."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None


def in_turns(
    found: Found, works: dict[str, Callable[[], object]], galaxies: int, plan: Plan, *, seconds: float
) -> None:
    """Add a row for each piece of work: galaxies a second, median of turns, and the most memory it took."""
    device = best_device()
    ready = {name: work for name, work in works.items() if _warmed_up(found, name, work, device, plan)}
    rates: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(1 if plan.quick else _TURNS):
        for name, work in ready.items():
            rates[name].append(_rate(work, galaxies, seconds / _TURNS / max(1, len(ready)), device))
            middle = statistics.median(rates[name])
            spread = {"lowest": min(rates[name]), "highest": max(rates[name])}
            found.add(name, found.rows[name] | {"galaxies_per_second": middle, **spread})


def _warmed_up(found: Found, name: str, work: Callable[[], object], device: torch.device, plan: Plan) -> bool:
    """Whether the work can be done at all; the first calls choose kernels and compile."""
    forget_peak(device)
    began = time.perf_counter()
    try:
        work()
        wait(device)
        first = time.perf_counter() - began
        for _ in range(0 if plan.quick else 3):
            work()
        wait(device)
    except Exception as error:  # noqa: BLE001  one row less: no memory, no compiler, an unknown operation
        found.add(name, {"failed": in_one_line(error)})
        return False
    found.add(name, {"first_call_s": first, "peak_mib": peak_mib(device)})
    return True


def _rate(work: Callable[[], object], galaxies: int, seconds: float, device: torch.device) -> float:
    wait(device)
    began, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - began < seconds:
        for _ in range(_CALLS_BETWEEN_WAITS):
            work()
        calls += _CALLS_BETWEEN_WAITS
        wait(device)
    return calls * galaxies / (time.perf_counter() - began)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """What a network computes in, by Lightning's name."""
    half = HALVES.get(precision)
    return nullcontext() if half is None else torch.autocast(device.type, dtype=half)


def best_half(device: torch.device) -> str:
    """What training's "auto" is on a GPU."""
    return "bf16-mixed" if device.type != "cuda" or torch.cuda.is_bf16_supported() else "16-mixed"


def some_images(plan: Plan, count: int) -> np.ndarray:
    """A batch as the loader gives it."""
    record = Preprocessing(image_size_pix=plan.size_pix)
    catalog = read_catalog(plan.catalog(count))
    loader = GalaxyLoader(catalog, record, batch_size=count, num_workers=plan.num_workers)
    return next(iter(loader)).images


def compare_precisions(plan: Plan, found: Found) -> None:
    """Each `--precision` of `zoobot predict`, held against float32 on a CPU."""
    galaxies = 4 if plan.quick else 64
    models = {name: plan.tree(name) for name in plan.encoders[:1]}
    if not plan.quick and bundled_checkpoint(BUNDLED):
        models[BUNDLED] = checkpoint.load(BUNDLED)
    for name, model in models.items():
        catalog = plan.catalog(galaxies)
        loader = GalaxyLoader(read_catalog(catalog), model.preprocessing, batch_size=galaxies)
        with ready_on(torch.device("cpu"), model):
            expected = model.predict_images(torch.from_numpy(next(iter(loader)).images))[0].numpy()
        for precision, bound in BOUNDS.items():
            options: dict[str, Any] = {"batch_size": plan.batch_size, "num_workers": plan.num_workers}
            table = predict.predict(
                catalog, model, precision=precision, compile=False, progress=False, **options
            ).table
            got = table.iloc[:, 1:].to_numpy()  # after the ids
            difference = largest_difference(got, expected)
            row = f"{name}, {precision}"
            spread = float(np.ptp(expected, axis=0).max())  # or the comparison would say nothing
            found.add(row, {"largest_difference": difference, "bound": bound, "galaxies_differ_by": spread})
            found.require(f"{row} beside float32 on a CPU", difference, bound)
            if not spread > 1e-3:
                found.require(f"{row}: all galaxies are predicted alike", np.nan, bound)


def time_network(plan: Plan, found: Found) -> None:
    """The network alone, images in the GPU's memory: precisions, and the order of pixels in memory."""
    device = best_device()
    half = best_half(device)
    images = torch.from_numpy(some_images(plan, plan.batch_size)).to(device)
    for encoder in plan.encoders:
        model = plan.tree(encoder).to(device).eval()

        def forward(precision: str, layout: torch.memory_format | None = None, model: Any = model) -> None:
            with torch.inference_mode(), autocast(device, precision):
                pixels = network_input(images)
                if layout is not None:
                    pixels = pixels.contiguous(memory_format=layout)
                model.predict_features(model.features(pixels))

        works = {
            f"{encoder}, float32": strictly(lambda: forward("32-true")),
            f"{encoder}, float32, TF32 allowed": allowing_tf32(lambda: forward("32-true")),
            f"{encoder}, bf16-mixed": lambda: forward("bf16-mixed"),
            f"{encoder}, 16-mixed": lambda: forward("16-mixed"),
        }
        in_turns(found, works, len(images), plan, seconds=plan.seconds / 2 / len(plan.encoders))
        for name, layout in LAYOUTS.items():  # by itself, for it moves the weights
            model.to(memory_format=layout)
            work = {f"{encoder}, {half}, {name}": lambda layout=layout: forward(half, layout)}
            in_turns(found, work, len(images), plan, seconds=plan.seconds / 6 / len(plan.encoders))


LAYOUTS = {"planes": torch.contiguous_format, "channels last": torch.channels_last}


def strictly(work: Callable[[], object]) -> Callable[[], None]:
    """The work, with float32 that is float32."""

    def run() -> None:
        with true_float32():
            work()

    return run


def allowing_tf32(work: Callable[[], object]) -> Callable[[], None]:
    """The work, with products of matrices and convolutions in TF32."""

    def run() -> None:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            work()
        finally:
            torch.set_float32_matmul_precision(before)

    return run


def time_compiled(plan: Plan, found: Found) -> None:
    """The network compiled as `zoobot predict --compile` does it, beside the plain one."""
    device = best_device()
    half = "16-mixed" if device.type == "cuda" else "bf16-mixed"
    images = torch.from_numpy(some_images(plan, plan.batch_size)).to(device)
    began = time.perf_counter()
    for encoder in plan.encoders:
        if found.rows and time.perf_counter() - began > plan.seconds / 2:
            found.add(f"{encoder}, compiled", {"failed": "left out: no time"})
            continue
        model = plan.tree(encoder)
        with ready_on(device, model), compiler_of(plan):
            plain, compile_it = predict._Predictor(half).network(model, 1)
            compare_compiled(plan, found, encoder, plain, compile_it, images)


def compare_compiled(
    plan: Plan, found: Found, encoder: str, plain: Forward, compile_it: Any, images: torch.Tensor
) -> None:
    """The rows of one network; without a compiler the product goes on, and so does this."""
    works: dict[str, Callable[[], object]] = {f"{encoder}, plain": lambda: plain(images)}
    row, taken, difference = f"{encoder}, compiled", 0.0, None
    try:
        began = time.perf_counter()
        compiled = compile_it(images)
        taken = time.perf_counter() - began
        difference = largest_difference(*(f(images).cpu().numpy() for f in (compiled, plain)))
        works[row] = lambda: compiled(images)
    except Exception as error:  # noqa: BLE001
        found.add(row, {"failed": in_one_line(error)})
    in_turns(found, works, len(images), plan, seconds=min(10, plan.seconds / 8))
    if difference is not None:
        found.add(row, found.rows[row] | {"compile_s": taken, "largest_difference": difference})
        found.require(f"{row} beside plain", difference, defaults.AGREEMENT_FLOAT16)


@contextmanager
def compiler_of(plan: Plan) -> Iterator[None]:
    """A quick run traces networks, and has nothing compiled."""
    real = torch.compile
    if plan.quick:
        torch.compile = lambda work, **_: real(work, backend="eager")  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compile = real  # type: ignore[assignment]


def time_steps(plan: Plan, found: Found) -> None:
    """Steps of training the whole network alone, on a batch in the GPU's memory."""
    device = best_device()
    half = best_half(device)
    images = torch.from_numpy(some_images(plan, plan.train_batch_size)).to(device)
    labels = torch.arange(len(images), device=device).remainder(2)[:, None].float()
    for encoder in plan.encoders:
        ways: dict[str, dict[str, Any]] = {
            half: {"precision": half},
            f"{half}, optimiser not fused": {"precision": half, "fused": False},
            f"{half}, planes": {"precision": half, "layout": torch.contiguous_format},
            f"{half}, channels last": {"precision": half, "layout": torch.channels_last},
            "float32": {"precision": "32-true"},
        }
        if encoder == plan.encoders[0]:
            ways[f"{half}, compiled"] = {"precision": half, "compiled": True}
        for way, options in ways.items():  # one at a time, for each has weights and moments of its own
            with compiler_of(plan):
                work = {f"{encoder}, {way}": learner(plan, encoder, images, labels, **options)}
                seconds = 0.5 * plan.seconds / len(ways) / len(plan.encoders)
                in_turns(found, work, len(images), plan, seconds=seconds)


def learner(
    plan: Plan,
    encoder: str,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    precision: str,
    fused: bool = True,
    layout: torch.memory_format | None = None,
    compiled: bool = False,
) -> Callable[[], None]:
    """A step of training: forward, backward, AdamW."""
    device = images.device
    model = plan.classifier(encoder, n_blocks="all").to(device).train()
    if layout is not None:
        model = model.to(memory_format=layout)
    optimizer = torch.optim.AdamW(model._parameter_groups(), lr=1e-5, fused=fused)
    outputs = torch.compile(model.raw_outputs) if compiled else model.raw_outputs

    def step() -> None:
        pixels = network_input(images)
        if layout is not None:
            pixels = pixels.contiguous(memory_format=layout)
        with autocast(device, precision):
            loss = model.galaxy_losses(outputs(pixels), labels).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def time_loader(plan: Plan, found: Found) -> None:
    """Files to batches, by ever more threads: what a GPU can be given to do."""
    record = Preprocessing(image_size_pix=plan.size_pix)
    counts = [1, 2] if plan.quick else sorted({1, 2, 4, 8, plan.num_workers})
    views: dict[str, Augmentation | None] = {"as in training": Augmentation(), "as in prediction": None}
    for name, augmentation in views.items():
        for workers in counts:
            galaxies = len(plan.files) if plan.quick else max(512, 256 * workers)
            loader = GalaxyLoader(
                read_catalog(plan.catalog(galaxies)),
                record,
                batch_size=min(64, galaxies),
                augmentation=augmentation,
                num_workers=workers,
            )
            wall, cpu = time.perf_counter(), time.process_time()
            served = sum(len(batch.ids) for batch in loader)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            rates = {"galaxies_per_second": served / wall, "cpu_ms_per_galaxy": 1e3 * cpu / served}
            found.add(f"{name}, {workers} threads", rates)


def time_predict(plan: Plan, found: Found) -> None:
    """`predict`, from files to a table, beside the network alone."""
    device = best_device()
    half = "16-mixed" if device.type == "cuda" else "bf16-mixed"
    images = torch.from_numpy(some_images(plan, plan.batch_size)).to(device)
    for encoder in plan.encoders:
        model = plan.tree(encoder)
        alone = f"{encoder}, the network alone"
        with ready_on(device, model), torch.inference_mode(), autocast(device, half):
            in_turns(
                found,
                {alone: lambda model=model: model.predict_images(images)},
                len(images),
                plan,
                seconds=min(6, plan.seconds / 8),
            )
        seconds = plan.seconds / 4 / len(plan.encoders)
        galaxies, rate = (8 if plan.quick else 2048), 0.0
        for _ in range(1 if plan.quick else 2):  # the first run tells how many the second can do
            forget_peak(device)
            rate = predict_files(plan, model, galaxies, half)
            galaxies = int(min(100_000, max(galaxies, rate * seconds)))
        row: Row = {"galaxies_per_second": rate, "peak_mib": peak_mib(device)}
        bare = found.rows[alone].get("galaxies_per_second")
        found.add(f"{encoder}, files to table", row | ({"share_of_network": rate / bare} if bare else {}))


def predict_files(plan: Plan, model: Any, galaxies: int, precision: str) -> float:
    """Galaxies a second of a whole run, all that it does once included."""
    catalog = plan.catalog(galaxies)
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
        began = time.perf_counter()
        predict.predict(
            catalog,
            model,
            save_loc=Path(folder) / "predictions.parquet",
            batch_size=plan.batch_size,
            num_workers=plan.num_workers,
            precision=precision,
            compile=False,
            progress=False,
        )
        return galaxies / (time.perf_counter() - began)


class StepClock(pl.Callback):
    """When steps ended, from the one on at which a run has found its pace, and when the budget is spent."""

    def __init__(self, first: int, seconds: float) -> None:
        self.first, self.seconds = first, seconds
        self.began = self.ended = 0.0
        self.steps = 0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == self.first:
            wait(best_device())
            self.began = time.perf_counter()
        counted = trainer.global_step - self.first
        if counted > 0 and counted % _CALLS_BETWEEN_WAITS == 0 and not trainer.should_stop:
            wait(best_device())
            self.ended, self.steps = time.perf_counter(), counted
            trainer.should_stop = self.ended - self.began > self.seconds


def time_fit(plan: Plan, found: Found) -> None:
    """`fit` of the whole network from files, beside its steps alone."""
    device = best_device()
    half = best_half(device)
    images = torch.from_numpy(some_images(plan, plan.train_batch_size)).to(device)
    labels = torch.arange(len(images), device=device).remainder(2)[:, None].float()
    first, steps = (1, 5) if plan.quick else (12, 600)
    for encoder in plan.encoders:
        alone = f"{encoder}, its steps alone"
        work = {alone: learner(plan, encoder, images, labels, precision=half)}
        in_turns(found, work, len(images), plan, seconds=min(6, plan.seconds / 8))
        del work
        train = plan.catalog(plan.train_batch_size * (steps + 4))
        galaxies = GalaxyDataModule(
            train_catalog=train,
            val_catalog=plan.catalog(plan.train_batch_size, "other"),
            label_cols=["label"],
            batch_size=plan.train_batch_size,
            num_workers=plan.num_workers,
        )
        forget_peak(device)
        clock = StepClock(first, plan.seconds / 4 / len(plan.encoders))
        with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
            finetune.get_trainer(
                folder,
                max_epochs=1,
                max_steps=steps,
                precision=half,
                devices=1,
                progress=False,
                callbacks=[clock],
            ).fit(plan.classifier(encoder, n_blocks="all"), galaxies)
        rate = clock.steps * plan.train_batch_size / (clock.ended - clock.began)
        row: Row = {"galaxies_per_second": rate, "steps": clock.steps, "peak_mib": peak_mib(device)}
        bare = found.rows[alone].get("galaxies_per_second")
        found.add(f"{encoder}, fit from files", row | ({"share_of_steps": rate / bare} if bare else {}))


def time_head(plan: Plan, found: Found) -> None:
    """Finetuning of the head alone, in float32 and as it is done without a word: the same head, sooner."""
    device = best_device()
    count = 16 if plan.quick else 2048
    table = plan.catalog(count)
    losses = {}
    for precision in ("32-true", best_half(device)):
        model = plan.classifier(plan.encoders[0], n_blocks=0)
        galaxies = GalaxyDataModule(
            train_catalog=table.iloc[: count // 2],
            val_catalog=table.iloc[count // 2 :],
            label_cols=["label"],
            batch_size=min(64, count // 4),
            num_workers=plan.num_workers,
        )
        with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder, as_the_engine_works("pytorch"):
            began = time.perf_counter()
            options: dict[str, Any] = {"max_epochs": 3, "devices": 1, "progress": False}
            finetune.get_trainer(folder, precision=precision, **options).fit(model, galaxies)
            taken = time.perf_counter() - began
            losses[precision] = float(pd.read_csv(Path(folder) / "metrics.csv")["val_loss"].min())
        row = {"wall_s": taken, "galaxies": count, "val_loss": losses[precision]}
        found.add(f"{plan.encoders[0]}, {precision}", row)
    difference = abs(np.subtract(*losses.values()))
    found.require("validation loss of heads in both precisions differs", float(difference), HEAD_BOUND)


#: How far the validation losses of heads on features of float32 and of half precision may lie apart, in nats.
HEAD_BOUND = 0.05

#: What is measured.
SECTIONS: dict[str, Callable[[Plan, Found], None]] = {
    "precision": compare_precisions,
    "network": time_network,
    "predict": time_predict,
    "loader": time_loader,
    "steps": time_steps,
    "fit": time_fit,
    "head": time_head,
    "compiled": time_compiled,
}
