"""The options of `zoobot evaluate`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.options.command import Command
from zoobot.options.finetune import TargetOptions
from zoobot.options.groups import CatalogOptions, MixtureOptions, ReadingOptions, ScoreOptions, TurnOptions
from zoobot.shared.settings import setting


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(
    ScoreOptions, MixtureOptions, TurnOptions, TargetOptions, ReadingOptions, CatalogOptions
):
    """Everything that `zoobot evaluate` can be told."""

    title: ClassVar[str] = "Evaluation"

    checkpoint: str = setting(
        MISSING, "a trained model: the checkpoint folder, or the run's folder", metavar="FOLDER"
    )
    save_dir: str = setting(MISSING, "folder for scores, predictions and pictures", metavar="FOLDER")
    select: str | None = setting(
        None, "only galaxies whose column holds a value, e.g. split=test", metavar="COLUMN=VALUE"
    )
    exclude_trained: bool = setting(
        False,
        "leave out galaxies that taught the model: those it was trained on, and those that chose its best "
        "epoch and its calibration; its checkpoint knows them by their ids",
    )
    overwrite: bool = setting(False, "replace the evaluation in --save-dir")


COMMAND = Command(
    name="evaluate",
    group="judge",
    meaning="score a trained model on a labelled catalog",
    options=EvaluateOptions,
    epilog="""\
examples:
  zoobot evaluate results/rings --catalog rings.csv --save-dir results/rings_test
  zoobot evaluate results/rings --catalog rings.csv --select split=test --save-dir results/rings_test
  several models, or dropout samples, as one equal mixture
    zoobot evaluate results/a --ensemble results/b --catalog rings.csv --save-dir results/both_test
    zoobot evaluate results/a --n-samples 10 --catalog rings.csv --save-dir results/dropout_test
""",
    usage="zoobot evaluate CHECKPOINT --catalog FILE --save-dir FOLDER [options]",
    place=("checkpoint", "CHECKPOINT"),
)
