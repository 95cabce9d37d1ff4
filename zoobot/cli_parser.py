"""What the `zoobot` command understands, and the help that teaches it."""

from __future__ import annotations

import argparse
from typing import Any

from zoobot import __version__
from zoobot.shared import config
from zoobot.shared.settings import add_arguments

__all__ = ["build_parser"]

_DESCRIPTION = """\
Deep learning for galaxy morphology: finetune a pretrained model on your labels, score it, predict galaxies.

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

The table (CSV, Parquet, FITS, VOTable) has a row for each galaxy: an id (column id_str), the path of its
image (column file_loc, absolute or relative to the table's folder), and labels. Classes may be
numbers from 0, or words. The folder --save-dir gets the model, its scores, predictions, pictures, and a
record of the run.
"""

_FINETUNE_EPILOG = """\
examples:
  is it a ring? (column ring: 0 or 1)
    zoobot finetune --catalog rings.csv --labels ring --save-dir results/rings
  several classes, by name, rare ones counting as much as common ones
    zoobot finetune --catalog kinds.csv --labels kind --class-weights balanced --save-dir results/kinds
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

_TRAIN_DESCRIPTION = """\
Train a whole model to answer every question of a decision tree as volunteers would, from random or from
given weights, on the votes of one or many campaigns at once.

Each table (CSV, Parquet, FITS, VOTable) has a row for each galaxy: an id (column id_str), the path of its
image (column file_loc), and a column of votes for every answer of a campaign's tree. A galaxy teaches the
questions of its own campaign; its votes on the others are missing. The folder --save-dir gets what
`zoobot finetune` leaves, and its model is a good encoder for that.
"""

_TRAIN_EPILOG = """\
examples:
  one campaign, from random weights
    zoobot train --catalog dr5.csv --schema gz_decals_dr5 --encoder convnext_nano --save-dir results/dr5
  two at once, from ImageNet's
    zoobot train --catalog dr5.csv gz2.csv --schema gz_decals_dr5 gz2 --save-dir results/both
  on a cluster: two machines of four GPUs, inside `srun` (SLURM is found by itself)
    zoobot train --catalog dr5.csv --schema gz_decals_dr5 --devices 4 --num-nodes 2 --batch-size 1024 \
      --save-dir results/dr5
  go on after a kill
    zoobot train --resume --save-dir results/both

--batch-size is that of a step over all devices together, so results don't depend on how many there are.
"""

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

_CALIBRATE_EPILOG = """\
examples:
  zoobot calibrate results/gz2 --catalog votes.csv --select split=val

`zoobot finetune` does it by itself, on the validation galaxies. The catalog's galaxies must not have been
trained on. Only the certainty of the checkpoint's predictions changes; expected fractions stay.
"""

_EVALUATE_EPILOG = """\
examples:
  zoobot evaluate results/rings --catalog rings.csv --save-dir results/rings_test
  zoobot evaluate results/rings --catalog rings.csv --select split=test --save-dir results/rings_test
