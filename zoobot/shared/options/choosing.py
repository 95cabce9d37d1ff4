"""How galaxies to be labelled are chosen, and how a loop of choosing and learning goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Options, setting

__all__ = ["ChoosingOptions", "RoundsOptions"]


@dataclass(frozen=True, kw_only=True)
class ChoosingOptions(Options):
    """Which galaxies are worth their labels."""

    title: ClassVar[str] = "Choice"

    n: int = setting(500, "most galaxies to list", at_least=1)
    score: Literal["bald", "variance", "entropy", "margin", "least-confidence", "random"] | None = setting(
        None,
        "what a label is worth; bald: what it tells of which member is right (variance: the same for "
        "numbers); entropy, margin, least-confidence: how open it is; without a word bald, or variance",
    )
    diversity: Literal["kmeans++", "kcentre", "none"] | None = setting(
        None,
        "keep the galaxies apart by their features, so that no batch is one galaxy fifty times; without a "
        "word kmeans++ where there is a model to encode them, else none",
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
class RoundsOptions(Options):
    """How a simulated loop goes."""

    title: ClassVar[str] = "Loop"

    simulate: bool = setting(
        False, "play with labels that are known already; real loops go through `zoobot prioritise`"
    )
    strategies: tuple[str, ...] = setting(
        ("random", "bald"),
        "ways to choose: random, a score (bald, entropy, margin, least-confidence, variance), kcentre, "
        "kmeans++, or a score with one of these, such as bald+kcentre",
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
        "score that the curves show, as in evaluation.json; without it accuracy, average_precision, r2 or, "
        "of a tree, nll",
        metavar="NAME",
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        for name in ("strategies", "seeds"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                msg = f"--{name} must be one or more, all different, got {list(given)}"
                raise ConfigError(msg)
