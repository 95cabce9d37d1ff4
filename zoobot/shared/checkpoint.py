"""The neutral checkpoint: a trained model in a folder that either engine, and timm, can read.

The layout is the Hugging Face Hub's for timm models:

- `config.json`: what timm needs to rebuild the encoder (`architecture`, `model_args`, `pretrained_cfg`), and
  under "zoobot" what it does not know: task, head, preprocessing, training record, versions.
- `model.safetensors`: the encoder, with timm's parameter names and torch's layouts, norm statistics included.
  Folders by others may have `pytorch_model.bin` in its place, of which tensors are read, and nothing is run.
- `head.safetensors`: the head, in torch's layout. A folder without one is an encoder alone.
- `galaxies.safetensors`: hashes of the ids of the galaxies that taught the model, 8 bytes each
  (`zoobot.shared.training.taught`), where they are known.

Nothing is pickled, so to load a checkpoint never runs code. `timm.create_model("local-dir:FOLDER",
pretrained=True)` loads the encoder of any such folder.
"""

from __future__ import annotations

import glob
import json
import logging
import math
import platform
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zoobot.shared.errors import CheckpointError
from zoobot.shared.files.tensors import as_plain, read_tensors, write_tensors
from zoobot.shared.files.torch_pickle import read_torch_pickle
from zoobot.shared.files.whole import abandoned, replacing_folder
from zoobot.shared.training.taught import GALAXIES_FILE, TaughtBy

__all__ = [
    "CONFIG_FILE",
    "ENCODER_FILE",
    "FORMAT",
    "HEAD_FILE",
    "PICKLE_FILE",
    "NeutralCheckpoint",
    "find_encoder_file",
    "read_checkpoint",
    "read_config",
    "read_encoder_file",
    "recover_checkpoint",
    "refuse_other_content",
    "write_checkpoint",
]

logger = logging.getLogger("zoobot")

FORMAT = 1
CONFIG_FILE = "config.json"
ENCODER_FILE = "model.safetensors"
HEAD_FILE = "head.safetensors"

#: What timm's `save_for_hf` writes beside, or in place of, `ENCODER_FILE`.
PICKLE_FILE = "pytorch_model.bin"

_OUR_FILES = frozenset({CONFIG_FILE, ENCODER_FILE, HEAD_FILE, GALAXIES_FILE})


@dataclass(frozen=True, kw_only=True)
class NeutralCheckpoint:
    """A model as plain values and NumPy arrays: what an engine writes to a checkpoint and reads from one.

    Args:
        architecture: timm's name of the encoder's architecture.
        encoder: Parameters and norm statistics of the encoder: timm's names, torch's layouts.
        num_features: Width of the encoder's output.
        pretrained_cfg: What timm calls by that name: input_size (channels, height, width), mean, std…
        model_args: What timm's builder needs besides the name: in_chans, img_size…
        preprocessing: `Preprocessing.to_config()`; None in a folder that Zoobot did not write.
        task: `Task.to_config()`; None for an encoder alone.
        head: How the head is built, JSON-ready; None for an encoder alone.
        head_tensors: Parameters of the head, torch's layouts.
        training: The record of how the model was trained; numbers that are not finite (an undefined metric)
            are written as null.
        taught_by: Which galaxies it was trained and validated on; None where nobody knows.
        versions: Names and versions of the software that made it.
        origin: `Origin.to_config()`: the encoder that it was trained from; None where that is not known.
        conformal: `Conformal.to_config()`: the errors on validation galaxies; None where they are not known.
    """

    architecture: str
    encoder: dict[str, np.ndarray]
    num_features: int
    pretrained_cfg: dict[str, Any]
    model_args: dict[str, Any] = field(default_factory=dict)
    preprocessing: dict[str, Any] | None = None
    task: dict[str, Any] | None = None
    head: dict[str, Any] | None = None
    head_tensors: dict[str, np.ndarray] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    taught_by: TaughtBy | None = None
    versions: dict[str, str] = field(default_factory=dict)
    origin: dict[str, Any] | None = None
    conformal: dict[str, Any] | None = None

    def __repr__(self) -> str:
        kind = "an encoder alone" if self.task is None else self.task.get("kind")
        return f"<{type(self).__name__}: {kind}, {self.architecture}, {self.num_features:,} features>"

    def to_config(self) -> dict[str, Any]:
        """The content of config.json."""
        errors = {} if self.conformal is None else {"conformal": self.conformal}
        return {
            "architecture": self.architecture,
            "num_classes": 0,
            "num_features": self.num_features,
            "model_args": self.model_args,
            "pretrained_cfg": {**self.pretrained_cfg, "num_classes": 0},
            "zoobot": {
                "format": FORMAT,
                "task": self.task,
                "head": self.head,
                "preprocessing": self.preprocessing,
                "origin": self.origin,
                "training": _plain(self.training),
                **errors,
                "versions": {**_versions(), **self.versions},
            },
        }


