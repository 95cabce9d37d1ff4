"""The options of `zoobot push`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.options.command import Command
from zoobot.shared.settings import Options, setting


@dataclass(frozen=True, kw_only=True)
class PushOptions(Options):
    """Everything that `zoobot push` can be told."""

    title: ClassVar[str] = "Push"

    checkpoint: str = setting(
        MISSING, "a trained model: the run's folder, or the checkpoint folder", metavar="FOLDER"
    )
    to: str = setting(MISSING, "the repository on the Hugging Face Hub: owner/name", metavar="OWNER/NAME")
    private: bool = setting(False, "only you and those you let may see the repository, if it is made now")
    revision: str | None = setting(
        None, "the branch to send to, made if it is not there; without it, main", metavar="BRANCH"
    )
    message: str | None = setting(None, "what the Hub's history says of it", metavar="TEXT")
    license: str | None = setting(
        None,
        "under which license others may use the model, as the Hub calls it: mit, cc-by-4.0 …",
        metavar="NAME",
    )
    overwrite_card: bool = setting(
        False, "replace a README.md that the repository has and that says otherwise"
    )
    dry_run: bool = setting(False, "say what would be sent, and show the card; nothing is sent or asked")


COMMAND = Command(
    name="push",
    group="model",
    meaning="send a trained model to the Hugging Face Hub, with a card written from its run",
    options=PushOptions,
    description="""\
Send a trained model to the Hugging Face Hub, where both engines load it by name (hf_hub:owner/name) and timm
its encoder. Its card says what the run's record says: task, galaxies, pixels, training, scores, limits.

Sent are the weights, config.json and the card; no image, label, id or catalog, no name of a file or folder.
""",
    epilog="""\
examples:
  look at what would be sent
    zoobot push results/rings me/rings --dry-run
  send it
    zoobot push results/rings me/rings --license mit
  use it, anywhere
    zoobot predict hf_hub:me/rings --catalog new.csv --save-loc new.parquet

Who you are the Hub's own tools know: `hf auth login` once, or HF_TOKEN in the environment. HF_ENDPOINT names
another Hub.
""",
    usage="zoobot push CHECKPOINT OWNER/NAME [options]",
    place=("checkpoint", "CHECKPOINT"),
    second_place=("to", "OWNER/NAME"),
)
