"""The options of `zoobot campaign`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Literal

from zoobot.options.command import Command
from zoobot.options.finetune import CalibrationOptions, FinetuneOptions, LearningOptions, TaskOptions
from zoobot.options.groups import (
    AugmentationOptions,
    CatalogOptions,
    ImageOptions,
    ReadingOptions,
    ScoreOptions,
    TurnOptions,
)
from zoobot.options.predict import PredictOptions
from zoobot.options.prioritise import PlatformOptions, PrioritiseOptions, RuleOptions, WorthOptions
from zoobot.options.votes import CountingOptions, SubjectOptions, WorkflowOptions
from zoobot.shared.settings import refuse, setting
from zoobot.shared.tasks import KINDS

#: What a model keeps in its own record, so that nobody is told again.
_OF_MODEL = {f.name for kind in (ReadingOptions, TurnOptions) for f in fields(kind)}

#: What makes a campaign the campaign that it is: the same in all rounds.
FIXED = (
    *("task", "labels", "schema", "legacy_schema", "class_names", "unit_interval", "missing_values"),
    *("workflow", "workflow_id", "extractor", "id_col", "file_col", "first", "held_out_fraction", "seed"),
)

#: What is said of one round, and holds for no other.
OF_ONE_ROUND: dict[str, Any] = {
    "next": False,
    "votes": (),
    "ask_again": False,
    "allow_urls": False,  # no folder gives leave to ask the network
    "url_hosts": (),
    "url_cache": None,
}

#: Two ways to choose: who gives one of them means none of the other.
_BY_SCORE = {f.name for f in fields(WorthOptions)} - {"n_samples"}
WAYS_TO_CHOOSE = ({f.name for f in fields(RuleOptions)}, _BY_SCORE)


@dataclass(frozen=True, kw_only=True)
class CampaignOptions(
    ScoreOptions,
    CalibrationOptions,
    LearningOptions,
    AugmentationOptions,
    TurnOptions,
    ImageOptions,
    PlatformOptions,
    RuleOptions,
    WorthOptions,
    SubjectOptions,
    CountingOptions,
    WorkflowOptions,
    TaskOptions,
    CatalogOptions,
):
    """Everything that `zoobot campaign` can be told."""

    title: ClassVar[str] = "Campaign"

    campaign: str = setting(MISSING, "the campaign's folder", metavar="FOLDER")
    next: bool = setting(
        False,
        "the next round: learn from --votes, and choose what to ask; or go on with a round that was killed",
    )
    votes: tuple[str, ...] = setting(
        (),
        "what was answered since: the Zooniverse's exports of classifications (each may repeat the last), or "
        "tables that `zoobot finetune` could read, such as those of `zoobot votes` and of an annotator",
        metavar="FILE",
    )
    ask: int = setting(200, "galaxies to ask about in each round", at_least=1)
    ask_again: bool = setting(
        False, "in this round, galaxies that were asked about but never answered may be chosen again"
    )
    first: Literal["random", "typical"] = setting(
        "random",
        "how the first galaxies are chosen, but those that are set aside: at random, or (typical) one of "
        "each cluster of the encoder's features",
    )
    held_out_fraction: float = setting(
        0.25,
        "share of the first galaxies, at random, that no model learns from: all rounds are scored on them",
        above=0,
        below=1,
    )
    workflow: str | None = setting(  # type: ignore[assignment]  # elsewhere there must be one
        None,
        "what volunteers are asked: the workflow's JSON, or the project's export of workflows; it may also "
        "be given later, before the first export",
        metavar="FILE",
    )

    def __post_init__(self) -> None:
        if self.platform is None and self.workflow is not None:
            object.__setattr__(self, "platform", "zooniverse")
        super().__post_init__()

    @property
    def kind(self) -> str:
        """The kind of task: that of a tree, if one is named."""
        return self.task or ("tree" if self.names_tree else "classification")

    @property
    def names_tree(self) -> bool:  # noqa: D102
        return self.schema is not None or self.workflow is not None

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.votes and not self.next:
            refuse("--votes is for the next round: add --next")
        if self.workflow is not None and self.kind != "tree":
            refuse(f"--workflow is for a tree of volunteers' votes, got --task {self.kind}")
        if self.workflow is None and self.extractor is not None:
            refuse("--extractor names the tasks of a workflow: give --workflow too")
        if self.kind == "classification" and self.class_names is None:
            refuse("a campaign needs the names of all classes from the start (--class-names)")
        if self.score is not None and self.score not in KINDS[self.kind].choosing:
            known = ", ".join(KINDS[self.kind].choosing)
            refuse(f"--score for --task {self.kind} must be one of {known}, got {self.score!r}")
        if self.answer is None and self.subject_col is not None:
            refuse("--subject-col needs the probability of a rule: say of which answer (--answer)")
        self.finetune_options(save_dir="model", schema=self.schema or self.workflow)
        self.predict_options(checkpoint="model", save_loc="predictions")
        self.prioritise_options(checkpoint="model", predictions="predictions", save_loc="asked.csv")

    def finetune_options(self, **changes: Any) -> FinetuneOptions:
        """How the model of a round learns."""
        return FinetuneOptions(**self._shared(FinetuneOptions) | {"task": self.kind} | changes)

    def predict_options(self, **changes: Any) -> PredictOptions:
        """How galaxies are predicted, by a model that knows itself how to read images."""
        left_out = {*_OF_MODEL, "batch_size", "precision", "n_samples", "interval"}  # of other meanings there
        return PredictOptions(**self._shared(PredictOptions, left_out) | changes)

    def prioritise_options(self, **changes: Any) -> PrioritiseOptions:
        """How galaxies are chosen, from what is predicted of them."""
        shared = self._shared(PrioritiseOptions, {*_OF_MODEL, "n_samples"})
        return PrioritiseOptions(**shared | {"n": self.ask, "overwrite": True} | changes)

    def first_options(self, **changes: Any) -> PrioritiseOptions:
        """How the first galaxies are chosen by what the encoder makes of them, without a model."""
        others = {f.name for kind in (PlatformOptions, RuleOptions, WorthOptions) for f in fields(kind)}
        shared = self._shared(PrioritiseOptions, others)
        told = {"checkpoint": self.encoder, "score": "typical", "picture": False, "overwrite": True}
        return PrioritiseOptions(**shared | told | changes)

    def _shared(self, kind: Any, left_out: Any = ()) -> dict[str, Any]:
        names = {f.name for f in fields(kind)} - set(left_out)
        return {name: getattr(self, name) for name in names if hasattr(self, name)}


COMMAND = Command(
    name="campaign",
    group="choose",
    meaning="label galaxies round by round: ask, learn from the answers, choose what to ask next",
    options=CampaignOptions,
    description="""\
