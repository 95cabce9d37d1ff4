"""Where a trained model is: what a user's path or name of one means, and what to say of other files."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared.checkpoint import (
    CONFIG_FILE,
    ENCODER_FILE,
    HEAD_FILE,
    PICKLE_FILE,
    read_config,
    recover_checkpoint,
)
from zoobot.shared.errors import CheckpointError
from zoobot.shared.models.bundled import bundled_checkpoint, bundled_names
from zoobot.shared.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["advice_on_file", "find_checkpoint"]

_HUB_PREFIXES = ("hf_hub:", "hf-hub:")
#: What the public Zoobot calls its finetuned models on the Hub.
_PUBLIC_FILES = tuple(f"FinetuneableZoobot{kind}.ckpt" for kind in ("Classifier", "Regressor", "Tree"))
_TORCH_FILES = (".ckpt", ".pt", ".pth", ".bin")


def find_checkpoint(place: str | Path) -> Path:
    """The checkpoint in a folder: itself, the one of the run that left the folder, or a bundled model's.

    Args:
        place: A folder, `hf_hub:owner/name` (or `hf_hub:owner/name@revision`) of a model in our layout on the
            Hugging Face Hub or in its cache, or the name of a bundled model.

    Raises:
        CheckpointError: If there is none of these; of a `.ckpt`, the message says how to convert it.
    """
    for prefix in _HUB_PREFIXES:
        if str(place).startswith(prefix):
            return _from_hub(str(place).removeprefix(prefix))
    folder = Path(place).expanduser()
    for candidate in (folder, folder / "checkpoint"):
        recover_checkpoint(candidate)
        if (candidate / CONFIG_FILE).is_file():
            return candidate
    bundled = bundled_checkpoint(place)
    if bundled is not None and not folder.exists():
        return bundled
    if not folder.exists():
        whole = [name for name in bundled_names() if bundled_checkpoint(name) is not None]
        found = f"does not exist; models that come with Zoobot: {', '.join(whole)}"
    elif folder.is_file():
        found = f"is a file{advice_on_file(folder)}"
    else:
        found = f"has no {CONFIG_FILE}, nor has {folder / 'checkpoint'}"
    msg = f"a checkpoint is the folder that `zoobot finetune` leaves; {folder} {found}"
    raise CheckpointError(msg)


def _from_hub(repository: str) -> Path:
    """The folder of a whole model in the Hub's cache, downloaded if it is not there."""
    name, _, revision = repository.partition("@")
    place = f"hf_hub:{repository}"
    hub = import_optional("huggingface_hub", needed_for=f"the model {place!r}", package="huggingface_hub")
    fetch = partial(hub.hf_hub_download, name, revision=revision or None)
    try:
        folder = _fetched(partial(fetch, local_files_only=True))
    except (OSError, ValueError):  # not in the cache, or not whole
        try:
            folder = _fetched(fetch)
        except CheckpointError:
            raise
        except Exception as error:  # the client's own errors, the network's and the operating system's
            raise CheckpointError(_not_on_hub(hub, name, error)) from error
    return folder


def _fetched(fetch: Callable[[str], str]) -> Path:
    folder = Path(fetch(CONFIG_FILE)).parent
    whole = (read_config(folder).get("zoobot") or {}).get("head") is not None
    try:
        fetch(ENCODER_FILE)
    except OSError:
        if whole:
            raise
        fetch(PICKLE_FILE)  # an encoder by others
    if whole:
        fetch(HEAD_FILE)
    return folder


def _not_on_hub(hub: Any, name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
    folder = name.rpartition("/")[2]
    for file in _PUBLIC_FILES:
        cached = hub.try_to_load_from_cache(name, file) if "/" in name else None
        if isinstance(cached, str):
            return f"{name!r} is one of the public Zoobot's{_convert(Path(cached), folder)}"
    return (
        f"can't get a trained model {name!r} in our layout ({CONFIG_FILE}, {ENCODER_FILE}, {HEAD_FILE}) from "
        f"the Hugging Face Hub or its cache: {reason}. Where it holds a .ckpt of the public Zoobot: "
        f"hf download {name} --local-dir {folder}, then: "
        f"zoobot convert {folder}/{_PUBLIC_FILES[0]} --save-dir {folder}-converted"
    )


def advice_on_file(path: Path) -> str:
    """What to do with a file that is no checkpoint, as the end of a sentence; empty where nothing is known.

    Example:
        >>> advice_on_file(Path("old/0.ckpt"))
        '. For a checkpoint of the public Zoobot: zoobot convert old/0.ckpt --save-dir old/0'
    """
    if path.suffix.lower() not in _TORCH_FILES:
        return ""
    trained = path.parent / "checkpoint"
    if path.name == "last.ckpt" and (trained / CONFIG_FILE).is_file():
        return (
            f", from which a run goes on (--resume, or fit(..., ckpt_path='last')); its best model is "
            f"the folder {trained}"
        )
    return f". For a checkpoint of the public Zoobot{_convert(path, path.with_suffix(''))}"


def _convert(path: Path, folder: str | Path) -> str:
    return f": zoobot convert {shlex.quote(str(path))} --save-dir {shlex.quote(str(folder))}"
