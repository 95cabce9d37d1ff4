"""Going on with a run that was killed: with its own options, on the same galaxies."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from zoobot.shared.checkpoint import ENCODER_FILE
from zoobot.shared.config import FinetuneOptions, LoopOptions, TrainOptions
from zoobot.shared.errors import ConfigError
from zoobot.shared.models.hash import hash_file
from zoobot.workflow.run_folder import RECORD_FILE, RunRecord, read_record

__all__ = ["check_same_data", "encoder_hash", "resumed_options", "unfinished_run"]

logger = logging.getLogger("zoobot")

_OPTIONS: dict[str, Any] = {"finetune": FinetuneOptions, "train": TrainOptions, "loop": LoopOptions}

#: What may differ when a run is resumed: it changes how the work is done, not what comes out.
_FREE_ON_RESUME = {
    "num_workers",
    "checkpoint_minutes",
    "progress",
    "accelerator",
    "resume",
    "overwrite",
}

#: What only says where something is. What is there must be the same: galaxies and weights are compared.
_PLACES = {"save_dir", "cache_dir", "catalog", "val_catalog", "test_catalog", "root", "mosaic", "encoder"}

_WEIGHTS = (ENCODER_FILE, "pytorch_model.bin")


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
    before = record.content["options"]
    places = {name: _found_again(before[name], path) for name, path in _places(record).items()}
    return _OPTIONS[work].from_config({**before, **places, **given, "resume": True})


def _places(record: RunRecord) -> dict[str, Any]:
    """Where the files of a run were, by the names of options; records of older versions do not say."""
    kept, typed = record.content.get("paths"), record.content["options"]
    told = kept if isinstance(kept, dict) else {}
    return {
        name: path
        for name, path in told.items()
        if name in _PLACES and name in typed and _are_places(typed[name], path)
    }


def _are_places(typed: Any, absolute: Any) -> bool:
    """Whether a record says where what was typed lies: a path for a path, and one for each of several."""
    if isinstance(typed, list) and isinstance(absolute, list):
        return len(typed) == len(absolute) and all(map(_are_places, typed, absolute))
    return isinstance(typed, str) and isinstance(absolute, str)


def _found_again(typed: Any, absolute: Any) -> Any:
    """A place as it is found from the folder where the run goes on: as it was, or else as it was typed."""
    if isinstance(typed, list):
        return [_found_again(*pair) for pair in zip(typed, absolute, strict=True)]
    if Path(typed).is_absolute():
        return typed
    return typed if Path(typed).exists() and not Path(absolute).exists() else absolute


def encoder_hash(options: Any) -> str | None:
    """A SHA-256 of the weights in an encoder's folder, to know it where it moves to; None of a name."""
    place = Path(options.encoder).expanduser()
    for folder in (place / "checkpoint", place):
        for name in _WEIGHTS:
            if (folder / name).is_file():
                return hash_file(folder / name)
    return None


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
    free = _FREE_ON_RESUME | _PLACES
    if record.content.get("encoder_sha256") and encoder_hash(options) != record.content["encoder_sha256"]:
        msg = f"the run in {folder} was started from other weights than those of --encoder {options.encoder}"
        raise ConfigError(msg)
    if not record.content.get("encoder_sha256"):
        free = free - {"encoder"}
    changed = [
        f"{f.name} was {getattr(before, f.name)!r}, now {getattr(options, f.name)!r}"
        for f in fields(options)
        if f.name not in free and getattr(before, f.name) != getattr(options, f.name)
    ]
    if changed:
        listed = "; ".join(changed)
        msg = f"a resumed run keeps its options, but {listed}. Start another run in another --save-dir"
        raise ConfigError(msg)
    return record


def check_same_data(record: RunRecord, data: dict[str, Any]) -> None:
    """Raise a ConfigError unless the galaxies are those that a run was started with, wherever they are."""
    before = record.content.get("data", data)
    for part in sorted(set(before) | set(data)):
        old, new = before.get(part, {}), data.get(part, {})
        same = [name for name in ("fingerprint", "contents") if old.get(name) == new.get(name) is not None]
        if not same:
            msg = (
                f"the {part} galaxies are not those the run was started with: ids, paths or labels differ; "
                "start over with --overwrite"
            )
            raise ConfigError(msg)
        if "fingerprint" not in same:
            logger.warning("the images of the %s galaxies are read from %s now", part, new["source"])
