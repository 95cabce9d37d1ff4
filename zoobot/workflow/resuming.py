"""Going on with a run that was killed: with its own options, on the same galaxies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from zoobot.shared.config import FinetuneOptions, LoopOptions, TrainOptions
from zoobot.shared.errors import ConfigError
from zoobot.workflow.run_folder import RECORD_FILE, RunRecord, read_record

__all__ = ["check_same_data", "resumed_options", "unfinished_run"]

_OPTIONS: dict[str, Any] = {"finetune": FinetuneOptions, "train": TrainOptions, "loop": LoopOptions}

#: What may differ when a run is resumed: it changes how the work is done, not what comes out.
_FREE_ON_RESUME = {
    "num_workers",
    "cache_dir",
    "checkpoint_minutes",
    "progress",
    "accelerator",
    "resume",
    "overwrite",
}


def resumed_options(work: str, given: Mapping[str, Any]) -> Any:
    """The options of the run in `given["save_dir"]`, to continue it; what is given anew must agree with them.

    Args:
        work: "finetune", "train" or "loop".
        given: Names and values, at least `save_dir`.

    Raises:
        ConfigError: If there is no such run, or a given value differs and would change the result.
    """
    folder = Path(given.get("save_dir", "")).expanduser()
    record = read_record(folder) if "save_dir" in given else None
    if record is None:
        msg = f"--resume needs --save-dir with an unfinished run, got {given.get('save_dir')!r}"
        raise ConfigError(msg)
    if record.content["work"] != work:
        msg = f"{folder} holds a run of `zoobot {record.content['work']}`: resume it with that command"
        raise ConfigError(msg)
    return _OPTIONS[work].from_config({**record.content["options"], **given, "resume": True})


def unfinished_run(work: str, options: Any, folder: Path) -> RunRecord:
    """The run to resume, which must be the run that was asked for.

    Raises:
        ConfigError: If there is none, it is finished, or an option that matters differs.
    """
    record = read_record(folder)
    if record is None:
        msg = f"there is no run to resume in {folder}: it has no {RECORD_FILE}"
        raise ConfigError(msg)
    if record.content["status"] == "finished":
        msg = f"the run in {folder} is finished: there is nothing to resume"
        raise ConfigError(msg)
    before = _OPTIONS[work].from_config(record.content["options"])
    changed = [
        f"{f.name} was {getattr(before, f.name)!r}, now {getattr(options, f.name)!r}"
        for f in fields(options)
        if f.name not in _FREE_ON_RESUME and getattr(before, f.name) != getattr(options, f.name)
    ]
    if changed:
        listed = "; ".join(changed)
        msg = f"a resumed run keeps its options, but {listed}. Start another run in another --save-dir"
        raise ConfigError(msg)
    return record


def check_same_data(record: RunRecord, data: dict[str, Any]) -> None:
    """Raise a ConfigError unless the galaxies are those that a run was started with."""
    before = record.content.get("data", data)
    for part in sorted(set(before) | set(data)):
        if before.get(part, {}).get("fingerprint") != data.get(part, {}).get("fingerprint"):
            msg = (
                f"the {part} galaxies are not those the run was started with: ids, paths or labels differ; "
                "start over with --overwrite"
            )
            raise ConfigError(msg)
