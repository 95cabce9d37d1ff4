"""The options of `zoobot schemas`, and its words on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoobot.options.command import Command
from zoobot.shared.settings import Options, refuse, setting


@dataclass(frozen=True, kw_only=True)
class SchemasOptions(Options):
    """Everything that `zoobot schemas` can be told."""

    title: ClassVar[str] = "Tree"

    name: str | None = setting(None, "the tree to draw; without it, list them all", metavar="NAME")
    legacy: bool = setting(False, "with its dependencies as once published, errors included")
    from_workflow: str | None = setting(
        None,
        "draw the tree that a Zooniverse workflow asks: its JSON, or a project's export of workflows",
        metavar="FILE",
    )
    workflow_id: str | None = setting(None, "with --from-workflow: which one of several", metavar="N")
    extractor: str | None = setting(
        None, "with --from-workflow: a label extractor, which names questions and answers", metavar="FILE"
    )
    yaml: str | None = setting(
        None, "with a name, write its tree there; without, draw that file's", metavar="FILE"
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.from_workflow is not None and (self.name is not None or self.legacy):
            refuse("--from-workflow is a tree of its own: leave out the name and --legacy")
        if self.from_workflow is None and (self.workflow_id or self.extractor):
            refuse("--workflow-id and --extractor are for --from-workflow")
        if self.legacy and self.name is None and self.yaml is not None:
            refuse("--legacy is for the trees that come with Zoobot: give a name")


COMMAND = Command(
    name="schemas",
    group="model",
    meaning="list Galaxy Zoo's decision trees, or draw one",
    options=SchemasOptions,
    usage="zoobot schemas [NAME] [options]",
    place=("name", "NAME"),
    epilog="""\
examples:
  zoobot schemas                             list them
  zoobot schemas gz2                         draw one
  zoobot schemas gz2 --yaml my_tree.yaml     write one to a file, to change it
  zoobot schemas --yaml my_tree.yaml         check and draw a file
  zoobot schemas --from-workflow workflow.json --yaml my_tree.yaml
""",
)
