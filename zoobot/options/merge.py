"""The options of `zoobot merge`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.options.command import Command
from zoobot.shared.settings import Options, setting


@dataclass(frozen=True, kw_only=True)
class MergeOptions(Options):
    """Everything that `zoobot merge` can be told."""

    title: ClassVar[str] = "Merging"

    folder: str = setting(
        MISSING, "the folder that `zoobot predict` or `zoobot represent` wrote its parts to", metavar="FOLDER"
    )
    save_loc: str = setting(
        MISSING, "the table to write: .parquet, .csv, .hdf5, .h5, .fits or .vot (VOTable)", metavar="FILE"
    )
    partial: bool = setting(False, "merge the parts that are there, even if some are missing")
    overwrite: bool = setting(False, "replace the table if it exists")


COMMAND = Command(
    name="merge",
    group="predict",
    meaning="make one table of a folder of parts",
    options=MergeOptions,
    epilog="""\
examples:
  zoobot merge results/survey --save-loc results/survey.parquet
  zoobot merge results/survey --save-loc results/so_far.csv --partial

The rows are in the order of the catalog; failures go to NAME.failures.csv beside the table.
""",
    usage="zoobot merge FOLDER --save-loc FILE [options]",
    place=("folder", "FOLDER"),
)
