"""Commands that let people look at what a model says: explore."""

from __future__ import annotations

from typing import Any

from zoobot.cli.command import Command
from zoobot.cli.saying import failure_lines, say
from zoobot.shared import config

__all__ = ["COMMANDS"]

_DESCRIPTION = """\
Look through galaxies and what a model says of them: one HTML file, to open in a browser and to send to
colleagues. It needs no server and no network.

It shows each galaxy's picture with its predictions, intervals and labels; sorts and filters by any answer;
finds galaxies that look alike; and saves the galaxies you select as CSV.
"""

_EPILOG = """\
examples:
  a run of finetune, train or evaluate
    zoobot explore results/rings
  predictions, a table or a folder of parts
    zoobot explore results/new.parquet --save-loc new.html
  with look-alikes, and columns of the catalog to sort and filter by
    zoobot explore results/gz2 --encode --columns redshift ra dec
  a table that does not say where its images are
    zoobot explore new.csv --checkpoint results/gz2 --catalog new_catalog.csv
"""


def _explore(given: dict[str, Any], command: str) -> None:
    options = config.ExploreOptions.from_config(given)
    from zoobot import workflow

    result = workflow.explore(options)
    of_all = "" if result.galaxies == result.predicted else f" (a random sample of {result.predicted:,})"
    galaxies = "1 galaxy" if result.galaxies == 1 else f"{result.galaxies:,} galaxies"
    say("", f"{galaxies}{of_all}, {result.megabytes:.1f} MB: {result.save_loc}")
    say(*failure_lines(result.failures, result.save_loc.with_suffix(".failures.csv")))


COMMANDS = (
    Command(
        name="explore",
        meaning="a page to look through galaxies and their predictions, in one HTML file",
        run=_explore,
        options=config.ExploreOptions,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        usage="zoobot explore RESULTS [options]",
        place=("results", "RESULTS"),
    ),
)