def write_checkpoint(folder: str | Path, checkpoint: NeutralCheckpoint) -> Path:
    """Write a checkpoint folder, whole or not at all, and return its path.

    The files are written beside it under another name and moved into place at the end. An older checkpoint of
    the same name is replaced only then, so a run that is killed leaves the old one or the new one.

    Args:
        folder: Where to write; its parents are made. An existing folder must be empty or hold a checkpoint.
        checkpoint: What to write.

    Raises:
        CheckpointError: If the folder holds other files, or a value is not JSON-ready.
        WriteError: If it can't be written, such as on a full disk; an older one stays.

    Example:
        >>> folder = write_checkpoint("results/rings/checkpoint", checkpoint)  # doctest: +SKIP
    """
    folder = Path(folder).expanduser().absolute()
    refuse_other_content(folder)
    text = _to_json(checkpoint.to_config(), folder)
    with replacing_folder(folder) as draft:
        (draft / CONFIG_FILE).write_text(text, encoding="utf-8")
        write_tensors(draft / ENCODER_FILE, checkpoint.encoder)
        if checkpoint.head is not None:
            write_tensors(draft / HEAD_FILE, checkpoint.head_tensors)
        if checkpoint.taught_by is not None:
            write_tensors(draft / GALAXIES_FILE, checkpoint.taught_by.to_tensors())
    return folder


def read_checkpoint(folder: str | Path) -> NeutralCheckpoint:
    """A checkpoint read from its folder; an encoder folder in timm's format has no task and no head.

    Args:
        folder: A folder written by `write_checkpoint`, or a Hugging Face Hub folder of a timm model.

    Raises:
        CheckpointError: If it is not a folder, a file is missing or damaged, or a newer Zoobot wrote it.

    Example:
        >>> read_checkpoint("results/rings/checkpoint").task["kind"]  # doctest: +SKIP
        'classification'
    """
    folder = Path(folder).expanduser()
    config = read_config(folder)
    ours = config.get("zoobot") or {}
    head = ours.get("head")
    taught = folder / GALAXIES_FILE
    return NeutralCheckpoint(
        architecture=config["architecture"],
        encoder=read_encoder_file(find_encoder_file(folder)),
        num_features=config.get("num_features") or 0,
        pretrained_cfg=config["pretrained_cfg"] or {},
        model_args=config.get("model_args") or {},
        preprocessing=ours.get("preprocessing"),
        task=ours.get("task"),
        head=head,
        head_tensors={} if head is None else read_tensors(folder / HEAD_FILE),
        training=ours.get("training") or {},
        taught_by=TaughtBy.from_tensors(taught) if taught.is_file() else None,
        versions=ours.get("versions") or {},
        origin=ours.get("origin"),
        conformal=ours.get("conformal"),
    )


def find_encoder_file(folder: Path) -> Path:
    """The file of a folder that holds the encoder's weights.

    Raises:
        CheckpointError: If there is none that can be read.
    """
    for name in (ENCODER_FILE, PICKLE_FILE):
        if (folder / name).is_file():
            return folder / name
    endings = (".bin", ".pth", ".pt", ".ckpt", ".safetensors")
    others = sorted(p.name for p in folder.glob("*") if p.suffix in endings and p.name not in _OUR_FILES)
    hint = f"; it holds {', '.join(others[:5])}" if others else ""
    raise CheckpointError(f"the checkpoint {folder} has no {ENCODER_FILE}, nor {PICKLE_FILE}{hint}")