The whole loop between a catalog and those who label it, in one folder.

The first call makes the folder and the first list of galaxies to ask about, drawn at random (--first); a
share of them is set aside, and no model ever learns from it. Each --next takes in what was answered, teaches
a model all answers so far, scores it on the galaxies set aside, predicts all galaxies that were not asked
about yet, and chooses the next ones, by a score or a rule as `zoobot prioritise` does. Killed at any moment,
the same command goes on where it was. Without --next the folder is told of: which round it is, and what comes
next.

In the folder: round-01, round-02 … with asked.csv (the list), asked.zooniverse (ready to upload), votes.csv,
exports (what came back), model, predictions and held_out.parquet; rounds.csv and rounds.png (what each round
taught); and campaign.json.
""",
    epilog="""\
examples:
  volunteers of the Zooniverse, asked by a workflow there
    zoobot campaign bars --catalog galaxies.csv --workflow workflow.json --ask 200
    zoobot campaign bars --next --votes classifications.csv
    zoobot campaign bars
  named as a tree of Galaxy Zoo's; then by its rule, with some others at random
    zoobot campaign gz --catalog galaxies.csv --workflow workflow.json --extractor names.json --schema gz_desi
    zoobot campaign gz --next --votes c.csv --answer bar-desi_strong --fraction 0.2 --random-share 0.2
  a few people who click, and a table of what they said
    zoobot campaign rings --catalog galaxies.csv --labels ring --class-names no yes --ask 50
    zoobot explore rings/round-01/asked.csv --annotate classes --classes no yes --label-col ring
    zoobot campaign rings --next --votes asked_labels.csv

Options that are given with --next hold for that round and those after it; but for --ask-again, and leave to
ask for images at web addresses (--allow-urls), which is given each time.
""",
    usage="zoobot campaign FOLDER [--next --votes FILE …] [options]",
    place=("campaign", "FOLDER"),
    completed_by="campaign_options",
)
