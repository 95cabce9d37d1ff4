"""The command that shows which pixels made a model say so: explain."""

from __future__ import annotations

from typing import Any

from zoobot.cli.command import Command
from zoobot.cli.saying import failure_lines, say
from zoobot.shared import config

__all__ = ["COMMANDS"]

_DESCRIPTION = """\
Which pixels made a model say so? For each galaxy a picture of its image beside what speaks for one answer,
and against it, and the numbers behind the picture.

Integrated gradients share out the difference that the galaxy makes, beside an empty sky, over its pixels.
Grad-CAM shows, more coarsely, the region where the encoder finds something that speaks for the answer.

The folder --save-dir gets a table (explanations.csv) and, for each galaxy, explanations/ID.png and ID.npz:
the arrays integrated_gradients, which add up to value - baseline_value, and grad_cam, in the pixels of the
galaxy's own image.
"""

_EPILOG = """\
examples:
  zoobot explain zoobot-mini --catalog new.csv --answer has-spiral-arms-gz2_yes --save-dir results/why
  one image, or several; of a question the most likely answer
    zoobot explain zoobot-mini --catalog a.jpg b.jpg --answer bar-gz2 --save-dir results/bars
  the most likely class of each galaxy, by one method
    zoobot explain results/kinds --catalog new.csv --method grad-cam --save-dir results/why_kinds
"""


def _explain(given: dict[str, Any], command: str) -> None:
    options = config.ExplainOptions.from_config(given)
    from zoobot import workflow

    result = workflow.explain(options, command=command)
    say("", f"{len(result.table):,} galaxies explained: {result.save_dir / 'explanations'}")
    say(*(f"  {count:>5,} × {name}" for name, count in result.table["answer"].value_counts().items()))
    if result.not_adding_up:
        few = ", ".join(result.not_adding_up[:3])
        say(
            f"the parts of {len(result.not_adding_up):,} miss the whole by more than 5% (column error), such "
            f"as {few}: more --steps are more exact"
        )
    say(*failure_lines(result.failures, result.save_dir / "failures.csv"))


COMMANDS = (
    Command(
        name="explain",
        meaning="show which pixels made a model say so",
        run=_explain,
        options=config.ExplainOptions,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        usage="zoobot explain MODEL --catalog FILE|IMAGE … --save-dir FOLDER [options]",
        place=("checkpoint", "MODEL"),
    ),
)
