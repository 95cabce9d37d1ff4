"""The options of `zoobot rate`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

from zoobot.options.command import Command
from zoobot.options.groups import (
    FigureOptions,
    ShownGalaxiesOptions,
)
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import setting


@dataclass(frozen=True, kw_only=True)
class RateOptions(FigureOptions, ShownGalaxiesOptions):
    """Everything that `zoobot rate` can be told."""

    title: ClassVar[str] = "Session and ratings"

    session: str = setting(MISSING, "the session's folder", metavar="SESSION")
    features: str | None = setting(
        None,
        "start the session from these: what `zoobot represent` wrote, a table or a folder of parts",
        metavar="FEATURES",
    )
    rate: tuple[str, ...] = setting(
        (), f"ratings, from 0 (dull) to {defaults.TOP_RATING} (most interesting)", metavar="ID=RATING"
    )
    ratings: str | None = setting(
        None,
        "a table with the columns id_str and rating; next.csv in the session is read without a word",
        metavar="FILE",
    )
    ask: bool = setting(False, "ask for the ratings here and now, one galaxy after the other")
    n: int = setting(20, "galaxies to ask about next", at_least=1)
    ranked: int = setting(1000, "most galaxies in ranking.csv", at_least=1)
    model: Literal["gaussian-process", "ridge"] | None = setting(
        None,
        "what learns from the ratings; without a word, a Gaussian process from the first "
        f"{defaults.MOST_RATINGS_OF_PROCESS:,} and an ensemble of ridge regressions from more",
    )
    ask_for: Literal["upper-bound", "expected-improvement", "expected"] = setting(
        defaults.RATING_ACQUISITION,
        "which galaxies to ask about: those that might be rated high, those that would beat the best so far, "
        "or those expected to be rated high",
    )
    seed: int = setting(defaults.SEED, "a new session: seeds all that is drawn at random", at_least=0)
    picture: bool = setting(True, "also draw the galaxies to rate, next.png, and the best, ranking.png")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.catalog is not None and self.features is None:
            raise ConfigError("--catalog is for the start of a session: give --features too")
        for one in self.rate:
            galaxy, equals, rating = one.rpartition("=")
            if not (galaxy and equals and rating):
                raise ConfigError(f"--rate must be ID=RATING, such as J0001=5, got {one!r}")


COMMAND = Command(
    name="rate",
    group="look",
    meaning="find the galaxies that interest you, by rating a few",
    options=RateOptions,
    description="""\
Find the galaxies that interest you: rate a few, and all others are ranked by what you would say of them.

The first call starts a session, a folder. Each call takes in new ratings, ranks all galaxies anew
(ranking.csv, ranking.png), and says which to rate next: next.csv, with an empty column to fill in, and
next.png. Ratings go from 0 (dull) to 5 (most interesting). All are kept, in ratings.csv; rate a galaxy again
to change your mind. If you know an example of what you look for, begin with it.
""",
    epilog="""\
examples:
  start
    zoobot rate strange --features results/features.parquet
  fill the column `rating` of strange/next.csv, then
    zoobot rate strange
  galaxies that you know already; a table of ratings
    zoobot rate strange --rate J0001=5 J0002=0
    zoobot rate strange --ratings mine.csv
  be asked, one galaxy after the other
    zoobot rate strange --ask
""",
    usage="zoobot rate SESSION [--features FEATURES --catalog FILE] [options]",
    place=("session", "SESSION"),
)
