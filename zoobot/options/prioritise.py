"""The options of `zoobot prioritise`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

from zoobot.choosing.strategy_names import SCORES, TYPICAL, ScoreName
from zoobot.options.command import Command
from zoobot.options.groups import (
    CatalogOptions,
    EngineOptions,
    FigureOptions,
    ReadingOptions,
    TurnOptions,
)
from zoobot.shared import defaults
from zoobot.shared.settings import Options, refuse, setting


@dataclass(frozen=True, kw_only=True)
class WorthOptions(Options):
    """What a label is worth."""

    title: ClassVar[str] = "Choice"

    score: ScoreName | Literal["typical"] | None = setting(
        None,
        "what a label is worth; "
        + "; ".join(f"{name}: {score.meaning}" for name, score in SCORES.items())
        + "; typical: nothing is predicted, and of each of many groups of like features a galaxy is "
        "drawn, as the first of all: an encoder of galaxies is enough; without a word bald, or variance",
    )
    diversity: Literal["kmeans++", "kcentre", "clusters", "none"] | None = setting(
        None,
        "keep the galaxies apart by their features, so that no batch is one galaxy fifty times; clusters: "
        "the best of each of many groups; without a word kmeans++ where a model encodes them, else none",
    )
    questions: tuple[str, ...] | None = setting(
        None, "only these questions (or labels, or targets) count; without it, all", metavar="NAME"
    )
    volunteers: int = setting(
        defaults.VOLUNTEERS, "tree: people whose votes on a question are foreseen", at_least=1
    )
    n_samples: int | None = setting(
        None,
        f"dropout samples of each model; without it {defaults.ACQUISITION_SAMPLES}, or 1 of an ensemble",
        at_least=1,
    )


@dataclass(frozen=True, kw_only=True)
class ChoosingOptions(WorthOptions):
    """Which galaxies are worth their labels."""

    title: ClassVar[str] = "Choice"

    n: int = setting(500, "most galaxies to list", at_least=1)
    ensemble: tuple[str, ...] = setting(
        (), "further models of the same task, which may disagree with the first", metavar="MODEL"
    )
    predictions: str | None = setting(
        None,
        "a table of `zoobot predict` with samples or of an ensemble: nothing is predicted anew",
        metavar="FILE",
    )
    exclude: str | None = setting(
        None,
        "table of galaxies that are labelled already, by their ids; the list keeps away from them",
        metavar="FILE",
    )
    cost_col: str | None = setting(
        None, "column of what each label costs: score per cost decides", metavar="COLUMN"
    )
    budget: float | None = setting(
        None, "most that all labels may cost together; without --cost-col each costs 1", above=0
    )
    select: str | None = setting(
        None, "only galaxies whose column holds a value, e.g. split=new", metavar="COLUMN=VALUE"
    )


@dataclass(frozen=True, kw_only=True)
class RuleOptions(Options):
    """Galaxies that volunteers would most likely call so, instead of a score."""

    title: ClassVar[str] = "Choice by a rule"

    answer: str | None = setting(
        None,
        "choose by a rule instead of a score: the galaxies of which the model is sure enough that they are "
        "this, a column of votes, a class or a label; likeliest first, and not kept apart",
        metavar="COLUMN",
    )
    fraction: float | None = setting(
        None,
        "tree: that at least this share of the volunteers who are asked give the answer",
        above=0,
        below=1,
    )
    probability: float | None = setting(
        None, f"how sure, at least; without it {defaults.RULE_PROBABILITY:g}", above=0, at_most=1
    )
    random_share: float | None = setting(
        None,
        "for each galaxy chosen, so many more at random from those below the rule, such as 0.2; -n is the "
        "most of both together",
        at_least=0,
        at_most=1,
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        given = [
            name for name in ("fraction", "probability", "random_share") if getattr(self, name) is not None
        ]
        if self.answer is None and given:
            refuse(f"--{given[0].replace('_', '-')} is of a rule: say of which answer (--answer)")


@dataclass(frozen=True, kw_only=True)
class PlatformOptions(Options):
    """The same galaxies, ready to be uploaded for volunteers."""

    title: ClassVar[str] = "Platform of volunteers"

    platform: Literal["zooniverse"] | None = setting(
        None,
        "also write a folder beside the list, NAME.zooniverse: manifest.csv for the Panoptes tools, with the "
        "images",
    )
    image_urls: str | None = setting(
        None,
        "the manifest names URLs instead of files: a template with columns in braces, such as "
        "https://example.org/{id_str}.jpg",
        metavar="TEMPLATE",
    )
    metadata: tuple[str, ...] = setting(
        (),
        "columns of the catalog to upload with each subject; ! before a name hides it from volunteers while "
        "they classify, # from all",
        metavar="COLUMN",
    )
    subject_col: str | None = setting(
        None,
        "column of the numbers that subjects have at the Zooniverse already: also write "
        "subject_assistant.json, the rule's probability of every galaxy",
        metavar="COLUMN",
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        given = [name for name in ("image_urls", "metadata", "subject_col") if getattr(self, name)]
        if self.platform is None and given:
            refuse(f"--{given[0].replace('_', '-')} is for volunteers: add --platform zooniverse")


@dataclass(frozen=True, kw_only=True)
class PrioritiseOptions(
    EngineOptions,
    FigureOptions,
    PlatformOptions,
    RuleOptions,
    ChoosingOptions,
    TurnOptions,
    ReadingOptions,
    CatalogOptions,
):
    """Everything that `zoobot prioritise` can be told."""

    title: ClassVar[str] = "Model and list"

    checkpoint: str | None = setting(
        None,
        "a trained model: the checkpoint folder, or the run's folder; with --predictions it is needed only "
        "to keep galaxies apart; with --score typical any encoder, as in `zoobot finetune`",
        metavar="MODEL",
    )
    save_loc: str = setting(
        MISSING, "the list to write: .csv to look at, .json for a platform of volunteers", metavar="FILE"
    )
    picture: bool = setting(True, "also draw the first galaxies, beside the list as NAME.png")
    overwrite: bool = setting(False, "replace the list if it exists")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.checkpoint is None and self.predictions is None:
            refuse("give a trained model (--checkpoint), or what one predicted (--predictions)")
        if self.checkpoint is None and self.diversity not in (None, "none"):
            refuse(f"--diversity {self.diversity} needs a model to encode galaxies: give its checkpoint too")
        if self.predictions is not None and (self.ensemble or self.n_samples):
            refuse("--ensemble and --n-samples are for predicting anew: leave them out with --predictions")
        if self.score == TYPICAL:
            self._check_typical()
        if self.answer is not None:
            self._check_rule()
        elif self.subject_col is not None:
            refuse("--subject-col needs the probability of a rule: say of which answer (--answer)")

    def _check_typical(self) -> None:
        given = [
            name for name in ("predictions", "ensemble", "n_samples", "questions") if getattr(self, name)
        ]
        if given:
            refuse(
                f"--score typical predicts nothing: leave --{given[0].replace('_', '-')} out, or "
                "choose another score"
            )
        if self.diversity not in (None, "clusters"):
            refuse(f"--score typical is one of each cluster: leave --diversity {self.diversity} out")

    def _check_rule(self) -> None:
        others = ["score", "questions", "cost_col", "budget"]
        given = [name for name in others if getattr(self, name) is not None]
        given += ["volunteers"] if self.volunteers != defaults.VOLUNTEERS else []
        if given:
            flag = given[0].replace("_", "-")
            refuse(f"--{flag} is for a choice by score, --answer for one by a rule: leave one of them out")
        if self.diversity not in (None, "none"):
            refuse(
                f"--diversity {self.diversity} can't go with --answer: a rule takes the likeliest galaxies, "
                "alike or not"
            )


COMMAND = Command(
    name="prioritise",
    group="choose",
    meaning="list the galaxies that people should label next, and why",
    options=PrioritiseOptions,
    description="""\
