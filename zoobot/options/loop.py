"""The options of `zoobot loop`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import ClassVar, Literal

from zoobot.choosing.strategy_names import SCORES, read_strategy
from zoobot.options.command import Command
from zoobot.options.finetune import FinetuneOptions, TaskOptions
from zoobot.options.groups import (
    CatalogOptions,
    EngineOptions,
    FigureOptions,
    ImageOptions,
    TurnOptions,
)
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Options, refuse, setting
from zoobot.shared.tasks import KINDS


@dataclass(frozen=True, kw_only=True)
class RoundsOptions(Options):
    """How a simulated loop goes."""

    title: ClassVar[str] = "Loop"

    simulate: bool = setting(
        False, "play with labels that are known already; real loops go through `zoobot prioritise`"
    )
    strategies: tuple[str, ...] = setting(
        ("random", "bald"),
        f"ways to choose: a score ({', '.join(SCORES)}), kcentre, kmeans++, or a score with one of these, "
        "such as bald+kcentre",
        metavar="NAME",
    )
    start: int = setting(50, "galaxies labelled at random before the first round", at_least=2)
    rounds: int = setting(8, "rounds of choosing and learning", at_least=1)
    per_round: int = setting(50, "galaxies labelled in each round", at_least=1)
    seeds: tuple[int, ...] = setting((1, 2, 3), "each strategy is played once for each seed", at_least=0)
    members: int = setting(10, "models, or dropout samples, that may disagree", at_least=2)
    member_kind: Literal["bootstrap", "dropout"] = setting(
        "bootstrap", "heads of resampled galaxies, or dropout samples of one head"
    )
    volunteers: int = setting(
        defaults.VOLUNTEERS, "tree: people whose votes on a question are foreseen", at_least=1
    )
    held_out: str | None = setting(
        None, "score on the galaxies whose column holds a value, e.g. split=val", metavar="COLUMN=VALUE"
    )
    held_out_fraction: float = setting(
        0.25, "without --held-out: share of the galaxies that is scored on", above=0, below=1
    )
    score: str | None = setting(
        None,
        "score that the curves show, as in evaluation.json; without it "
        + ", ".join(f"{kind.main_score} ({name})" for name, kind in KINDS.items()),
        metavar="NAME",
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        for name in ("strategies", "seeds"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise ConfigError(f"--{name} must be one or more, all different, got {list(given)}")


@dataclass(frozen=True, kw_only=True)
class LoopOptions(
    EngineOptions, FigureOptions, RoundsOptions, TurnOptions, ImageOptions, TaskOptions, CatalogOptions
):
    """Everything that `zoobot loop` can be told."""

    title: ClassVar[str] = "Model and results"

    encoder: str = setting(
        defaults.ENCODER, "frozen encoder under the heads, as in `zoobot finetune`", metavar="NAME"
    )
    dropout_prob: float = setting(
        defaults.DROPOUT_PROB, "chance that a feature is dropped, for dropout samples", at_least=0, below=1
    )
    save_dir: str = setting(MISSING, "folder for the curves, their picture and the record", metavar="FOLDER")
    resume: bool = setting(False, "continue the unfinished run in --save-dir, with its options")
    overwrite: bool = setting(False, "replace the run in --save-dir")

    def check(self) -> None:  # noqa: D102
        super().check()
        if not self.simulate:
            refuse(
                "`zoobot loop` plays with labels that are known already: say --simulate. A real loop is "
                "`zoobot prioritise`, whose list people label, and `zoobot finetune` with what they said"
            )
        if self.resume and self.overwrite:
            refuse("give --resume or --overwrite, not both")
        if self.member_kind == "dropout" and self.dropout_prob == 0:
            refuse("--member-kind dropout needs a --dropout-prob above 0")
        for name in self.strategies:
            read_strategy(name, self.kind)

    def finetune_options(self) -> FinetuneOptions:
        """The options of a model such as the loop trains: a head on a frozen encoder."""
        shared = {f.name: getattr(self, f.name) for f in fields(FinetuneOptions) if hasattr(self, f.name)}
        return FinetuneOptions(**shared | {"n_blocks": 0, "resume": False, "overwrite": False})


COMMAND = Command(
    name="loop",
    group="choose",
    meaning="simulate rounds of labelling and learning: which galaxies are worth their labels?",
    options=LoopOptions,
    description="""\
Which way of choosing galaxies to label needs the fewest labels? Play it with labels that you have already.

Labels are revealed round by round. In each round a head on a frozen encoder learns from those revealed so
far, is scored on galaxies kept aside, and each strategy chooses what to reveal next. The folder --save-dir
gets the curves (curves.csv, curves.png), how many labels each strategy saves (savings.json), what was bought
when (rounds.json), and a record of the run.
""",
    epilog="""\
examples:
  volunteers' votes
    zoobot loop --simulate --catalog votes.csv --task tree --schema gz2 --save-dir results/loop
  classes, scored on galaxies that the catalog sets aside
    zoobot loop --simulate --catalog kinds.csv --labels kind --held-out split=val --save-dir results/kinds
  other strategies, other rounds
    zoobot loop --simulate --catalog kinds.csv --labels kind --strategies random margin --save-dir results/b
  go on after a kill
    zoobot loop --resume --save-dir results/loop

A real loop is `zoobot campaign`; or, step by step, `zoobot prioritise`, whose list people label, and
`zoobot finetune` with all labels so far.
""",
    usage="zoobot loop --simulate --catalog FILE --labels COLUMN … --save-dir FOLDER [options]",
)
