"""Commands that train: demo, finetune, train."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from zoobot.cli.command import Command
from zoobot.cli.saying import backend_words, duration, failure_lines, resumed, say
from zoobot.shared import config

if TYPE_CHECKING:
    from zoobot.workflow import TrainingResult

__all__ = ["COMMANDS"]

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


def _demo(given: dict[str, Any], command: str) -> None:
    options = config.DemoOptions.from_config(given)
    from zoobot import workflow

    result = workflow.demo(options, command=command)
    folder, catalog, backend = result.save_dir, result.catalog, backend_words(options)
    made = {
        f"{folder}/training/predictions.png": "galaxies, what the model expects, what volunteers said",
        f"{folder}/training/fractions_scatter.png": "predicted against volunteers' vote fractions",
        f"{folder}/training/training_curves.png": "how it learned",
        f"{folder}/training/evaluation.txt": "the table above",
        f"{folder}/training/checkpoint/": "the model",
        str(result.predictions.save_loc): f"predictions for {result.predictions.galaxies} new galaxies",
    }
    width = max(map(len, made))
    say(
        "",
        result.training.evaluation.table,
        "",
        f"Done in {duration(result.seconds)}. Open these:",
        *(f"  {path:<{width}}  {meaning}" for path, meaning in made.items()),
        "",
        "Next, on the same simulated galaxies: which have a ring? This starts from the model just trained.",
        f"  zoobot finetune --catalog {shlex.quote(str(catalog))} --labels ring "
        f"--encoder {shlex.quote(str(folder / 'training'))} "
        f"--save-dir results/rings{backend}",
        "With your own: a CSV file with the columns id_str, file_loc and a label.",
        f"  zoobot finetune --catalog mine.csv --labels my_label --save-dir results/mine{backend}",
    )


def _finetune(given: dict[str, Any], command: str) -> None:
    resumes = given.get("resume")
    options = resumed("finetune", given) if resumes else config.FinetuneOptions.from_config(given)
    from zoobot import workflow

    _tell_training(workflow.finetune(options, command=command), options)


def _train(given: dict[str, Any], command: str) -> None:
    resumes = given.get("resume")
    options = resumed("train", given) if resumes else config.TrainOptions.from_config(given)
    from zoobot import workflow

    result = workflow.train(options, command=command)
    _tell_training(result, options)
    if result is not None:
        start = f"zoobot finetune --encoder {shlex.quote(str(result.save_dir))}{backend_words(options)}"
        say("or finetune it to labels of your own", f"  {start} --catalog MINE.csv --labels …")


def _tell_training(result: TrainingResult | None, options: config.EngineOptions) -> None:
    if result is None:  # a further process of a run on many devices: the first one speaks
        return
    folder = result.save_dir
    say("", result.evaluation.table, "", *failure_lines(result.failures, folder / "failures.csv"))
    say(
        f"{f'{result.epochs} epochs' if result.epochs else 'The best head'} in {duration(result.seconds)}. "
        f"In {folder}:",
        "  checkpoint/           the best model",
        "  evaluation.json       every score; evaluation.txt the table above",
        "  predictions.parquet   predictions for the galaxies it was scored on",
        "  *.png                 training curves, example galaxies, predictions against labels",
        "  metrics.csv, run.json the epochs, and the record of the run",
        "",
        "Next: predict new galaxies",
        f"  zoobot predict {shlex.quote(str(folder))} --catalog NEW.csv "
        f"--save-loc {shlex.quote(str(folder / 'new.parquet'))}{backend_words(options)}",
    )


COMMANDS = (
    Command(
        name="demo",
        meaning="simulate a survey, finetune, score and predict: the whole job, offline",
        run=_demo,
        options=config.DemoOptions,
    ),
    Command(
        name="finetune",
        meaning="teach a pretrained model your labels",
        run=_finetune,
        options=config.FinetuneOptions,
        description=_FINETUNE_DESCRIPTION,
        epilog=_FINETUNE_EPILOG,
        usage="zoobot finetune --catalog FILE --labels COLUMN … --save-dir FOLDER [options]",
    ),
    Command(
        name="train",
        meaning="train a whole model on volunteers' votes",
        run=_train,
        options=config.TrainOptions,
        description=_TRAIN_DESCRIPTION,
        epilog=_TRAIN_EPILOG,
        usage="zoobot train --catalog FILE … --schema NAME … --save-dir FOLDER [options]",
    ),
)