Which galaxies should people label next? Those whose labels would teach a model most, and that differ from
each other and from what is labelled already.

The list has a row for each galaxy, the first first: rank, id_str, file_loc, score, reason (the question, or
the classes, that matter most), expected (what the model expects there), distance (to the nearest galaxy
chosen before or labelled, by the encoder's features), cost. As .json it has the same as `subjects` for a
platform of volunteers, with the `questions` that are worth asking.

With --answer a rule chooses instead: all galaxies for which P(fraction of the answer ≥ --fraction), by the
posterior of the model or of all its samples and members, is --probability or more; `score` is P, and the
reason the answer, or "random". With --platform zooniverse the galaxies lie beside the list, ready to upload.
""",
    epilog="""\
examples:
  zoobot prioritise results/gz2 --catalog new.csv --n 500 --save-loc next.csv
  nothing is labelled yet, and there is no model
    zoobot prioritise zoobot-mini --catalog new.csv --score typical --n 100 --save-loc first.csv
  not those that are labelled already, and as JSON for a platform
    zoobot prioritise results/gz2 --catalog new.csv --exclude votes.csv --save-loc next.json
  one question alone counts
    zoobot prioritise zoobot-mini --catalog new.csv --questions bar-gz2 --save-loc next.csv
  several models that may disagree; people are paid by the minute
    zoobot prioritise results/a --ensemble results/b --catalog new.csv --cost-col minutes --save-loc next.csv
  as Galaxy Zoo chooses: volunteers probably see a bar (--random-share adds others)
    zoobot prioritise zoobot-mini --catalog n.csv --answer bar-gz2_yes --fraction 0.2 --save-loc next.csv
  a folder to upload with the Panoptes tools, beside the list
    zoobot prioritise results/a --catalog new.csv --platform zooniverse --metadata "!ra" --save-loc next.csv
  from predictions that are there already (dropout samples, or an ensemble's)
    zoobot predict results/rings --n-samples 20 --catalog new.csv --save-loc samples.parquet
    zoobot prioritise --predictions samples.parquet --catalog new.csv --save-loc next.csv

The loop goes round: people label the list, their labels join your table, and `zoobot finetune` learns from
all of them. `zoobot campaign` does that, round by round, in one folder.
What each way of choosing saves on labels that you have: `zoobot loop --simulate`.
""",
    usage="zoobot prioritise CHECKPOINT --catalog FILE --save-loc FILE [options]",
    place=("checkpoint", "CHECKPOINT"),
)
