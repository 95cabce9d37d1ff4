"""What finetuning reaches on real galaxies, as tables, read from the records that bench_galaxies.py wrote."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

__all__ = ["brief_scores_table", "scores_table"]


class Column(NamedTuple):
    """The runs of one column: what heads it, the record that has them, and what they start from there."""

    heading: str
    record: str
    encoder: str


MINI = Column("zoobot-mini", "galaxies_mini", "galaxies")
COLUMNS = (
    Column("from nothing", "galaxies", "scratch"),
    Column("ImageNet", "galaxies", "pretrained"),
    MINI,
    Column("zoobot-mini, TensorFlow", "galaxies_tensorflow", "galaxies"),
)
#: Task and score of a record, in words.
ROWS = {
    ("classes", "accuracy"): ("five classes (Galaxy Zoo 2)", "accuracy"),
    ("t_type", "r2_T"): ("Hubble type (EFIGI)", "R²"),
    ("votes", "r2_smooth"): ("votes: smooth (Galaxy Zoo 2)", "R² of the fraction"),
    ("votes", "r2_edge-on"): ("votes: edge-on", "R² of the fraction"),
    ("votes", "r2_spiral"): ("votes: spiral", "R² of the fraction"),
    ("rings", "accuracy"): ("rings (DECaLS)", "accuracy"),
}


def scores_table(folder: Path) -> str:
    """Every task, beside classical features and other starts; the mean of the seeds, and least to most."""
    headings = ["task", "training galaxies", "score", "hand-made", *(column.heading for column in COLUMNS)]
    rows = []
    for key, (task, score) in ROWS.items():
        (first, *_) = _runs(folder, MINI, key)
        cells = [_spread(_runs(folder, column, key), key) for column in COLUMNS]
        rows.append([task, f"{first['train_galaxies']:,}", score, f"{first['floor'][key[1]]:.2f}", *cells])
    return _markdown(headings, rows)


def brief_scores_table(folder: Path) -> str:
    """Every task, with what `zoobot-mini` reaches beside classical features."""
    rows = []
    for key, (task, score) in ROWS.items():
        runs = _runs(folder, MINI, key)
        floor = f"{runs[0]['floor'][key[1]]:.2f}"
        rows.append([task, f"{runs[0]['train_galaxies']:,}", score, floor, _spread(runs, key)])
    return _markdown(["task", "labels", "score", "hand-made features", "Zoobot"], rows)


def _runs(folder: Path, column: Column, key: tuple[str, str]) -> list[dict[str, Any]]:
    runs = json.loads((folder / f"{column.record}.json").read_text(encoding="utf-8"))["results"]
    return [run for run in runs if (run["task"], run["encoder"]) == (key[0], column.encoder)]


def _spread(runs: list[dict[str, Any]], key: tuple[str, str]) -> str:
    values = [run["scores"][key[1]] for run in runs]
    if len(values) < 2:
        return f"{values[0]:.2f}" if values else "–"
    return f"{mean(values):.3f} ({min(values):.3f}–{max(values):.3f})"


def _markdown(headings: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [headings, ["---"] * len(headings), *rows])
