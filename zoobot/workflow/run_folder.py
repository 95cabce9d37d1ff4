"""The folder of a run: its files, the record of how they came about, and going on after a kill."""

from __future__ import annotations

import glob
import json
import logging
import platform
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.options.finetune import FinetuneOptions
from zoobot.options.loop import LoopOptions
from zoobot.options.train import TrainOptions
from zoobot.shared.checkpoint import ENCODER_FILE
from zoobot.shared.defaults import FIGURE_FORMATS
from zoobot.shared.errors import ConfigError, WriteError
from zoobot.shared.files.locks import Lock, lock_file, locked, refuse_busy
from zoobot.shared.files.whole import clear_abandoned, write_safely
from zoobot.shared.models.weights import hash_file
from zoobot.shared.settings import InMemory, listed
from zoobot.shared.training.finetune_settings import TrainerSettings

if TYPE_CHECKING:
    from zoobot.shared.settings import Options

# Going on with a run that was killed: with its own options, on the same galaxies.

logger = logging.getLogger("zoobot")

_OPTIONS: dict[str, Any] = {"finetune": FinetuneOptions, "train": TrainOptions, "loop": LoopOptions}

#: What may differ when a run is resumed: it changes how the work is done, not what comes out.
_FREE_ON_RESUME = {
    *TrainerSettings.free_on_resume,
    "num_workers",
    "progress",
    "accelerator",
    "figures",
    "resume",
    "overwrite",
}

#: What only says where something is. What is there must be the same: galaxies and weights are compared.
_PLACES = {"save_dir", "cache_dir", "catalog", "val_catalog", "test_catalog", "root", "mosaic", "encoder"}

FREE_AND_PLACES = frozenset(_FREE_ON_RESUME | _PLACES)

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
        raise ConfigError(f"--resume needs --save-dir with an unfinished run, got {given.get('save_dir')!r}")
    if record.content["work"] != work:
        msg = f"{folder} holds a run of `zoobot {record.content['work']}`: resume it with that command"
        raise ConfigError(msg)
    return _OPTIONS[work].from_config({**kept_options(record, given), "resume": True})


