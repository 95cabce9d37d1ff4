"""The options of `zoobot represent`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

from zoobot.options.command import Command
from zoobot.options.groups import (
    CatalogOptions,
    EngineOptions,
    ReadingOptions,
    StreamingOptions,
    TurnOptions,
    ViewOptions,
)
from zoobot.shared.settings import setting


@dataclass(frozen=True, kw_only=True)
class RepresentOptions(
    EngineOptions, TurnOptions, ViewOptions, StreamingOptions, ReadingOptions, CatalogOptions
):
    """Everything that `zoobot represent` can be told."""

    title: ClassVar[str] = "Features"

    checkpoint: str = setting(
        MISSING,
        "a trained model (the checkpoint folder, or the run's folder), or an encoder as in `zoobot finetune`",
        metavar="MODEL",
    )
    block: str | None = setting(
        None,
        "which block's features: its name, or its number from 0 at the bottom; without it those of the top, "
        "from which the model predicts; of others, means over the image",
        metavar="BLOCK",
    )
    dtype: Literal["float32", "float16"] = setting(
        "float32", ".parquet and folders: float16 halves the space, and keeps three digits"
    )
    batch_size: int | None = setting(  # type: ignore[assignment]  # the others have a number
        None, "galaxies encoded at once; without it, 32 on a CPU and 256 on a GPU", at_least=1
    )


COMMAND = Command(
    name="represent",
    group="look",
    meaning="write an encoder's features of the galaxies of a catalog",
    options=RepresentOptions,
    description="""\
What an encoder makes of every galaxy: its features, for similarity, clustering, or a model of your own.

The table has a row for each galaxy: id_str, feature_0000, feature_0001 … In Python,
zoobot.shared.features.tables.read_features reads it.
""",
    epilog="""\
examples:
  zoobot represent zoobot-mini --catalog new.csv --save-loc results/features.parquet
  a whole survey, into a folder: give the same command again after a kill, and it goes on
    zoobot represent results/rings --catalog survey.parquet --save-loc results/features --dtype float16
  the same by eight jobs at once, of which this is the third
    zoobot represent results/rings --catalog survey.parquet --save-loc results/features --shard 3/8
  an encoder without any training on galaxies; the features of a lower block
    zoobot represent imagenet-lite0 --catalog new.csv --save-loc imagenet.parquet
    zoobot represent zoobot-mini --block stages.2 --catalog new.csv --save-loc lower.parquet

An image that can't be read is listed in NAME.failures.csv, or in the folder's _failures, and the run goes on.
""",
    usage="zoobot represent MODEL --catalog FILE --save-loc FILE [options]",
    place=("checkpoint", "MODEL"),
)
