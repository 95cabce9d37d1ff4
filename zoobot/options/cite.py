"""The options of `zoobot cite`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.options.command import Command
from zoobot.shared.settings import Options, setting


@dataclass(frozen=True, kw_only=True)
class CiteOptions(Options):
    """Everything that `zoobot cite` can be told."""

    title: ClassVar[str] = "What to cite"

    run: str = setting(
        MISSING,
        "a run's folder, a table or folder of predictions, a checkpoint, an exported file, "
        "hf_hub:owner/name, or a bundled name",
        metavar="RUN",
    )
    bibtex: bool = setting(False, "print the references alone, as BibTeX")


COMMAND = Command(
    name="cite",
    group="judge",
    meaning="say for a paper what was done, in sentences, and whom to cite",
    options=CiteOptions,
    description="""\
Say what a run did, in sentences with its numbers, and whom to cite: its software, its encoder, the survey
whose votes it learned, the methods it used. Both come from the records alone; what they don't tell is named.
""",
    epilog="""\
examples:
  zoobot cite results/rings
  zoobot cite results/new.parquet
  zoobot cite zoobot-mini --bibtex

Runs of finetune, train and evaluate leave the same in their folder: methods.md and references.bib. Citations
are written [@key], as Pandoc and Quarto take them. Read it before you print it: it is your paper.
""",
    usage="zoobot cite RUN [options]",
    place=("run", "RUN"),
)
