"""Commands that find strange and interesting galaxies: anomalies, rate."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zoobot.cli.command import Command
from zoobot.cli.saying import say
from zoobot.shared import config
from zoobot.shared.errors import LabelError

if TYPE_CHECKING:
    from zoobot.rating.session import RatingSession
    from zoobot.workflow import RateResult

__all__ = ["COMMANDS"]

_ANOMALIES_DESCRIPTION = """\
Which galaxies are unlike all others? A list, the strangest first, by the features of an encoder alone.

The list has a row for each galaxy: rank, id_str, file_loc (of its image, where known), score (the higher,
the stranger; of a local outlier factor 1 is ordinary). What is strange need not be interesting: `zoobot rate`
finds what is.
"""

_ANOMALIES_EPILOG = """\
examples:
  zoobot represent zoobot-mini --catalog new.csv --save-loc results/features.parquet
  zoobot anomalies results/features.parquet --save-loc results/strange.csv
  by another method
    zoobot anomalies results/features.parquet --method isolation-forest --save-loc results/isolated.csv
"""

_RATE_DESCRIPTION = """\
Find the galaxies that interest you: rate a few, and all others are ranked by what you would say of them.

The first call starts a session, a folder. Each call takes in new ratings, ranks all galaxies anew
(ranking.csv, ranking.png), and says which to rate next: next.csv, with an empty column to fill in, and
next.png. Ratings go from 0 (dull) to 5 (most interesting). All are kept, in ratings.csv; rate a galaxy again
to change your mind. If you know an example of what you look for, begin with it.
"""

_RATE_EPILOG = """\
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
"""


def _anomalies(given: dict[str, Any], command: str) -> None:
    options = config.AnomaliesOptions.from_config(given)
    from zoobot import workflow

    result = workflow.anomalies(options, command=command)
    say(f"the {len(result.table):,} strangest of {result.looked_at:,} galaxies: {result.save_loc}")
    if result.picture is not None:
        say(f"the first of them: {result.picture}")


def _rate(given: dict[str, Any], command: str) -> None:
    options = config.RateOptions.from_config(given)
    from zoobot import workflow

    result = workflow.rate(options, command=command)
    new = result.new
    going_on = replace(options, features=None, catalog=None, rate=(), ratings=None)
    wanted = options.ask
    while wanted and len(result.to_rate):
        answers, wanted = _ask(result)
        new += answers
        result = workflow.rate(going_on, command=command)
    folder, galaxies = result.session.folder, len(result.session.table)
    say(
        f"{len(result.session.ratings):,} of {galaxies:,} galaxies are rated, {new:,} of them now",
        f"  {folder / 'ranking.csv'}: the most interesting galaxies",
        f"  {folder / 'next.csv'}: fill in ratings of these {len(result.to_rate):,}, and give: "
        f"zoobot rate {shlex.quote(options.session)}",
    )


def _ask(result: RateResult) -> tuple[int, bool]:
    """Ask for ratings of the galaxies to rate next: how many there were, and whether to go on after them."""
    if result.picture is not None:
        say(f"the galaxies are shown in {result.picture}")
    say("a rating from 0 to 5 for each; Enter skips a galaxy, q ends")
    answers = 0
    for row in result.to_rate.itertuples():
        answered = _ask_about(str(row.id_str), str(row.file_loc), result.session)
        if answered is None:
            return answers, False
        answers += answered
    return answers, answers > 0


def _ask_about(galaxy: str, place: str, session: RatingSession) -> bool | None:
    """Whether a galaxy was rated, which is on the disk then; None ends the questions."""
    while True:
        sys.stdout.write(f"{galaxy} {place}".rstrip() + ": ")
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line or line.strip().lower() == "q":
            return None
        if not line.strip():
            return False
        try:
            session.rate({galaxy: line.strip()})
        except LabelError as error:
            say(str(error))
        else:
            return True


COMMANDS = (
    Command(
        name="anomalies",
        meaning="list the galaxies that are unlike all others",
        run=_anomalies,
        options=config.AnomaliesOptions,
        description=_ANOMALIES_DESCRIPTION,
        epilog=_ANOMALIES_EPILOG,
        usage="zoobot anomalies FEATURES --save-loc FILE [--catalog FILE] [options]",
        place=("features", "FEATURES"),
    ),
    Command(
        name="rate",
        meaning="find the galaxies that interest you, by rating a few",
        run=_rate,
        options=config.RateOptions,
        description=_RATE_DESCRIPTION,
        epilog=_RATE_EPILOG,
        usage="zoobot rate SESSION [--features FEATURES --catalog FILE] [options]",
        place=("session", "SESSION"),
    ),
)