"""

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

_SCHEMAS_EPILOG = """\
examples:
  zoobot schemas                             list them
  zoobot schemas gz2                         draw one
  zoobot schemas gz2 --yaml my_tree.yaml     write one to a file, to change it
  zoobot schemas --yaml my_tree.yaml         check and draw a file
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; what it parses names the command in `command`."""
    parser = argparse.ArgumentParser(
        prog="zoobot",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"zoobot {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, meaning: str, **texts: Any) -> argparse.ArgumentParser:
        texts = {"description": f"{meaning[0].upper()}{meaning[1:]}.", **texts}
        sub = commands.add_parser(
            name, help=meaning, formatter_class=argparse.RawDescriptionHelpFormatter, **texts
        )
        sub.set_defaults(command=name)
        return sub

    sub = add("demo", "simulate a survey, finetune, score and predict: the whole job, offline")
    add_arguments(sub, config.DemoOptions)
    sub = add(
        "finetune",
        "teach a pretrained model your labels",
        description=_FINETUNE_DESCRIPTION,
        epilog=_FINETUNE_EPILOG,
        usage="zoobot finetune --catalog FILE --labels COLUMN … --save-dir FOLDER [options]",
    )
    add_arguments(sub, config.FinetuneOptions)
    sub = add(
        "train",
        "train a whole model on volunteers' votes",
        description=_TRAIN_DESCRIPTION,
        epilog=_TRAIN_EPILOG,
        usage="zoobot train --catalog FILE … --schema NAME … --save-dir FOLDER [options]",
    )
    add_arguments(sub, config.TrainOptions)
    sub = add(
        "predict",
        "predict a catalog, or a folder of images, with a trained model",
        epilog=_PREDICT_EPILOG,
        usage="zoobot predict MODEL --catalog FILE --save-loc FILE [options]",
    )
    _add_checkpoint(sub)
    add_arguments(sub, config.PredictOptions)
    sub = add(
        "status",
        "say how far a prediction into a folder of parts is, what failed, and how to go on",
        epilog=_STATUS_EPILOG,
    )
    sub.add_argument("folder", metavar="FOLDER", help="the --save-loc of `zoobot predict`")
    sub.add_argument("--shards", type=int, metavar="N", help="say which of N shards have parts missing")
    sub = add(
        "merge",
        "make one table of a folder of parts",
        epilog=_MERGE_EPILOG,
        usage="zoobot merge FOLDER --save-loc FILE [options]",
    )
    sub.add_argument("place", metavar="FOLDER", nargs="?", help="the same as --folder")
    add_arguments(sub, config.MergeOptions)
    sub = add(
        "calibrate",
        "fit how sure a trained tree model may be, on a labelled catalog",
        epilog=_CALIBRATE_EPILOG,
        usage="zoobot calibrate CHECKPOINT --catalog FILE [options]",
    )
    _add_checkpoint(sub)
    add_arguments(sub, config.CalibrateOptions)
    sub = add(
        "evaluate",
        "score a trained model on a labelled catalog",
        epilog=_EVALUATE_EPILOG,
        usage="zoobot evaluate CHECKPOINT --catalog FILE --save-dir FOLDER [options]",
    )
    _add_checkpoint(sub)
    add_arguments(sub, config.EvaluateOptions)
    sub = add(
        "export",
        "write a trained model to one ONNX file, which predicts without its engine",
        epilog=_EXPORT_EPILOG,
        usage="zoobot export CHECKPOINT --save-loc FILE [options]",
    )
    _add_checkpoint(sub)
    add_arguments(sub, config.ExportOptions)
    sub = add(
        "prioritise",
        "list the galaxies that people should label next, and why",
        description=_PRIORITISE_DESCRIPTION,
        epilog=_PRIORITISE_EPILOG,
        usage="zoobot prioritise CHECKPOINT --catalog FILE --save-loc FILE [options]",
    )
    _add_checkpoint(sub)
    add_arguments(sub, config.PrioritiseOptions)
    sub = add(
        "loop",
        "simulate rounds of labelling and learning: which galaxies are worth their labels?",
        description=_LOOP_DESCRIPTION,
        epilog=_LOOP_EPILOG,
        usage="zoobot loop --simulate --catalog FILE --labels COLUMN … --save-dir FOLDER [options]",
    )
    add_arguments(sub, config.LoopOptions)
    sub = add("schemas", "list Galaxy Zoo's decision trees, or draw one", epilog=_SCHEMAS_EPILOG)
    sub.add_argument("name", nargs="?", help="the tree to draw")
    sub.add_argument(
        "--legacy", action="store_true", help="with its dependencies as once published, errors included"
    )
    sub.add_argument(
        "--yaml", metavar="FILE", help="with a name, write its tree there; without, draw that file's"
    )
    sub = add("info", "say what a checkpoint holds: encoder, task, pixels, training")
    sub.add_argument("checkpoint", metavar="CHECKPOINT", help="the checkpoint's folder, or the run's")
    return parser


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="CHECKPOINT", nargs="?", help="the same as --checkpoint")
