"""What a run, a model or a table did, for a paper, and whom to cite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoobot.shared.references import bibtex
from zoobot.workflow.methods import methods_of
from zoobot.workflow.reporting import Reported
from zoobot.workflow.sentences import cited

if TYPE_CHECKING:
    from zoobot.options.cite import CiteOptions


@dataclass(frozen=True, kw_only=True, repr=False)
class CiteResult(Reported):
    """What to write of a run.

    Args:
        methods: What was done, as Markdown.
        references: Whom to cite, as BibTeX.
        only_references: Whether these alone were asked for.
    """

    methods: str
    references: str
    only_references: bool = False

    def report(self) -> str:
        """Both, or the references alone."""
        if self.only_references:
            return self.references
        return f"{self.methods}\n# References\n\n{self.references}"


def cite(options: CiteOptions) -> CiteResult:
    """Say what was done, and whom to cite.

    Args:
        options: Of which run.

    Raises:
        ZoobotError: If there is no run, model or table of predictions, or its record is damaged.
    """
    methods = methods_of(options.run)
    return CiteResult(methods=methods, references=bibtex(cited(methods)), only_references=options.bibtex)
