"""The rows of the speed picture: what each work was measured to take, the bar it must reach, and its limit.

Only the bars stand here. Every other number is read from the records that the benchmarks wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from zoobot.shared.engine import DEFAULT_ENGINE

__all__ = ["PANELS", "Panel", "Row", "Speed", "measure_rows", "read_records"]

Record: TypeAlias = dict[str, Any]
#: From a record to a figure; a record that lacks it gives KeyError.
Figure: TypeAlias = Callable[[Record], float]

WORKERS = "2 workers"
ALONE = "limit: the network alone"
OURS, PEER = "zoobot predict", "public zoobot"
HEAD, PEER_HEAD = "zoobot, head, encoded once", "public zoobot, head"
STAGE = "zoobot, top block and head, activations kept"
STAGE_ANEW = "zoobot, top block and head, encoded in every epoch"
IMPORT = "import zoobot.pytorch.finetune"
FRAMEWORKS = "limit: import torch, timm, pytorch_lightning"
PEER_IMPORT = "public zoobot: import zoobot.pytorch.training.finetune"


class Panel(NamedTuple):
    """Rows that share a scale.

    Attributes:
        title: What the bars show.
        unit: What follows a figure.
        factor: What the figures are multiplied with to have that unit.
        logarithmic: Whether the axis is.
        less_is_better: Whether a bar must stay below its mark.
    """

    title: str
    unit: str
    factor: float = 100.0
    logarithmic: bool = False
    less_is_better: bool = False

    def say(self, value: float) -> str:
        """A measured figure as people read it."""
        shown = value * self.factor
        digits = 3 if shown < 0.1 else 2 if shown < 2 else 1 if shown < 20 else 0
        return f"{shown:.{digits}f}{self.unit}"

    def say_bar(self, bar: float) -> str:
        """What a figure must be."""
        return f"{'≤' if self.less_is_better else '≥'} {bar * self.factor:.3g}{self.unit}"


PANELS = {
    "faster": Panel("times faster than the public zoobot", "×", factor=1.0, logarithmic=True),
    "share": Panel("part of the limit's speed", " %"),
    "cost": Panel("what it costs (less is better)", " %", less_is_better=True),
}


class Row(NamedTuple):
    """One bar.

    Attributes:
        work: What is done; `{encoder}` and other settings of the record are filled in.
        panel: The scale it stands on, a key of `PANELS`.
        bar: What it must reach.
        benchmark: The name of the benchmark whose records tell.
        measured: Finds the figure in a record.
        against: What it is compared with.
        limit: What can't be passed; empty where there is no measured one.
        of_limit: The part of that limit which is reached.
        prefer: Whether a record is the one wanted, where several have the figure.
    """

    work: str
    panel: str
    bar: float
    benchmark: str
    measured: Figure
    against: str
    limit: str = ""
    of_limit: Figure | None = None
    prefer: Callable[[Record], bool] = bool


class Speed(NamedTuple):
    """A row with what was measured; None where no record tells."""

    work: str
    row: Row
    measured: float | None
    of_limit: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether the bar is reached; None if not measured."""
        if self.measured is None:
            return None
        less = PANELS[self.row.panel].less_is_better
        return self.measured <= self.row.bar if less else self.measured >= self.row.bar


def read_records(folder: str | Path) -> list[Record]:
    """Every record of a benchmark in a folder, by file name."""
    found = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]
    return [record for record in found if isinstance(record, dict) and "benchmark" in record]


def measure_rows(records: list[Record]) -> list[Speed]:
    """All rows, those without a record too; of records of one engine, the default engine's."""
    engines = (None, "all", DEFAULT_ENGINE)
    records = [record for record in records if record["settings"].get("backend") in engines]
    return [_measure(row, records) for row in ROWS]


def _measure(row: Row, records: list[Record]) -> Speed:
    candidates = [
        r for r in records if r["benchmark"] == row.benchmark and _find(row.measured, r) is not None
    ]
    if not candidates:
        return Speed(row.work.format_map(WANTED), row, None, None)
    record = max(candidates, key=row.prefer)
    of_limit = _find(row.of_limit, record) if row.of_limit else None
    return Speed(row.work.format_map(record["settings"]), row, _find(row.measured, record), of_limit)


def _find(figure: Figure, record: Record) -> float | None:
    try:
        return float(figure(record))
    except KeyError:
        return None


def _loss_row(size: int, bar: float) -> Row:
    return Row(
        f"vote loss, GZ Evo, batches of {size}",
        "faster",
        bar,
        "loss",
        lambda record: _batch(record, size)["times_faster"]["cpu_ms"],
        "the public zoobot, CPU time",
        "SciPy's log-gamma and digamma alone",
        lambda record: _cpu_ms(_batch(record, size), "limit") / _cpu_ms(_batch(record, size), "ours"),
    )


def _cpu_ms(result: Record, name: str) -> float:
    return result["times"][name]["cpu_ms"]["median"]


def _loss_of_step(record: Record) -> float:
    """The largest part of a training step that the loss takes, of the batch sizes whose step was timed."""
    parts = [
        _cpu_ms(result, "ours") / result["encoder_step"]["cpu_ms"]["median"]
        for result in record["results"]
        if "encoder_step" in result
    ]
    if not parts:
        msg = "encoder_step"
        raise KeyError(msg)
    return max(parts)


