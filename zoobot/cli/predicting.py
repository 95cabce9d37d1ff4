"""Commands that predict, and that make models ready for it: predict, status, merge, export, convert."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from zoobot.cli.command import Command
from zoobot.cli.saying import missing_lines, say, table_failure_lines
from zoobot.shared import config

__all__ = ["COMMANDS"]

_PREDICT_EPILOG = """\
examples:
  zoobot predict results/rings --catalog new.csv --save-loc results/new.parquet
  zoobot predict results/rings --catalog folder_of_images --save-loc results/new.csv
  a tree: also the expected fractions with intervals
    zoobot predict results/gz2 --catalog new.csv --save-loc results/new.parquet --summary results/summary.csv
  several models together
    zoobot predict results/gz2 --ensemble results/gz2_b results/gz2_c --catalog new.csv --save-loc new.parquet

  without PyTorch and TensorFlow
    zoobot predict rings.onnx --catalog new.csv --save-loc results/new.parquet
  a whole survey, into a folder: give the same command again after a kill, and it goes on
    zoobot predict results/gz2 --catalog survey.parquet --save-loc results/survey
  the same by eight jobs at once, of which this is the third
    zoobot predict results/gz2 --catalog survey.parquet --save-loc results/survey --shard 3/8
  the same by four processes here, by eight SLURM jobs, by the workers of a Dask scheduler
    zoobot predict results/gz2 --catalog survey.parquet --save-loc results/survey --cluster local --workers 4
    zoobot predict results/gz2 --catalog survey.parquet --save-loc results/survey --cluster slurm --workers 8
    zoobot predict results/gz2 --catalog survey.parquet --save-loc results/survey --cluster tcp://node1:8786
  how far is it? one table at the end
    zoobot status results/survey
    zoobot merge results/survey --save-loc results/survey.fits

An image that can't be read is listed in NAME.failures.csv, or in the folder's _failures, and the run goes on.
"""

_STATUS_EPILOG = """\
examples:
  zoobot status results/survey
  zoobot status results/survey --shards 8
"""

_MERGE_EPILOG = """\
examples:
  zoobot merge results/survey --save-loc results/survey.parquet
  zoobot merge results/survey --save-loc results/so_far.csv --partial

The rows are in the order of the catalog; failures go to NAME.failures.csv beside the table.
"""

_EXPORT_EPILOG = """\
examples:
  zoobot export results/rings --save-loc rings.onnx
  zoobot predict rings.onnx --catalog new.csv --save-loc results/new.parquet

The file takes images, (batch, height, width, channels), float32 in [0, 1], and gives predictions. It is
written only if it predicts what the engine does. Besides an engine this needs: pip install 'zoobot[onnx]'.
"""


_CONVERT_EPILOG = """\
examples:
  zoobot convert old.ckpt --save-dir results/old
  zoobot convert old.ckpt --save-dir results/old --architecture resnet18 --label-cols ring
  zoobot predict results/old --catalog new.csv --save-loc results/new.parquet

Of the file, numbers and plain values are read, and nothing is run; neither PyTorch nor TensorFlow is needed.
"""


def _predict(given: dict[str, Any], command: str) -> None:
    options = config.PredictAnywhereOptions.from_config(given)
    from zoobot import workflow

    if options.cluster is None:
        result = workflow.predict(options.prediction(), command=command)
    else:
        result = workflow.predict_on_cluster(options.prediction(), options, command=command)
    say(f"{result.galaxies:,} galaxies, {len(result.columns)} columns: {result.save_loc}")
    say(*(f"expected fractions and intervals: {path}" for path in result.tables))
    say(*table_failure_lines(result))
    if result.save_loc.is_dir():
        place = shlex.quote(str(result.save_loc))
        merge = ["Next: one table of all parts", f"  zoobot merge {place} --save-loc {place}.parquet"]
        say(*(missing_lines(result.save_loc, result.missing_parts) or merge))


def _status(given: dict[str, Any], command: str) -> None:
    from zoobot.workflow.parts import describe_parts

    say(describe_parts(given["folder"], shards=given["shards"]))


def _merge(given: dict[str, Any], command: str) -> None:
    options = config.MergeOptions.from_config(given)
    from zoobot import workflow

    merged = workflow.merge(options)
    say(f"{merged.rows:,} rows: {merged.save_loc}")
    if merged.failures is not None:
        say(f"{merged.failed:,} images could not be read, listed in {merged.failures}")
    if merged.missing_parts:
        say(f"{merged.missing_parts:,} parts are missing in it: see `zoobot status`")


def _export(given: dict[str, Any], command: str) -> None:
    options = config.ExportOptions.from_config(given)
    from zoobot import workflow

    result = workflow.export(options)
    say(f"{len(result.columns)} columns, {result.size_mb:.1f} MB: {result.save_loc}")
    say("Next: predict with it, where neither PyTorch nor TensorFlow need be")
    say(f"  zoobot predict {shlex.quote(str(result.save_loc))} --catalog NEW.csv --save-loc new.parquet")


def _convert(given: dict[str, Any], command: str) -> None:
    options = config.ConvertOptions.from_config(given)
    from zoobot import workflow

    result = workflow.convert(options)
    facts = (f"{subject}: {fact}" for subject, fact in result.facts.items())
    say(
        *facts, result.pixels, "  (others: --crop-fraction, --image-size-pix)", f"checkpoint: {result.folder}"
    )
    place = shlex.quote(str(result.folder))
    if result.predicts:
        say("Next: predict with it, or finetune its encoder")
        say(f"  zoobot predict {place} --catalog NEW.csv --save-loc new.parquet")
    else:
        say("Next: finetune it")
    say(f"  zoobot finetune --encoder {place} --catalog LABELS.csv --labels COLUMN --save-dir FOLDER")


def _add_status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="the --save-loc of `zoobot predict`")
    parser.add_argument("--shards", type=int, metavar="N", help="say which of N shards have parts missing")


COMMANDS = (
    Command(
        name="predict",
        meaning="predict a catalog, or a folder of images, with a trained model",
        run=_predict,
        options=config.PredictAnywhereOptions,
        epilog=_PREDICT_EPILOG,
        usage="zoobot predict MODEL --catalog FILE --save-loc FILE [options]",
        place=("checkpoint", "MODEL"),
    ),
    Command(
        name="status",
        meaning="say how far a prediction into a folder of parts is, what failed, and how to go on",
        run=_status,
        epilog=_STATUS_EPILOG,
        add_more=_add_status,
    ),
    Command(
        name="merge",
        meaning="make one table of a folder of parts",
        run=_merge,
        options=config.MergeOptions,
        epilog=_MERGE_EPILOG,
        usage="zoobot merge FOLDER --save-loc FILE [options]",
        place=("folder", "FOLDER"),
    ),
    Command(
        name="export",
        meaning="write a trained model to one ONNX file, which predicts without its engine",
        run=_export,
        options=config.ExportOptions,
        epilog=_EXPORT_EPILOG,
        usage="zoobot export CHECKPOINT --save-loc FILE [options]",
        place=("checkpoint", "CHECKPOINT"),
    ),
    Command(
        name="convert",
        meaning="make a checkpoint of a .ckpt of the public Zoobot 2.x",
        run=_convert,
        options=config.ConvertOptions,
        epilog=_CONVERT_EPILOG,
        usage="zoobot convert FILE --save-dir FOLDER [options]",
        place=("checkpoint", "FILE"),
    ),
)
