"""The options of `zoobot train`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.options.command import Command
from zoobot.options.finetune import CalibrationOptions, LearningOptions
from zoobot.options.groups import (
    AugmentationOptions,
    ImageOptions,
    ImagePlaceOptions,
    RunFolderOptions,
    ScoreOptions,
    SplitOptions,
)
from zoobot.shared import defaults
from zoobot.shared.settings import setting
from zoobot.shared.training.finetune_settings import WholeModelSettings, WholeTrainerSettings


@dataclass(frozen=True, kw_only=True)
class WholeModelOptions(WholeTrainerSettings, WholeModelSettings, LearningOptions):
    """How the weights of a whole model learn: all blocks, at one rate, and their running average is kept."""

    encoder: str = setting(
        defaults.ENCODER,
        "what to start from: a timm architecture (random weights), a bundled name, hf_hub:owner/name, or a "
        "checkpoint folder",
        metavar="NAME",
    )


@dataclass(frozen=True, kw_only=True)
class CampaignOptions(ImagePlaceOptions):
    """Which galaxies, and the votes on which decision trees."""

    title: ClassVar[str] = "Galaxies and votes"

    catalog: tuple[str, ...] = setting(
        MISSING,
        "table of galaxies with votes, or several: one for each campaign; or archives with images and votes",
        metavar="FILE",
    )
    schema: tuple[str, ...] = setting(
        MISSING,
        "decision tree, or several to learn at once: names from `zoobot schemas`, or your own .yaml",
        metavar="NAME",
    )
    legacy_schema: bool = setting(False, "use the trees' dependencies as once published, errors included")


@dataclass(frozen=True, kw_only=True)
class TrainOptions(
    ScoreOptions,
    CalibrationOptions,
    WholeModelOptions,
    AugmentationOptions,
    ImageOptions,
    SplitOptions,
    RunFolderOptions,
    CampaignOptions,
):
    """Everything that `zoobot train` can be told."""


COMMAND = Command(
    name="train",
    group="learn",
    meaning="train a whole model on volunteers' votes",
    options=TrainOptions,
    description="""\
Train a whole model to answer every question of a decision tree as volunteers would, from random or from
given weights, on the votes of one or many campaigns at once.

Each table (CSV, Parquet, FITS, VOTable) has a row for each galaxy: an id (column id_str), the path of its
image (column file_loc), and a column of votes for every answer of a campaign's tree. A galaxy teaches the
questions of its own campaign; its votes on the others are missing. The folder --save-dir gets what
`zoobot finetune` leaves, and its model is a good encoder for that.
""",
    epilog="""\
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
""",
    usage="zoobot train --catalog FILE … --schema NAME … --save-dir FOLDER [options]",
)
