"""A trained model sent to the Hugging Face Hub, with a card written from its run."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from zoobot.shared.checkpoint import (
    CONFIG_FILE,
    ENCODER_FILE,
    HEAD_FILE,
    find_encoder_file,
    read_config,
    read_encoder_file,
)
from zoobot.shared.errors import CheckpointError, ConfigError, HubError
from zoobot.shared.files.tensors import write_tensors
from zoobot.shared.models.encoder_source import MODULE_PREFIX
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.workflow.account import facts_for_others, read_account
from zoobot.workflow.card import write_card
from zoobot.workflow.reporting import Reported, quoted

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from zoobot.options.push import PushOptions

logger = logging.getLogger("zoobot")

CARD_FILE = "README.md"
_MAIN = "main"
#: Where timm's record of weights says on whose disk they were.
_OF_DISKS = frozenset({"file", "state_dict", "source"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True, repr=False)
class PushResult(Reported):
    """What was sent to the Hub, or would be.

    Args:
        repository: owner/name.
        revision: The branch.
        url: Where it can be seen; empty of a dry run.
        files: What was sent, by name, with how many bytes it has.
        card: The card.
        kept_card: Whether the repository kept another card that it had.
    """

    repository: str
    revision: str
    url: str
    files: dict[str, int]
    card: str
    kept_card: bool = False

    @property
    def name(self) -> str:
        """What the model is loaded by."""
        return f"hf_hub:{self.repository}" + ("" if self.revision == _MAIN else f"@{self.revision}")

    def report(self) -> str:
        """What came out, as a text to read."""
        sent = [f"  {name:<20} {size:>14,} bytes" for name, size in self.files.items()]
        if not self.url:
            start = (
                f"Nothing was sent. Without --dry-run {self.repository} (branch {self.revision}) would get"
            )
            return "\n".join([start, *sent, "", "The card:", "", self.card])
        lines = [f"Sent to {self.url}", *sent]
        if self.kept_card:
            lines += [
                f"The {CARD_FILE} that was there is kept, and may tell of an earlier model: --overwrite-card "
                "replaces it, --dry-run shows the new one"
            ]
        return "\n".join(
            [
                *lines,
                "Next: use it anywhere",
                f"  zoobot predict {quoted(self.name)} --catalog NEW.csv --save-loc new.parquet",
            ]
        )


def push(options: PushOptions) -> PushResult:
    """Send a model to the Hub: its weights, its config.json and a card, in one commit.

    Args:
        options: Everything that can be chosen.

    Raises:
        ConfigError: If the name is none of the Hub's, or the repository is public though it is to be private.
        CheckpointError: If there is no model, or one that no name can rebuild.
        HubError: If the Hub can't be reached, or refuses.
    """
    repository, revision = _repository(options.to), options.revision or _MAIN
    checkpoint = find_checkpoint(options.checkpoint)
    config = _config_for_others(checkpoint)
    card = write_card(read_account(options.checkpoint), repository, terms=options.license or None)
    texts = {CONFIG_FILE: json.dumps(config, indent=2, allow_nan=False) + "\n", CARD_FILE: card}
    for name, text in texts.items():
        _refuse_private(text, name, checkpoint)
    with TemporaryDirectory() as folder:
        content: dict[str, bytes | Path] = {name: text.encode() for name, text in texts.items()}
        content |= _weights(checkpoint, config, Path(folder))
        files = {n: len(c) if isinstance(c, bytes) else c.stat().st_size for n, c in content.items()}
        if options.dry_run:
            return PushResult(repository=repository, revision=revision, url="", files=files, card=card)
        logger.info("Sending %s to %s", ", ".join(files), repository)
        url, kept = _send(repository, revision, content, options)
    if kept:
        del files[CARD_FILE]
    return PushResult(
        repository=repository, revision=revision, url=url, files=files, card=card, kept_card=kept
    )


def _repository(name: str) -> str:
    """owner/name, as the Hub takes it."""
    plain = re.sub(r"^hf[_-]hub:", "", name)
    if not _NAME.fullmatch(plain) or "--" in plain or ".." in plain or plain.endswith((".git", ".", "-")):
        raise ConfigError(
            "a repository on the Hub is called owner/name, of letters, digits, '-', '_' and '.', got "
            f"{name!r}; a branch is given by --revision"
        )
    if max(map(len, plain.split("/"))) > 96:
        raise ConfigError(f"the Hub takes names of at most 96 letters, got {name!r}")
    return plain


def _config_for_others(checkpoint: Path) -> dict[str, Any]:
    """The config.json that is sent: what loading and using the model need, without what is its author's."""
    config = read_config(checkpoint)
    if config["architecture"].startswith(MODULE_PREFIX):
        raise CheckpointError(
            f"the encoder in {checkpoint} was {config['architecture'].removeprefix(MODULE_PREFIX)}, a module "
            "in memory: nobody could load it by name, so it is not sent. Train one of timm's architectures"
        )
    about = config["pretrained_cfg"] or {}
    config = {**config, "pretrained_cfg": {k: v for k, v in about.items() if k not in _OF_DISKS}}
    ours = config.get("zoobot")
    return config if not ours else {**config, "zoobot": facts_for_others(ours)}


