"""The options of `zoobot votes`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.options.command import Command
from zoobot.shared.settings import Options, refuse, setting


@dataclass(frozen=True, kw_only=True)
class WorkflowOptions(Options):
    """What volunteers were asked, and what that is called here."""

    title: ClassVar[str] = "What was asked"

    workflow: str = setting(
        MISSING,
        "the workflow: its JSON, as the Zooniverse's API gives it, or the project's export of workflows",
        metavar="FILE",
    )
    workflow_id: str | None = setting(None, "which one, where the file holds several", metavar="N")
    extractor: str | None = setting(
        None,
        "a Galaxy Zoo label extractor, JSON: names of questions (task_key_label_prefixes) and answers "
        "(task_key_data_labels); without it, they are made of the workflow's own words",
        metavar="FILE",
    )


@dataclass(frozen=True, kw_only=True)
class CountingOptions(Options):
    """Which classifications count, and how much."""

    title: ClassVar[str] = "What counts"

    user_weights: str | None = setting(
        None, "a table of volunteers' weights, columns user_name and weight; others weigh 1", metavar="FILE"
    )
    after_retirement: bool = setting(
        True, "count classifications that were made when the subject was retired"
    )
    first_version: float | None = setting(
        None, "leave out classifications of older versions of the workflow, such as 12.34", above=0
    )


@dataclass(frozen=True, kw_only=True)
class SubjectOptions(Options):
    """Which of our galaxies a subject of the Zooniverse is."""

    title: ClassVar[str] = "Whose votes"

    id_field: str = setting(
        "id_str",
        "what the galaxy's id is called in what subjects were uploaded with (also as #id_str or !id_str)",
        metavar="NAME",
    )
    subjects: str | None = setting(
        None,
        "the project's export of subjects, where the answers do not say what subjects were uploaded with",
        metavar="FILE",
    )


@dataclass(frozen=True, kw_only=True)
class VotesOptions(SubjectOptions, CountingOptions, WorkflowOptions):
    """Everything that `zoobot votes` can be told."""

    title: ClassVar[str] = "Votes"

    export: str = setting(
        MISSING,
        "what volunteers answered: an export of classifications, an aggregation of it "
        "(panoptes_aggregation), or Caesar's reductions, CSV or JSON",
        metavar="FILE",
    )
    save_loc: str = setting(MISSING, "the table of votes to write: .csv or .parquet", metavar="FILE")
    schema: str | None = setting(
        None,
        "a tree whose label columns the votes must have: a name from `zoobot schemas`, or a .yaml file",
        metavar="NAME",
    )
    catalog: str | None = setting(
        None,
        "our table of these galaxies, whose columns come beside the votes: images, positions …",
        metavar="FILE",
    )
    overwrite: bool = setting(False, "replace the table if it exists")

    def check(self) -> None:  # noqa: D102
        super().check()
        if not self.save_loc.lower().endswith((".csv", ".parquet")):
            refuse(f"--save-loc must end in .csv or .parquet, got {self.save_loc!r}")


COMMAND = Command(
    name="votes",
    group="choose",
    meaning="make a table of votes of what volunteers answered at the Zooniverse",
    options=VotesOptions,
    description="""\
Count what volunteers answered, for each galaxy and answer, from the files that the Zooniverse gives a
project.

A volunteer counts once for each subject: the first time. Answers that no question here has are named, and all
that is left out is counted.
""",
    epilog="""\
examples:
  zoobot votes classifications.csv --workflow workflow.json --save-loc votes.csv
  named as a tree of Galaxy Zoo's, beside the columns of our own table
    zoobot votes answers.csv --workflow w.json --extractor desi.json --schema gz_desi --save-loc votes.csv
  zoobot schemas --from-workflow workflow.json --yaml tree.yaml
  zoobot finetune --catalog votes.csv --task tree --schema tree.yaml --save-dir results/votes
""",
    usage="zoobot votes EXPORT --workflow FILE --save-loc FILE [options]",
    place=("export", "EXPORT"),
)