def kept_options(record: RunRecord, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run, its files where they are found now, with what is given anew instead.

    Raises:
        ConfigError: If what a run began with was in memory, and is not given again.
    """
    before = record.content["options"]
    places = {name: _found_again(before[name], path) for name, path in _places(record).items()}
    asked = {**before, **places, **given}
    for name in _PLACES & set(asked):
        for one in listed(asked[name]):
            if str(one).startswith("<") and not isinstance(one, InMemory):
                place = record.path.parent
                msg = f"the run in {place} began with {one}, which no file holds: give it again, {name}="
                raise ConfigError(msg)
    return asked


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
        raise ConfigError(f"there is no run to resume in {folder}: it has no {RECORD_FILE}")
    if record.content["status"] == "finished":
        raise ConfigError(f"the run in {folder} is finished: there is nothing to resume")
    before = _OPTIONS[work].from_config(record.content["options"])
    free = FREE_AND_PLACES
    if record.content.get("encoder_sha256") and encoder_hash(options) != record.content["encoder_sha256"]:
        msg = f"the run in {folder} was started from other weights than those of --encoder {options.encoder}"
        raise ConfigError(msg)
    if not record.content.get("encoder_sha256"):
        free = free - {"encoder"}
    changed = changed_options(before, options, free=free)
    if changed:
        msg = (
            f"a resumed run keeps its options, but {'; '.join(changed)}. Start another run in another "
            "--save-dir"
        )
        raise ConfigError(msg)
    return record


def changed_options(before: Options, now: Options, *, free: Collection[str] = FREE_AND_PLACES) -> list[str]:
    """Which options differ, in words.

    Args:
        before: Those of a run.
        now: Those that are asked for.
        free: Names of those that may differ; without a word, of all that leave results as they are.
    """
    return [
        f"{f.name} was {getattr(before, f.name)!r}, now {getattr(now, f.name)!r}"
        for f in fields(now)
        if f.name not in free and getattr(before, f.name) != getattr(now, f.name)
    ]


def check_same_data(record: RunRecord, data: dict[str, Any]) -> None:
    """Raise a ConfigError unless the galaxies are those that a run was started with, wherever they are."""
    before = record.content.get("data", data)
    for part in sorted(set(before) | set(data)):
        old, new = before.get(part, {}), data.get(part, {})
        same = [name for name in ("fingerprint", "contents") if old.get(name) == new.get(name) is not None]
        if not same:
            raise ConfigError(
                f"the {part} galaxies are not those the run was started with: ids, paths or labels differ; "
                "start over with --overwrite"
            )
        if "fingerprint" not in same:
            logger.warning("the images of the %s galaxies are read from %s now", part, new["source"])


RECORD_FILE = "run.json"

_PICTURES = (
    "detections",
    "inputs",
    "training_curves",
    "predictions",
    "mistakes",
    "thresholds",
    "roc",
    "comparison",
    "confusion_matrix",
    "purity_completeness",
    "regression_scatter",
    "fractions_scatter",
    "question_confusions",
    "reliability",
    "coverage",
    "curves",
)

#: Everything that runs write into their folder: what --overwrite may delete, and nothing else.
RUN_FILES = (
    "checkpoint",
    "last.ckpt",
    "metrics.csv",
    "split.parquet",
    "evaluation.json",
    "evaluation.txt",
    "thresholds.csv",
    "comparison.txt",
    "comparison.json",
    "predictions.parquet",
    "failures.csv",
    "features.npz",
    "rounds.json",
    "curves.csv",
    "savings.json",
    "methods.md",
    "references.bib",
    "explanations.csv",
    "explanations",
    "sources.csv",
    "sources.parquet",
    "detections",
    RECORD_FILE,
    *(f"{picture}.{kind}" for picture in _PICTURES for kind in FIGURE_FORMATS),
)


class RunRecord:
    """The run.json of one run, rewritten whole at every change.

    Args:
        path: The file.
        content: What it says.

    Attributes:
        lock: That of the run's folder, which is held until the run ends.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self.content = content
        self.lock: Lock | None = None

    def update(self, **facts: Any) -> None:
        """Add facts, JSON-ready, and write the file."""
        self.content |= facts
        write_safely(self.path, json.dumps(self.content, indent=2, ensure_ascii=False) + "\n")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record how the work inside ends: finished, interrupted, or failed with which error."""
        try:
            with self._ending():
                yield
        finally:
            if self.lock is not None:
                self.lock.release()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            self._end(status="interrupted")
            raise
        except BaseException as error:
            self._end(status="failed", error=f"{type(error).__name__}: {error}")
            raise
        self.content.pop("error", None)
        self.update(status="finished", ended=_now(), versions=loaded_versions())

    def _end(self, **facts: Any) -> None:
        """Record an ending; where even that can't be written, what ended the run is the news."""
        try:
            self.update(ended=_now(), **facts)
        except WriteError as error:
            logger.warning("%s", error)


def check_run_folder(folder: Path, work: str, *, resume: bool = False, overwrite: bool = False) -> None:
    """Raise unless a run may leave its results in a folder; call it before any work.

    Args:
        folder: Where the run would leave its results.
        work: What kind of run: "finetune", "train", "evaluate", "loop" or "explain".
        resume: Whether a run in the folder is continued.
        overwrite: Whether a run in the folder is replaced.

    Raises:
        ConfigError: If the folder holds something else, or a run and neither `resume` nor `overwrite`.
        BusyError: If another process works there.
    """
    if folder.is_dir():
        refuse_busy(lock_file(folder))
    _check_content(folder, work, resume=resume, overwrite=overwrite)


def _check_content(folder: Path, work: str, *, resume: bool, overwrite: bool) -> None:
    old = read_record(folder)
    _refuse_other_content(folder, old, work)
    if old is not None and not (resume or overwrite):
        _refuse_occupied(folder, old)


def open_run(
    folder: Path, work: str, options: Options, *, command: str, resume: bool = False, **facts: Any
) -> RunRecord:
    """The record of a run about to start, in a folder that was checked; an earlier run's files are deleted.

    Only files that runs write are deleted, and none where the earlier run is resumed. The folder is this
    process's until the work in the record's `running` ends.

    Args:
        folder: Where the run leaves its results.
        work: What kind of run: "finetune", "train", "evaluate", "loop" or "explain".
        options: What was asked.
        command: How it was asked, for the record.
        resume: Whether a run in the folder is continued.
        **facts: What else the record says, JSON-ready.

    Raises:
        ConfigError: If the folder can't be written.
        BusyError: If another process works there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(lock_file(folder))
        try:
            record = _begin(folder, work, options, command, resume=resume, **facts)
        except BaseException:
            lock.release()
            raise
    except OSError as error:
        raise ConfigError(f"can't write into {folder}: {error.strerror or error}") from error
    record.lock = lock
    return record


def _begin(
    folder: Path, work: str, options: Options, command: str, *, resume: bool, **facts: Any
) -> RunRecord:
    """The record of a run in a folder that nobody else can change."""
    # looked at again: a run may have ended there since
    _check_content(folder, work, resume=resume, overwrite=getattr(options, "overwrite", False))
    clear_abandoned(folder)
    old = read_record(folder)
    if old is not None and resume:
        paths = describe_options(options)["paths"]
        old.update(status="running", paths=paths, resumed=[*old.content.get("resumed", []), _now()])
        return old
    _clear(folder)
    passing = {name: False for name in ("resume", "overwrite") if hasattr(options, name)}
    asked = replace(options, **passing)
    return open_record(folder / RECORD_FILE, work, asked, command=command, started=_now(), **facts)


def open_record(path: Path, work: str, options: Options, *, command: str, **facts: Any) -> RunRecord:
    """The record of a run that begins, as it is then written.

    Args:
        path: The file.
        work: What kind of run, in a word.
        options: What was asked.
        command: How it was asked.
        **facts: What else the record says, JSON-ready.
    """
    record = RunRecord(path, {"work": work, "status": "running", "command": command})
    record.update(**describe_options(options), **facts, versions=loaded_versions())
    return record


@contextmanager
def table_run(
    save_loc: Path, work: str, options: Options, *, command: str, **facts: Any
) -> Iterator[RunRecord]:
    """The record beside a table, NAME.run.json, of the run that writes it; of two at once one is refused.

    Args:
        save_loc: The table.
        work: What kind of run, in a word.
        options: What was asked.
        command: How it was asked, for the record.
        **facts: What else the record says, JSON-ready.

    Raises:
        BusyError: If another process writes the same table.
        ConfigError: If one has written it meanwhile.
    """
    was_there = save_loc.exists()
    with locked(lock_file(save_loc)):
        if save_loc.exists() and not was_there:
            raise ConfigError(f"{save_loc} was written by another process meanwhile")
        clear_abandoned(save_loc.parent, glob.escape(save_loc.name))
        record = open_record(save_loc.with_suffix(".run.json"), work, options, command=command, **facts)
        with record.running():
            yield record


def describe_options(options: Options) -> dict[str, Any]:
    """What a record says of a run's options: as they were given, and where the files among them were."""
    return {"options": options.to_config(), "paths": options.to_paths()}


def read_record(folder: Path) -> RunRecord | None:
    """The record of the run in a folder; None where there is none.

    Raises:
        ConfigError: If the file is there but can't be read.
    """
    return read_record_file(folder / RECORD_FILE)


def read_record_file(path: Path) -> RunRecord | None:
    """The record in a file; None where there is none.

    Raises:
        ConfigError: If the file is there but can't be read.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["work"], content["status"]
        dict(content["options"])
        for part in dict(content.get("data", {})).values():
            dict(part)
        list(content.get("resumed", []))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"{path} is no record of a Zoobot run ({type(error).__name__}: {error}); choose another folder"
        raise ConfigError(msg) from error
    return RunRecord(path, content)


def loaded_versions() -> dict[str, str]:
    """The version of Python and of every package in memory that states one, by name."""
    names = sorted(set(sys.modules) - set(sys.stdlib_module_names))
    found = {name: vars(sys.modules[name]).get("__version__") for name in names if "." not in name}
    stated = {name: version for name, version in found.items() if isinstance(version, str)}
    return {"python": platform.python_version(), "platform": platform.platform(), **stated}


def _refuse_other_content(folder: Path, old: RunRecord | None, work: str) -> None:
    """Results never mix with files that are not ours, nor with those of another kind of run."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"save_dir must be a folder, but {folder} is a file")
    if folder.is_dir():
        clear_abandoned(folder)
    others = [] if old is not None or not folder.is_dir() else sorted(p.name for p in folder.iterdir())
    if set(others) - {lock_file(folder).name}:
        some = ", ".join(others[:5])
        raise ConfigError(f"{folder} holds other files ({some}); give the run a folder of its own")
    if old is not None and old.content["work"] != work:
        msg = f"{folder} holds a run of `{old.content['work']}`; give `{work}` a folder of its own"
        raise ConfigError(msg)


def _refuse_occupied(folder: Path, old: RunRecord) -> None:
    if old.content["status"] == "finished":
        msg = f"{folder} holds a finished run: choose another --save-dir, or replace it with --overwrite"
    elif old.content["work"] in _OPTIONS:
        msg = f"{folder} holds an unfinished run: continue it with --resume, or start over with --overwrite"
    else:
        msg = f"{folder} holds an unfinished run: start over with --overwrite"
    raise ConfigError(msg)


def _clear(folder: Path) -> None:
    for name in RUN_FILES:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