def _refuse_private(text: str, name: str, checkpoint: Path) -> None:
    """Raise a ConfigError if a text that would be sent holds a path of this machine, whatever led to it."""
    for place in dict.fromkeys(
        map(str, (Path.home(), Path.cwd(), checkpoint.absolute(), checkpoint.resolve().parent))
    ):
        if len(place) > 1 and place in text:
            raise ConfigError(
                f"{name} would tell others of {place}, a folder of yours, so nothing was sent: a class, "
                "label or question of the model is called so. Teach it by other names"
            )


def _weights(checkpoint: Path, config: dict[str, Any], folder: Path) -> dict[str, bytes | Path]:
    """The files of the weights by the names they get; what torch pickled is written anew."""
    encoder = find_encoder_file(checkpoint)
    if encoder.name != ENCODER_FILE:
        arrays = read_encoder_file(encoder)
        encoder = folder / ENCODER_FILE
        write_tensors(encoder, arrays)
    found: dict[str, bytes | Path] = {ENCODER_FILE: encoder}
    if (config.get("zoobot") or {}).get("head") is not None:
        found[HEAD_FILE] = checkpoint / HEAD_FILE
        if not (checkpoint / HEAD_FILE).is_file():
            raise CheckpointError(f"the checkpoint {checkpoint} has no {HEAD_FILE}")
    return found


def _send(
    repository: str, revision: str, content: dict[str, bytes | Path], options: PushOptions
) -> tuple[str, bool]:
    """Where the commit can be seen, and whether another card was kept."""
    import huggingface_hub as hub  # late: few commands need it

    api = hub.HfApi(library_name="zoobot")
    with _hub_errors(hub, repository, api.endpoint):
        _make_repository(hub, api, repository, private=options.private)
        if revision != _MAIN:
            api.create_branch(repository, branch=revision, exist_ok=True)
        old = _card_there(hub, api, repository, revision)
        kept = old is not None and old != content[CARD_FILE] and not options.overwrite_card
        if kept:
            logger.warning(
                "%s has a %s that says otherwise: it is kept (--overwrite-card replaces it)",
                repository,
                CARD_FILE,
            )
        additions = [
            hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=c if isinstance(c, bytes) else str(c))
            for name, c in content.items()
            if not (kept and name == CARD_FILE)
        ]
        commit = api.create_commit(
            repository,
            additions,
            commit_message=options.message or "Add a model of galaxies made with Zoobot",
            revision=revision,
        )
    logger.debug("commit %s", commit.oid)
    return f"{api.endpoint}/{repository}" + ("" if revision == _MAIN else f"/tree/{revision}"), kept


def _make_repository(hub: Any, api: HfApi, repository: str, *, private: bool) -> None:
    """Make the repository, if it is not there; refuse a public one where it is to be private."""
    if hub.get_token() is None:
        raise HubError(
            "the Hub must know who you are: run `hf auth login` once, or set HF_TOKEN in the environment to "
            f"a token that may write (made at {api.endpoint}/settings/tokens)"
        )
    try:
        there = api.repo_info(repository)
    except hub.utils.RepositoryNotFoundError:
        api.create_repo(repository, private=private or None, exist_ok=True)
        return
    if private and not there.private:
        raise ConfigError(
            f"{repository} is there already, and public: --private can't hide it. Make it private in its "
            "settings on the Hub, or choose another name"
        )


def _card_there(hub: Any, api: HfApi, repository: str, revision: str) -> bytes | None:
    """The card that a branch has; None without one."""
    if not api.file_exists(repository, CARD_FILE, revision=revision):
        return None
    with TemporaryDirectory() as folder:  # not the cache, which the next `hf_hub:` would read
        path = api.hf_hub_download(
            repository, CARD_FILE, revision=revision, local_dir=folder, force_download=True
        )
        return Path(path).read_bytes()


@contextmanager
def _hub_errors(hub: Any, repository: str, endpoint: str) -> Iterator[None]:
    """The Hub's refusals, and those of the network on the way, in our words."""
    try:
        yield
    except (ConfigError, HubError):
        raise
    except hub.utils.HfHubHTTPError as error:
        raise HubError(_refused(error, repository)) from error
    except Exception as error:  # those of the client, of its HTTP library, of the network
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        whole = "Files appear there all together or not at all; try again"
        raise HubError(f"can't send {repository} to {endpoint}: {reason}. {whole}") from error


def _refused(error: Any, repository: str) -> str:
    """What the Hub's answer means."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    owner = repository.partition("/")[0]
    said = " ".join(str(getattr(error, "server_message", None) or "").split())[:300]
    means = {
        400: "the Hub does not accept what was sent (a license it does not know, for example)",
        401: "the Hub does not know your token: run `hf auth login` anew, or mend HF_TOKEN",
        403: f"your token may not write to {owner}: it needs the right, and you must belong there",
        404: f"there is no {owner} on the Hub, or no such repository or branch that your token may see",
        409: "the repository was changed or made by somebody else at the same time: try again",
        413: "the files are larger than the Hub takes",
        429: "the Hub was asked too often: wait some minutes, then try again",
    }
    meaning = means.get(status or 0, "the Hub could not do it" if (status or 0) >= 500 else "the Hub refused")
    answered = f" (it answered {status}{': ' + said if said else ''})" if status else ""
    return f"{repository} was not sent: {meaning}{answered}"
