"""Which models and encoders can be loaded: those that come with Zoobot, those in the Hub's cache, others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

from zoobot.shared import tasks
from zoobot.shared.checkpoint import CONFIG_FILE, ENCODER_FILE, HEAD_FILE, PICKLE_FILE, read_config
from zoobot.shared.errors import ZoobotError
from zoobot.shared.html import table_html
from zoobot.shared.models.encoder_source import source_from_folder
from zoobot.shared.models.model_places import (
    bundled_checkpoint,
    bundled_encoder,
    bundled_names,
    find_checkpoint,
)
from zoobot.shared.onnx.model import is_onnx_file
from zoobot.workflow.account import read_account

#: Encoders that the Zoobot project has published on the Hugging Face Hub.
PUBLISHED = tuple(
    f"hf_hub:mwalmsley/zoobot-encoder-{name}"
    for name in (
        *("convnext_nano", "convnext_base", "resnet18", "resnet50", "resnet101", "efficientnet_b0"),
        *("tf_efficientnetv2_s", "maxvit_base_rw_224", "greyscale-convnext_pico", "euclid-convnext-base"),
    )
)

_COLUMNS = ("name", "where", "kind", "encoder", "pixels", "size", "scores")
_WEIGHTS = (ENCODER_FILE, PICKLE_FILE, HEAD_FILE)
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """What there is to know of a model without loading it.

    Args:
        name: What `zoobot.load` takes.
        where: "bundled", "Hub cache", or "Hub" where it would be downloaded.
        kind: What it predicts, or "encoder".
        architecture: timm's name of its encoder; empty where it is not here.
        image_size_pix: The side of its images; None where it is not here.
        size_bytes: Of its weights; None where it is not here.
        scores: What its card says, in a few words.
    """

    name: str
    where: str
    kind: str = ""
    architecture: str = ""
    image_size_pix: int | None = None
    size_bytes: int | None = None
    scores: str = ""

    def cells(self) -> tuple[str, ...]:
        """Its row of the table."""
        pixels = "" if self.image_size_pix is None else f"{self.image_size_pix} px"
        size = "" if self.size_bytes is None else f"{self.size_bytes / 1e6:.1f} MB"
        return (self.name, self.where, self.kind, self.architecture, pixels, size, self.scores)


class ModelList(Sequence[ModelEntry]):
    """Models as a table to look at, in notebooks too, and to go through.

    Args:
        entries: The models.
    """

    def __init__(self, entries: Sequence[ModelEntry]) -> None:
        self._entries = list(entries)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._entries)

    def __getitem__(self, place: Any) -> Any:
        return self._entries[place]

    def __iter__(self) -> Iterator[ModelEntry]:
        return iter(self._entries)

    @property
    def names(self) -> list[str]:
        """What `zoobot.load` takes."""
        return [entry.name for entry in self]

    def __repr__(self) -> str:
        rows = [_COLUMNS[:-1], *(entry.cells()[:-1] for entry in self)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        told = ["", *(indent(f"\n{entry.scores}", "    ") if entry.scores else "" for entry in self)]
        return "\n".join(line + scores for line, scores in zip(lines, told, strict=True))

    def _repr_html_(self) -> str:
        return table_html(_COLUMNS, [entry.cells() for entry in self])


def models() -> ModelList:
    """The models and encoders that `zoobot.load` takes by name; nothing is downloaded to find out.

    Those that come with Zoobot, then those in the cache of the Hugging Face Hub, which both need no network;
    then published encoders, which are downloaded when they are loaded.

    Example:
        >>> "zoobot-mini" in models().names
        True
    """
    here = [*_bundled(), *_cached()]
    known = {entry.name for entry in here}
    published = [
        ModelEntry(name=name, where="Hub", kind="encoder") for name in PUBLISHED if name not in known
    ]
    return ModelList([*here, *published])


def scores_in_words(place: str | Path) -> str:
    """How well a model does, as its run or its card says, in a few words; empty where neither does.

    Args:
        place: A run's folder, a checkpoint's, `hf_hub:owner/name`, or a bundled name.
    """
    if is_onnx_file(place):
        return ""
    run = Path(place).parent
    if Path(place).name == "checkpoint" and (run / "evaluation.json").is_file():
        place = run
    try:
        account = read_account(place)
        task = account.model and account.model.facts.get("task")
        scores = account.evaluation.get("scores") or {}
        headline = tasks.from_config(task).scores.headline if isinstance(task, dict) else ()
        told = [f"{words} {scores[name]:.3g}" for name, words in headline if _is_number(scores.get(name))]
        return "\n".join(told[:_SHOWN]) if told else _of_card(find_checkpoint(place) / "README.md")
    except (ZoobotError, OSError):  # it was moved, or never was a run
        return ""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _of_card(card: Path) -> str:
    """The first rows of the table below the heading "Scores" of a model card."""
    if not card.is_file():
        return ""
    text = card.read_text(encoding="utf-8", errors="replace")
    section = re.search(r"^## Scores\s*$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    rows = [
        line.strip(" |").split("|") for line in (section[1] if section else "").splitlines() if "|" in line
    ]
    told = [f"{row[0].strip()}: {row[-1].strip()}" for row in rows[1:] if not set("".join(row)) <= set("-: ")]
    return "\n".join(told[:_SHOWN])


def _bundled() -> Iterator[ModelEntry]:
    for name in bundled_names():
        folder = bundled_checkpoint(name)
        if folder is not None:
            yield _of_folder(name, "bundled", folder)
            continue
        try:
            source = bundled_encoder(name)
        except ZoobotError:  # the package that brings its weights is not installed
            continue
        size = sum(array.nbytes for array in (source.read_weights() or {}).values())
        yield ModelEntry(
            name=name,
            where="bundled",
            kind="encoder",
            architecture=source.architecture,
            image_size_pix=source.preprocessing.image_size_pix,
            size_bytes=size,
        )


def _cached() -> Iterator[ModelEntry]:
    """The models in the Hub's cache that are whole: those of `main`, or else of the one revision there is."""
    import huggingface_hub as hub  # late: it takes a while
    from huggingface_hub import constants

    try:
        found = hub.scan_cache_dir(constants.HF_HUB_CACHE)  # where its downloads go, said once
    except (hub.CacheNotFound, OSError):
        return
    for repository in sorted(found.repos, key=lambda one: one.repo_id):
        if repository.repo_type != "model":
            continue
        for revision in sorted(repository.revisions, key=lambda one: "main" not in one.refs):
            there = {file.file_name for file in revision.files}
            if CONFIG_FILE not in there or not there & set(_WEIGHTS[:2]):
                continue
            at = (
                ""
                if "main" in revision.refs
                else f"@{next(iter(sorted(revision.refs)), revision.commit_hash)}"
            )
            try:
                yield _of_folder(f"hf_hub:{repository.repo_id}{at}", "Hub cache", revision.snapshot_path)
            except ZoobotError:  # another library's
                continue
            break


def _of_folder(name: str, where: str, folder: Path) -> ModelEntry:
    config = read_config(folder)
    ours = config.get("zoobot") or {}
    task = tasks.from_config(ours["task"]) if ours.get("task") else None
    kind = "encoder" if task is None else task.kind if task.tree is None else f"tree {task.tree.name}"
    return ModelEntry(
        name=name,
        where=where,
        kind=kind,
        architecture=config["architecture"],
        image_size_pix=source_from_folder(folder, description=name).preprocessing.image_size_pix,
        size_bytes=sum((folder / file).stat().st_size for file in _WEIGHTS if (folder / file).is_file()),
        scores=_of_card(folder / "README.md"),
    )