def read_encoder_file(path: Path) -> dict[str, np.ndarray]:
    """The arrays of safetensors, or of tensors that torch saved, by name; half precision as float32.

    Raises:
        CheckpointError: If the file is missing, damaged, or holds anything else.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)
    return {name: as_plain(array) for name, array in read_torch_pickle(path).items()}


def read_config(folder: str | Path) -> dict[str, Any]:
    """The content of a checkpoint's config.json, checked; no weights are read.

    Keys that this version does not know are kept. timm's older flat layout comes back in the newer one.

    Raises:
        CheckpointError: If the folder or file is missing, the file is damaged, or a newer Zoobot wrote it.
    """
    folder = Path(folder).expanduser()
    path = folder / CONFIG_FILE
    if not folder.exists():
        recover_checkpoint(folder)
    if not folder.is_dir():
        found = "is a file" if folder.exists() else f"does not exist{_kept_older(folder)}"
        msg = f"a checkpoint is a folder with {CONFIG_FILE} and {ENCODER_FILE}; {folder} {found}"
        raise CheckpointError(msg)
    if not path.is_file():
        listing = ", ".join(sorted(p.name for p in folder.iterdir())[:10]) or "nothing"
        raise CheckpointError(f"{folder} is no checkpoint: it has no {CONFIG_FILE} (it holds {listing})")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} can't be read as JSON: {error}") from error
    return _checked_config(config, path)


def _checked_config(config: Any, path: Path) -> dict[str, Any]:
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        msg = f"{path} must be a JSON object with the key 'architecture', as timm and Zoobot write it"
        raise CheckpointError(msg)
    if "pretrained_cfg" not in config:
        config = {**config, "pretrained_cfg": {k: v for k, v in config.items() if k != "architecture"}}
    _refuse_other_kinds(config, ("pretrained_cfg", "model_args", "zoobot"), dict, "a JSON object", path)
    ours = config.get("zoobot") or {}
    parts = ("task", "head", "preprocessing", "origin", "training", "versions", "conformal")
    _refuse_other_kinds(ours, parts, dict, "a JSON object", path)
    _refuse_other_kinds(config, ("num_features",), int, "a whole number", path)
    number = ours.get("format", FORMAT)
    if not isinstance(number, int) or number > FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {number!r}, this Zoobot reads up to {FORMAT}; "
            f"update it: pip install --upgrade zoobot"
        )
    return config


def _refuse_other_kinds(
    config: dict[str, Any], keys: Sequence[str], kind: type, words: str, path: Path
) -> None:
    for key in keys:
        if config.get(key) and not isinstance(config[key], kind):
            raise CheckpointError(f"{path}: {key!r} must be {words}, got {reprlib.repr(config[key])}")


def _to_json(config: dict[str, Any], folder: Path) -> str:
    try:
        return json.dumps(config, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        msg = f"the configuration for {folder} must hold plain finite JSON values: {error}"
        raise CheckpointError(msg) from error


def _plain(value: Any) -> Any:
    """A record in JSON's terms: a metric that is NaN must not cost the user the trained model."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _kept_older(folder: Path) -> str:
    """Where a write that was killed at the last moment left the checkpoint it was replacing."""
    older = _older_ones(folder)
    return f" (a killed write left the previous one in {older[-1]}: rename it)" if older else ""


def _older_ones(folder: Path) -> list[Path]:
    """The checkpoints that killed writes had moved aside, the latest last."""
    left = abandoned(folder.parent, f".{glob.escape(folder.name)}.*.older")
    return sorted((path for path in left if (path / CONFIG_FILE).is_file()), key=lambda p: p.stat().st_mtime)


def recover_checkpoint(folder: str | Path) -> None:
    """Put the previous checkpoint back where a write was killed between moving it aside and replacing it.

    Args:
        folder: Where a checkpoint should be; where one is, or none was moved aside, nothing happens.
    """
    folder = Path(folder).expanduser().absolute()
    older = [] if folder.exists() else _older_ones(folder)
    if not older:
        return
    try:
        older[-1].rename(folder)
    except OSError as error:  # such as on a disk that can only be read: who needs the checkpoint says more
        logger.warning("%s can't be put back into %s: %s", older[-1], folder, error.strerror or error)
        return
    logger.warning("%s: a write was killed as it replaced this checkpoint; the previous one is back", folder)


def refuse_other_content(folder: Path) -> None:
    """Raise unless a checkpoint may be written into a folder: it is absent, or holds one and nothing else.

    Replacing a checkpoint must never delete what someone else keeps in that folder.

    Raises:
        CheckpointError: If the folder is a file, or holds other files.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise CheckpointError(f"a checkpoint is a folder, but {folder} is a file; choose another name")
    others = sorted(p.name for p in folder.iterdir() if p.name not in _OUR_FILES)
    if others:
        msg = f"{folder} holds other files ({', '.join(others[:5])}); give the checkpoint a folder of its own"
        raise CheckpointError(msg)


def _versions() -> dict[str, str]:
    from zoobot.version import __version__

    return {"zoobot": __version__, "python": platform.python_version(), "numpy": np.__version__}
