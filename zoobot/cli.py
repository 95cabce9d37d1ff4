"""The `zoobot` command: parses, loads one engine by way of the workflow, and says what came out.

Heavy imports stand inside the commands, so that help answers at once. An error that Zoobot raises on purpose
is one line and exit code 2; any other keeps its traceback.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.cli_parser import build_parser
from zoobot.shared import config
from zoobot.shared.errors import ConfigError, ZoobotError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoobot.workflow import TrainingResult

__all__ = ["main", "main_exit"]


def main_exit() -> None:
    """Run the command line and leave with its exit code: the entry point of the installed command."""
    raise SystemExit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 an error to act on, 130 or 143 interrupted.

    Args:
        argv: The words after `zoobot`; by default those of the process.

    Example:
        >>> main(["schemas", "gz_rings"])  # doctest: +SKIP
        0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    given = vars(parser.parse_args(words))
    name = given.pop("command", None)
    if name is None:
        parser.print_help()
        return 0
    _tell_progress()
    try:
        _COMMANDS[name](given, f"zoobot {shlex.join(words)}")
    except ZoobotError as error:
        sys.stderr.write(f"zoobot: error: {error}\n")
        return 2
    except (KeyboardInterrupt, SystemExit) as ending:
        sys.stderr.write(f"\nzoobot: interrupted. {_how_to_go_on(name, given)}\n")
        return _exit_code(ending)
    except BrokenPipeError:
        # the reader, such as `head`, has had enough; what is still buffered must go somewhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


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


def _exit_code(ending: KeyboardInterrupt | SystemExit) -> int:
    """What a shell expects: 130 after Ctrl-C, 143 after a polite kill, as batch systems send it."""
    if isinstance(ending, KeyboardInterrupt):
        return 128 + signal.SIGINT
    return ending.code if isinstance(ending.code, int) and ending.code else 128 + signal.SIGTERM


def _how_to_go_on(command: str, given: dict[str, Any]) -> str:
    if command in ("finetune", "train", "loop") and (Path(given.get("save_dir", "")) / "run.json").is_file():
        return f"Go on with: zoobot {command} --resume --save-dir {shlex.quote(given['save_dir'])}"
    return "Nothing half-written is left; give the same command again"


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _finetune(given: dict[str, Any], command: str) -> None:
    resumes = given.get("resume")
    options = _resumed("finetune", given) if resumes else config.FinetuneOptions.from_config(given)
    from zoobot import workflow

    _tell_training(workflow.finetune(options, command=command))


def _train(given: dict[str, Any], command: str) -> None:
    resumes = given.get("resume")
    options = _resumed("train", given) if resumes else config.TrainOptions.from_config(given)
    from zoobot import workflow

    result = workflow.train(options, command=command)
    _tell_training(result)
    if result is not None:
        start = f"zoobot finetune --encoder {shlex.quote(str(result.save_dir))}"
        _say("or finetune it to labels of your own", f"  {start} --catalog MINE.csv --labels …")


def _resumed(work: str, given: dict[str, Any]) -> Any:
    from zoobot.workflow import resumed_options

    return resumed_options(work, given)


def _tell_training(result: TrainingResult | None) -> None:
    if result is None:  # a further process of a run on many devices: the first one speaks
        return
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
    _say(*(f"expected fractions and intervals: {path}" for path in result.tables))
    is_folder = result.save_loc.is_dir()
    listed = result.save_loc / "_failures" if is_folder else result.save_loc.with_suffix(".failures.csv")
    _say(*_failure_lines(result.failures, listed, count=result.failed))
    if is_folder:
        _say(*_next_of_folder(result.save_loc, result.missing_parts))


def _status(given: dict[str, Any], command: str) -> None:
    from zoobot.workflow.part_status import describe_parts

    _say(describe_parts(given["folder"], shards=given["shards"]))


def _merge(given: dict[str, Any], command: str) -> None:
    place = given.pop("place", None)
    options = config.MergeOptions.from_config(given if place is None else {**given, "folder": place})
    from zoobot import workflow

    merged = workflow.merge(options)
    _say(f"{merged.rows:,} rows: {merged.save_loc}")
    if merged.failures is not None:
        _say(f"{merged.failed:,} images could not be read, listed in {merged.failures}")
    if merged.missing_parts:
        _say(f"{merged.missing_parts:,} parts are missing in it: see `zoobot status`")


def _calibrate(given: dict[str, Any], command: str) -> None:
    options = config.CalibrateOptions.from_config(_with_checkpoint(given))
    from zoobot import workflow

    result = workflow.calibrate(options, command=command)
    _say("", result.table, "", f"The factors are in {result.checkpoint}: its predictions are calibrated now")
    if len(result.failures):
        _say(f"{len(result.failures):,} images could not be read")


def _evaluate(given: dict[str, Any], command: str) -> None:
    options = config.EvaluateOptions.from_config(_with_checkpoint(given))
    from zoobot import workflow

    result = workflow.evaluate(options, command=command)
    _say("", result.table, "", *_failure_lines(result.failures, result.save_dir / "failures.csv"))
    _say(f"Scores, predictions and pictures are in {result.save_dir}")


def _export(given: dict[str, Any], command: str) -> None:
    options = config.ExportOptions.from_config(_with_checkpoint(given))
    from zoobot import workflow

    result = workflow.export(options)
    _say(f"{len(result.columns)} columns, {result.size_mb:.1f} MB: {result.save_loc}")
    _say("Next: predict with it, where neither PyTorch nor TensorFlow need be")
    _say(f"  zoobot predict {shlex.quote(str(result.save_loc))} --catalog NEW.csv --save-loc new.parquet")


def _prioritise(given: dict[str, Any], command: str) -> None:
    options = config.PrioritiseOptions.from_config(_with_checkpoint(given))
    from zoobot import workflow

    result = workflow.prioritise(options, command=command)
    _say("", f"{len(result.table):,} of {result.looked_at:,} galaxies, by {result.score}: {result.save_loc}")
    _say(*(f"  {count:>5,} × {reason}" for reason, count in result.reasons.items()))
    if result.picture is not None:
        _say(f"the first of them: {result.picture}")
    _say(*_failure_lines(result.failures, result.save_loc.with_suffix(".failures.csv")))


def _loop(given: dict[str, Any], command: str) -> None:
    options = _resumed("loop", given) if given.get("resume") else config.LoopOptions.from_config(given)
    from zoobot import workflow

    result = workflow.loop(options, command=command)
    folder = result.save_dir
    _say("", result.table, "", *_failure_lines(result.failures, folder / "failures.csv"))
    _say(
        f"Done in {_duration(result.seconds)}. In {folder}:",
        "  curves.png            score against labels bought; curves.csv all scores of all rounds",
        "  savings.json          the table above",
        "  rounds.json           which galaxies were bought when",
    )


def _demo(given: dict[str, Any], command: str) -> None:
    options = config.DemoOptions.from_config(given)
    from zoobot import workflow

    result = workflow.demo(options, command=command)
    folder, catalog = result.save_dir, result.catalog
    made = {
        f"{folder}/training/predictions.png": "galaxies, what the model expects, what volunteers said",
        f"{folder}/training/fractions_scatter.png": "predicted against volunteers' vote fractions",
        f"{folder}/training/training_curves.png": "how it learned",
        f"{folder}/training/evaluation.txt": "the table above",
        f"{folder}/training/checkpoint/": "the model",
        str(result.predictions.save_loc): f"predictions for {result.predictions.galaxies} new galaxies",
    }
    width = max(map(len, made))
    _say(
        "",
        result.training.evaluation.table,
        "",
        f"Done in {_duration(result.seconds)}. Open these:",
        *(f"  {path:<{width}}  {meaning}" for path, meaning in made.items()),
        "",
        "Next, on the same simulated galaxies: which have a ring? This starts from the model just trained.",
        f"  zoobot finetune --catalog {catalog} --labels ring --encoder {folder}/training "
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


def _next_of_folder(folder: Path, missing: int) -> list[str]:
    place = shlex.quote(str(folder))
    if missing:
        return [f"{missing:,} parts are still missing; how far is it?", f"  zoobot status {place}"]
    return ["Next: one table of all parts", f"  zoobot merge {place} --save-loc {place}.parquet"]


def _failure_lines(failures: Any, path: Any, *, count: int | None = None) -> list[str]:
    """How many images failed, where they are listed, and the first; `count` if more than those given."""
    if len(failures) == 0:
        return []
    first = failures.iloc[0]
    number = len(failures) if count is None else count
    start = f"{number:,} images could not be read, listed in {path}; the first:"
    return [f"{start} {first.file_loc}: {first.reason}"]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


_COMMANDS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "demo": _demo,
    "finetune": _finetune,
    "train": _train,
    "predict": _predict,
    "status": _status,
    "merge": _merge,
    "calibrate": _calibrate,
    "evaluate": _evaluate,
    "export": _export,
    "loop": _loop,
    "prioritise": _prioritise,
    "schemas": _schemas,
    "info": _info,
}
