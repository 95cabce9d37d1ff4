"""How far a prediction into a folder of parts is."""

from __future__ import annotations

import logging
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared.errors import ConfigError
from zoobot.shared.predicting.members import FeatureTask
from zoobot.shared.predictions import Parts
from zoobot.shared.tables.part_folder import read_shard
from zoobot.workflow.reporting import Reported
from zoobot.workflow.run_folder import read_record_file

if TYPE_CHECKING:
    from zoobot.options.status import StatusOptions

logger = logging.getLogger(__name__)

_REASONS = 5
_SHARDS_SHOWN = 20
#: Where a shard stands in a command, or in a call of Python.
_SHARD = re.compile(r"(--shard[= ]|\bshard=')[^\s']+")


@dataclass(frozen=True, kw_only=True, repr=False)
class StatusResult(Reported):
    """How far a folder of parts is.

    Args:
        text: What is done, what failed and why, what is missing, and what to type next.
    """

    text: str

    def report(self) -> str:
        """The text."""
        return self.text


def status(options: StatusOptions) -> StatusResult:
    """Say how far a prediction into a folder of parts is, what failed, and how to go on.

    Args:
        options: The folder, and of how many shards to say what each misses.

    Raises:
        PredictionsError: If the folder is no folder of parts.
    """
    return StatusResult(text=describe_parts(options.folder, shards=options.shards))


def describe_parts(folder: str | Path, *, shards: int | None = None) -> str:
    """What is done, what failed and why, what is missing, and what to type next.

    Args:
        folder: The folder.
        shards: Of how many shards to say which is missing what; None takes the number of the last run.

    Raises:
        ConfigError: If the number of shards is none.
        PredictionsError: If the folder is no folder of parts.
    """
    if shards is not None and shards < 1:
        raise ConfigError(f"--shards must be at least 1, got {shards}")
    parts = Parts(folder)
    records = _read_records(parts)
    total = shards or _shards_of(records)
    lines = [*_progress(parts), *_failures(parts)]
    missing = parts.missing
    place = shlex.quote(str(folder))
    if not missing:
        return "\n".join(
            [
                *lines,
                "Complete. One table of all parts:",
                f"  zoobot merge {place} --save-loc {place}.parquet",
            ]
        )
    if total > 1:
        lines += _missing_of_shards(missing, total)
    lines += [
        "What is missing is made by giving the same command again:",
        *_commands(records, missing, total),
    ]
    return "\n".join(lines)


def _progress(parts: Parts) -> list[str]:
    manifest = parts.manifest
    galaxies = manifest.count(parts.done)
    share = galaxies / manifest.galaxies
    made = "features" if manifest.task.get("kind") == FeatureTask.kind else "predictions"
    return [
        f"{parts.folder.path}: {made} of {manifest.catalog['name']}",
        f"  parts     {len(parts.done):,} of {manifest.part_count:,}",
        f"  galaxies  {galaxies:,} of {manifest.galaxies:,} ({share:.1%})",
    ]


def _failures(parts: Parts) -> list[str]:
    failed = parts.count_failures()
    if not failed:
        return ["  failures  none"]
    lines = [f"  failures  {failed:,}, listed in {parts.folder.path / '_failures'}; most often"]
    return lines + [f"    {count:>9,}  {reason}" for reason, count in parts.frequent_reasons(_REASONS)]


def _missing_of_shards(missing: list[int], total: int) -> list[str]:
    counts = Counter(part % total + 1 for part in missing)  # of a mistyped number of shards few miss any
    lines = [
        f"  shard {number}/{total} misses {counts[number]:,} parts"
        for number in sorted(counts)[:_SHARDS_SHOWN]
    ]
    more = len(counts) - len(lines)
    return [*lines, f"  and {more:,} more shards"] if more else lines


def _read_records(parts: Parts) -> list[dict[str, Any]]:
    """The records of the runs, the last one first; what of them is damaged is said and left out."""
    found: list[tuple[float, dict[str, Any]]] = []
    for path in parts.folder.runs.glob("*.json"):
        try:
            changed, record = path.stat().st_mtime, read_record_file(path)
        except FileNotFoundError:  # a run that was refused has just taken its record back
            continue
        except ConfigError as error:
            logger.warning("%s", error)
            continue
        if record is not None:
            found.append((changed, record.content))
    return [content for _, content in sorted(found, key=lambda pair: pair[0], reverse=True)]


def _shards_of(records: list[dict[str, Any]]) -> int:
    shard = records[0]["options"].get("shard") if records else None
    try:
        return 1 if shard is None else read_shard(shard).total
    except ConfigError as error:
        logger.warning("the record of the last run is damaged: %s", error)
        return 1


def _commands(records: list[dict[str, Any]], missing: list[int], total: int) -> list[str]:
    if not records:
        return ["  zoobot predict … (no record in _runs says how it was started)"]
    command = str(records[0].get("command", "zoobot predict … (the record of the run does not say more)"))
    if total == 1 or not _SHARD.search(command):
        return [f"  {command}"]
    numbers = sorted({part % total + 1 for part in missing})
    return [
        "  " + _SHARD.sub(rf"\g<1>{number}/{total}", command, count=1) for number in numbers[:_SHARDS_SHOWN]
    ]
