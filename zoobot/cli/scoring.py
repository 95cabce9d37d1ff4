"""Commands that hold a model against labels: calibrate, evaluate."""

from __future__ import annotations

from typing import Any

from zoobot.cli.command import Command
from zoobot.cli.saying import failure_lines, say
from zoobot.shared import config

__all__ = ["COMMANDS"]

_CALIBRATE_EPILOG = """\
examples:
  zoobot calibrate results/gz2 --catalog votes.csv --select split=val
  zoobot calibrate results/rings --catalog rings.csv --select split=val

`zoobot finetune` does it by itself, on the validation galaxies. The catalog's galaxies must not have been
trained on. Only the certainty of the checkpoint's predictions changes; a tree's expected fractions stay, and
so does the most likely class.
"""

_EVALUATE_EPILOG = """\
examples:
  zoobot evaluate results/rings --catalog rings.csv --save-dir results/rings_test
  zoobot evaluate results/rings --catalog rings.csv --select split=test --save-dir results/rings_test
  several models, or dropout samples, as one equal mixture
    zoobot evaluate results/a --ensemble results/b --catalog rings.csv --save-dir results/both_test
    zoobot evaluate results/a --n-samples 10 --catalog rings.csv --save-dir results/dropout_test
"""


def _calibrate(given: dict[str, Any], command: str) -> None:
    options = config.CalibrateOptions.from_config(given)
    from zoobot import workflow

    result = workflow.calibrate(options, command=command)
    say("", result.table, "", f"The factors are in {result.checkpoint}: its predictions are calibrated now")
    if len(result.failures):
        say(f"{len(result.failures):,} images could not be read")


def _evaluate(given: dict[str, Any], command: str) -> None:
    options = config.EvaluateOptions.from_config(given)
    from zoobot import workflow

    result = workflow.evaluate(options, command=command)
    say("", result.table, "", *failure_lines(result.failures, result.save_dir / "failures.csv"))
    say(f"Scores, predictions and pictures are in {result.save_dir}")


COMMANDS = (
    Command(
        name="calibrate",
        meaning="fit how sure a trained model may be, on a labelled catalog",
        run=_calibrate,
        options=config.CalibrateOptions,
        epilog=_CALIBRATE_EPILOG,
        usage="zoobot calibrate CHECKPOINT --catalog FILE [options]",
        place=("checkpoint", "CHECKPOINT"),
    ),
    Command(
        name="evaluate",
        meaning="score a trained model on a labelled catalog",
        run=_evaluate,
        options=config.EvaluateOptions,
        epilog=_EVALUATE_EPILOG,
        usage="zoobot evaluate CHECKPOINT --catalog FILE --save-dir FOLDER [options]",
        place=("checkpoint", "CHECKPOINT"),
    ),
)
