"""What a user's `name` of an encoder means: one look-up for both engines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from zoobot.shared.architectures import near_architectures
from zoobot.shared.checkpoint import CONFIG_FILE, ENCODER_FILE, PICKLE_FILE
from zoobot.shared.errors import EncoderError
from zoobot.shared.models.encoder_source import EncoderSource, source_from_folder
from zoobot.shared.models.model_places import advice_on_file, bundled_encoder, bundled_names
from zoobot.shared.preprocessing import Preprocessing

logger = logging.getLogger("zoobot")

#: Where the weights are: safetensors where a repository has them.
_WEIGHTS = (ENCODER_FILE, PICKLE_FILE)
_HUB_PREFIXES = ("hf_hub:", "hf-hub:")

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
    for prefix in _HUB_PREFIXES:
        if text.startswith(prefix):
            return _from_hub(text.removeprefix(prefix))
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


def _from_hub(repository: str) -> EncoderSource:
    """A model on the Hugging Face Hub.

    The cache is asked first: a node without network would wait half a minute before it is.
    """
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
