"""How galaxies to be labelled are chosen, and how a loop of choosing and learning goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Options, setting

__all__ = ["RoundsOptions"]


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
