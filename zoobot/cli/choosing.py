"""Commands that choose galaxies to label: prioritise, loop."""

from __future__ import annotations

from typing import Any

from zoobot.cli.command import Command
from zoobot.cli.saying import duration, failure_lines, resumed, say
from zoobot.shared import config

__all__ = ["COMMANDS"]

_PRIORITISE_DESCRIPTION = """\
Which galaxies should people label next? Those whose labels would teach a model most, and that differ from
each other and from what is labelled already.

The list has a row for each galaxy, the first first: rank, id_str, file_loc, score, reason (the question, or
the classes, that matter most), expected (what the model expects there), distance (to the nearest galaxy
chosen before or labelled, by the encoder's features), cost. As .json it has the same as `subjects` for a
platform of volunteers, with the `questions` that are worth asking.
"""

_PRIORITISE_EPILOG = """\
examples:
  zoobot prioritise results/gz2 --catalog new.csv --n 500 --save-loc next.csv
  not those that are labelled already, and as JSON for a platform
    zoobot prioritise results/gz2 --catalog new.csv --exclude votes.csv --save-loc next.json
  one question alone counts
    zoobot prioritise zoobot-mini --catalog new.csv --questions bar-gz2 --save-loc next.csv
  several models that may disagree; people are paid by the minute
    zoobot prioritise results/a --ensemble results/b --catalog new.csv --cost-col minutes --save-loc next.csv
  from predictions that are there already (dropout samples, or an ensemble's)
    zoobot predict results/rings --n-samples 20 --catalog new.csv --save-loc samples.parquet
    zoobot prioritise --predictions samples.parquet --catalog new.csv --save-loc next.csv

The loop goes round: people label the list, their labels join your table, and `zoobot finetune` learns from
all of them.
What each way of choosing saves on labels that you have: `zoobot loop --simulate`.
"""

_LOOP_DESCRIPTION = """\
Which way of choosing galaxies to label needs the fewest labels? Play it with labels that you have already.

Labels are revealed round by round. In each round a head on a frozen encoder learns from those revealed so
far, is scored on galaxies kept aside, and each strategy chooses what to reveal next. The folder --save-dir
gets the curves (curves.csv, curves.png), how many labels each strategy saves (savings.json), what was bought
when (rounds.json), and a record of the run.
"""

_LOOP_EPILOG = """\
examples:
  volunteers' votes
    zoobot loop --simulate --catalog votes.csv --task tree --schema gz2 --save-dir results/loop
  classes, scored on galaxies that the catalog sets aside
    zoobot loop --simulate --catalog kinds.csv --labels kind --held-out split=val --save-dir results/kinds
  other strategies, other rounds
    zoobot loop --simulate --catalog kinds.csv --labels kind --strategies random margin --save-dir results/b
  go on after a kill
    zoobot loop --resume --save-dir results/loop

A real loop is `zoobot prioritise`, whose list people label, and `zoobot finetune` with all labels so far.
"""


def _prioritise(given: dict[str, Any], command: str) -> None:
    options = config.PrioritiseOptions.from_config(given)
    from zoobot import workflow

    result = workflow.prioritise(options, command=command)
    say("", f"{len(result.table):,} of {result.looked_at:,} galaxies, by {result.score}: {result.save_loc}")
    say(*(f"  {count:>5,} × {reason}" for reason, count in result.reasons.items()))
    if result.picture is not None:
        say(f"the first of them: {result.picture}")
    say(*failure_lines(result.failures, result.save_loc.with_suffix(".failures.csv")))


def _loop(given: dict[str, Any], command: str) -> None:
    options = resumed("loop", given) if given.get("resume") else config.LoopOptions.from_config(given)
    from zoobot import workflow

    result = workflow.loop(options, command=command)
    folder = result.save_dir
    say("", result.table, "", *failure_lines(result.failures, folder / "failures.csv"))
    say(
        f"Done in {duration(result.seconds)}. In {folder}:",
        "  curves.png            score against labels bought; curves.csv all scores of all rounds",
        "  savings.json          the table above",
        "  rounds.json           which galaxies were bought when",
    )


COMMANDS = (
    Command(
        name="prioritise",
        meaning="list the galaxies that people should label next, and why",
        run=_prioritise,
        options=config.PrioritiseOptions,
        description=_PRIORITISE_DESCRIPTION,
        epilog=_PRIORITISE_EPILOG,
        usage="zoobot prioritise CHECKPOINT --catalog FILE --save-loc FILE [options]",
        place=("checkpoint", "CHECKPOINT"),
    ),
    Command(
        name="loop",
        meaning="simulate rounds of labelling and learning: which galaxies are worth their labels?",
        run=_loop,
        options=config.LoopOptions,
        description=_LOOP_DESCRIPTION,
        epilog=_LOOP_EPILOG,
        usage="zoobot loop --simulate --catalog FILE --labels COLUMN … --save-dir FOLDER [options]",
    ),
)