def _batch(record: Record, size: int) -> Record:
    return {result["batch_size"]: result for result in record["results"]}[size]


def _images(name: str, than: str) -> Figure:
    def ratio(record: Record) -> float:
        rows = record["results"]["rows"]
        return rows[name]["images_per_second"] / rows[than]["images_per_second"]

    return ratio


def _predicting(than: str) -> Figure:
    def ratio(record: Record) -> float:
        rows = record["results"]["speed"]["rows"]
        return rows[than]["wall_ms"]["median"] / rows[OURS]["wall_ms"]["median"]

    return ratio


def _memory_growth(record: Record) -> float:
    peaks = record["results"]["memory"][OURS]
    return peaks["10000"] / peaks["1000"] - 1


def _finetuning(name: str, than: str) -> Figure:
    """How many times faster than the fastest way whose name begins so."""

    def ratio(record: Record) -> float:
        ways = [way for way in record["results"]["runs"] if way.startswith(than)]
        if not ways:
            raise KeyError(than)
        return min(_seconds(record, way) for way in ways) / _seconds(record, name)

    return ratio


def _finetuning_limit(name: str) -> Figure:
    return lambda record: record["results"]["limits"][name]["wall_s"] / _seconds(record, name)


def _seconds(record: Record, way: str) -> float:
    """The median, for as many epochs as all ways are compared over."""
    runs, epochs = record["results"]["runs"][way], record["settings"]["epochs"]
    return sorted(run["wall_s"] * epochs / run["epochs"] for run in runs)[len(runs) // 2]


def _starting(name: str, than: str) -> Figure:
    return lambda record: (
        record["results"][than]["cpu_ms"]["median"] / record["results"][name]["cpu_ms"]["median"]
    )


def _is_real(record: Record) -> bool:
    return not record["settings"]["synthetic"]


def _is_wanted(record: Record) -> bool:
    return all(record["settings"][name] == value for name, value in WANTED.items())


#: What is to be finetuned and predicted with; other records count where there is none of these.
WANTED = {"encoder": "convnext_nano", "image_size": 224, "train": 500, "epochs": 20}
TRAINING, CACHED = f"training, {WORKERS}", f"training from the cache, {WORKERS}"
DECODING, WARP = "limit: read and decode, 2 threads", "limit: warp alone, 2 threads"
PEER_LOADER = "public zoobot, training"
FINETUNED = "{encoder}, {image_size} px"

ROWS = [
    _loss_row(512, 12),
    _loss_row(64, 20),
    Row(
        "424 px JPEGs to augmented 224 px batches",
        "faster",
        8,
        "loader",
        _images(TRAINING, PEER_LOADER),
        "the public zoobot",
        "decoding alone",
        _images(TRAINING, DECODING),
        _is_real,
    ),
    Row(
        "the same from the cache of pixels",
        "faster",
        15,
        "loader",
        _images(CACHED, PEER_LOADER),
        "the public zoobot",
        "the warp alone",
        _images(CACHED, WARP),
        _is_real,
    ),
    Row(
        "finetune the head, {train} galaxies, {epochs} epochs\n" + FINETUNED,
        "faster",
        15,
        "finetune",
        _finetuning(HEAD, PEER_HEAD),
        "the public zoobot",
        "the encoder over every galaxy once",
        _finetuning_limit(HEAD),
        prefer=_is_wanted,
    ),
    Row(
        "finetune the last stage, beside encoding anew\n" + FINETUNED,
        "faster",
        2.5,
        "finetune",
        _finetuning(STAGE, STAGE_ANEW),
        "encoding the frozen part in every epoch",
        "the network's own steps",
        _finetuning_limit(STAGE),
        prefer=_is_wanted,
    ),
    Row(
        "predict, {encoder}, {image_size} px",
        "faster",
        1.2,
        "predict",
        _predicting(PEER),
        "the public zoobot",
        "the network alone",
        _predicting(ALONE),
    ),
    Row(
        "import the finetune module",
        "faster",
        1 / 0.6,
        "startup",
        _starting(IMPORT, PEER_IMPORT),
        "the public zoobot, CPU time",
        "importing the frameworks alone",
        _starting(IMPORT, FRAMEWORKS),
    ),
    Row(
        "424 px JPEGs to augmented 224 px batches\nbeside decoding alone",
        "share",
        0.6,
        "loader",
        _images(TRAINING, DECODING),
        "decoding alone",
        prefer=_is_real,
    ),
    Row(
        "a step in which every block learns\nbeside the encoder's forward and backward",
        "share",
        0.95,
        "finetune",
        lambda record: record["results"]["deep_step"]["share"],
        "the encoder's forward and backward, CPU time",
        prefer=_is_wanted,
    ),
    Row(
        "predict, {encoder}, {image_size} px\nbeside the network alone",
        "share",
        0.95,
        "predict",
        _predicting(ALONE),
        "the network over images in memory",
    ),
    Row(
        "vote loss, as part of a ConvNeXt-nano step",
        "cost",
        0.02,
        "loss",
        _loss_of_step,
        "a step of the encoder, CPU time",
    ),
    Row(
        "memory to predict 10,000 galaxies, above 1,000",
        "cost",
        0.05,
        "predict",
        _memory_growth,
        "the peak at 1,000 galaxies",
    ),
]
