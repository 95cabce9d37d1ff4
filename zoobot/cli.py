"""The `zoobot` command: parses, loads one engine by way of the workflow, and says what came out.

Heavy imports stand inside the commands, so that help answers at once. An error that Zoobot raises on purpose is
one line and exit code 2; any other keeps its traceback.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

from zoobot import __version__
from zoobot.shared import config
from zoobot.shared.errors import ConfigError, ZoobotError
from zoobot.shared.settings import add_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoobot.shared.settings import Options

__all__ = ["main", "main_exit"]

_DESCRIPTION = """\
Deep learning for galaxy morphology: finetune a pretrained model on your labels, score it, predict new galaxies.

New here? `zoobot demo` simulates a small survey and does all of that with it, offline, in a few minutes.
Each command explains itself: `zoobot finetune --help`.
"""

_EPILOG = """\
examples:
  zoobot demo
  zoobot finetune --catalog rings.csv --labels ring --save-dir results/rings
  zoobot predict results/rings --catalog new.csv --save-loc results/new.parquet
  zoobot schemas gz_decals_dr5
"""

_FINETUNE_DESCRIPTION = """\
Teach a pretrained encoder a new task, from a table of galaxies with labels.

The table (CSV, Parquet, FITS, VOTable) has a row for each galaxy: an id (column id_str), the path of its image
(column file_loc, absolute or relative to the table's folder), and labels. Classes may be numbers from 0 or words.
The folder --save-dir gets the model, its scores, predictions and pictures, and a record of the run.
"""

_FINETUNE_EPILOG = """\
examples:
  is it a ring? (column ring: 0 or 1)
    zoobot finetune --catalog rings.csv --labels ring --save-dir results/rings
  several classes, by name, rare ones counting as much as common ones
    zoobot finetune --catalog galaxies.csv --labels morphology --class-weights balanced --save-dir results/classes
  a number
    zoobot finetune --catalog efigi.csv --task regression --labels T --save-dir results/ttype
  volunteers' votes on a decision tree
    zoobot finetune --catalog votes.csv --task tree --schema gz2 --n-blocks 2 --save-dir results/gz2
  FITS images of five bands
    zoobot finetune --catalog hsc.csv --labels merger --channels 5 --stretch asinh --save-dir results/hsc
  go on after a kill
    zoobot finetune --resume --save-dir results/rings

few labels (hundreds): keep --n-blocks 0; thousands: try --n-blocks 1, 2, 3 … all, and watch the score.
"""

_PREDICT_EPILOG = """\
examples:
  zoobot predict results/rings --catalog new.csv --save-loc results/new.parquet
  zoobot predict results/rings --catalog folder_of_images --save-loc results/new.csv

An image that can't be read is listed in NAME.failures.csv, and the run goes on.
"""

_EVALUATE_EPILOG = """\
examples:
  zoobot evaluate results/rings --catalog rings.csv --save-dir results/rings_test
  zoobot evaluate results/rings --catalog rings.csv --select split=test --save-dir results/rings_test
"""

_SCHEMAS_EPILOG = """\
examples:
  zoobot schemas                             list them
  zoobot schemas gz2                         draw one
  zoobot schemas gz2 --yaml my_tree.yaml     write one to a file, to change it
  zoobot schemas --yaml my_tree.yaml         check and draw a file
"""


def main_exit() -> None:
    """Run the command line and leave with its exit code: the entry point of the installed command."""
    raise SystemExit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 an error that says what to do, 130 interrupted.

    Args:
        argv: The words after `zoobot`; by default those of the process.

    Example:
        >>> main(["schemas", "gz_rings"])  # doctest: +SKIP
        0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    given = vars(parser.parse_args(words))
    command = given.pop("run", None)
    if command is None:
        parser.print_help()
        return 0
    _tell_progress()
    try:
        command(given, f"zoobot {shlex.join(words)}")
    except ZoobotError as error:
        sys.stderr.write(f"zoobot: error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"\nzoobot: interrupted. {_how_to_go_on(given)}\n")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader, such as `head`, has had enough
        return 0
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="zoobot",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"zoobot {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, run: Callable[[dict[str, Any], str], None], meaning: str, **texts: Any) -> Any:
        texts = {"description": f"{meaning[0].upper()}{meaning[1:]}.", **texts}
        sub = commands.add_parser(
            name, help=meaning, formatter_class=argparse.RawDescriptionHelpFormatter, **texts
        )
        sub.set_defaults(run=run)
        return sub

    sub = add("demo", _demo, "simulate a survey, finetune, score and predict: the whole job, offline")
    add_arguments(sub, config.DemoOptions)
    sub = add(
        "finetune",
        _finetune,
        "teach a pretrained model your labels",
        description=_FINETUNE_DESCRIPTION,
        epilog=_FINETUNE_EPILOG,
        usage="zoobot finetune --catalog FILE --labels COLUMN … --save-dir FOLDER [options]",
    )
    add_arguments(sub, config.FinetuneOptions)
    sub = add(
        "predict",
        _predict,
        "predict a catalog, or a folder of images, with a trained model",
        epilog=_PREDICT_EPILOG,
        usage="zoobot predict CHECKPOINT --catalog FILE --save-loc FILE [options]",
    )
    _add_checkpoint(sub)
    add_arguments(sub, config.PredictOptions)
    sub = add(
        "evaluate",
        _evaluate,
        "score a trained model on a labelled catalog",
        epilog=_EVALUATE_EPILOG,
        usage="zoobot evaluate CHECKPOINT --catalog FILE --save-dir FOLDER [options]",
    )
    _add_checkpoint(sub)
    add_arguments(sub, config.EvaluateOptions)
    sub = add("schemas", _schemas, "list the decision trees of Galaxy Zoo, or draw one", epilog=_SCHEMAS_EPILOG)
    sub.add_argument("name", nargs="?", help="the tree to draw")
    sub.add_argument("--legacy", action="store_true", help="as once published, with errors in its dependencies")
    sub.add_argument("--yaml", metavar="FILE", help="with a name, write its tree there; without, draw that file's")
    sub = add("info", _info, "say what a checkpoint holds: encoder, task, pixels, training")
    sub.add_argument("checkpoint", metavar="CHECKPOINT", help="the checkpoint's folder, or the run's")
    return parser


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="CHECKPOINT", nargs="?", help="the same as --checkpoint")


def _tell_progress() -> None:
    """Let what the library logs appear on stderr, plainly."""
    logger = logging.getLogger("zoobot")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_PlainFormatter())
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(logging.INFO)


class _PlainFormatter(logging.Formatter):
    """Progress as it is; anything worse with its level in front."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return f"{prefix}{record.getMessage()}"


def _how_to_go_on(given: dict[str, Any]) -> str:
    if "save_dir" in given and "catalog" in given or given.get("resume"):
        return f"Go on with: zoobot finetune --resume --save-dir {shlex.quote(given['save_dir'])}"
    return "Nothing half-written is left; give the same command again"


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _finetune(given: dict[str, Any], command: str) -> None:
    if given.get("resume"):
        from zoobot.workflow import resumed_options

        options = resumed_options(given)
    else:
        options = config.FinetuneOptions.from_config(given)
    from zoobot import workflow

    result = workflow.finetune(options, command=command)
    folder = result.save_dir
    _say("", result.evaluation.table, "", *_failure_lines(result.failures, folder / "failures.csv"))
    _say(
        f"{result.epochs} epochs in {_duration(result.seconds)}. In {folder}:",
        "  checkpoint/           the best model",
        "  evaluation.json       every score; evaluation.txt the table above",
        "  predictions.parquet   predictions for the galaxies it was scored on",
        "  *.png                 training curves, example galaxies, predictions against labels",
        "  metrics.csv, run.json the epochs, and the record of the run",
        "",
        "Next: predict new galaxies",
        f"  zoobot predict {shlex.quote(str(folder))} --catalog NEW.csv --save-loc {folder}/new.parquet",
    )


def _predict(given: dict[str, Any], command: str) -> None:
    options = config.PredictOptions.from_config(_with_checkpoint(given))
    from zoobot import workflow

    result = workflow.predict(options, command=command)
    _say(f"{result.galaxies:,} galaxies, {len(result.columns)} columns: {result.save_loc}")
    _say(*_failure_lines(result.failures, result.save_loc.with_suffix(".failures.csv")))


def _evaluate(given: dict[str, Any], command: str) -> None:
    options = config.EvaluateOptions.from_config(_with_checkpoint(given))
    from zoobot import workflow

    result = workflow.evaluate(options, command=command)
    _say("", result.table, "", *_failure_lines(result.failures, result.save_dir / "failures.csv"))
    _say(f"Scores, predictions and pictures are in {result.save_dir}")


def _demo(given: dict[str, Any], command: str) -> None:
    options = config.DemoOptions.from_config(given)
    from zoobot import workflow

    result = workflow.demo(options, command=command)
    folder, catalog = result.save_dir, result.catalog
    _say(
        "",
        result.training.evaluation.table,
        "",
        f"Done in {_duration(result.seconds)}. Open these:",
        f"  {folder}/training/predictions.png        galaxies, what the model expects, what volunteers said",
        f"  {folder}/training/fractions_scatter.png  predicted against volunteers' vote fractions",
        f"  {folder}/training/training_curves.png    how it learned",
        f"  {folder}/training/evaluation.txt         the table above",
        f"  {result.predictions.save_loc}  predictions for {result.predictions.galaxies} new galaxies",
        f"  {folder}/training/checkpoint/            the model",
        "",
        "Next, on the same simulated galaxies: which have a ring? This starts from the model just trained.",
        f"  zoobot finetune --catalog {catalog} --labels ring --encoder {folder}/training/checkpoint "
        "--save-dir results/rings",
        "With your own: a CSV file with the columns id_str, file_loc and a label.",
        "  zoobot finetune --catalog mine.csv --labels my_label --save-dir results/mine",
    )


def _schemas(given: dict[str, Any], command: str) -> None:
    from zoobot.shared import schemas

    name, file = given["name"], given["yaml"]
    if name is None and file is None:
        width = max(map(len, schemas.names()))
        _say(*(f"{n:<{width}}  {schemas.describe(n)}" for n in schemas.names()))
        return
    if name is None:
        if given["legacy"]:
            msg = "--legacy is for the trees that come with Zoobot: give a name"
            raise ConfigError(msg)
        _say(schemas.Schema.from_yaml(file).draw())
        return
    schema = schemas.get(name, legacy=given["legacy"])
    if file is None:
        _say(schema.draw())
    else:
        schema.to_yaml(file)
        _say(f"wrote {schema.name} to {file}")


def _info(given: dict[str, Any], command: str) -> None:
    from zoobot.workflow.checkpoint_text import describe_checkpoint

    _say(describe_checkpoint(given["checkpoint"]))


def _with_checkpoint(given: dict[str, Any]) -> dict[str, Any]:
    """The options with the checkpoint, whether it was given by place or by name."""
    model = given.pop("model", None)
    if model is None:
        return given
    if "checkpoint" in given:
        msg = f"the checkpoint was given twice: {model!r} and --checkpoint {given['checkpoint']!r}"
        raise ConfigError(msg)
    return {**given, "checkpoint": model}


def _failure_lines(failures: Any, path: Any) -> list[str]:
    if len(failures) == 0:
        return []
    first = failures.iloc[0]
    return [f"{len(failures):,} images could not be read ({path}); the first: {first.file_loc}: {first.reason}"]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
