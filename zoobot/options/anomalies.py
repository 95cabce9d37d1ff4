"""The options of `zoobot anomalies`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

from zoobot.options.command import Command
from zoobot.options.groups import (
    FigureOptions,
    ShownGalaxiesOptions,
)
from zoobot.shared import defaults
from zoobot.shared.settings import setting


@dataclass(frozen=True, kw_only=True)
class AnomaliesOptions(FigureOptions, ShownGalaxiesOptions):
    """Everything that `zoobot anomalies` can be told."""

    title: ClassVar[str] = "Features and list"

    features: str = setting(
        MISSING, "what `zoobot represent` wrote: a table, or a folder of parts", metavar="FEATURES"
    )
    save_loc: str = setting(MISSING, "the list to write: .csv", metavar="FILE")
    n: int = setting(500, "most galaxies to list", at_least=1)
    method: Literal["local-outlier-factor", "isolation-forest"] = setting(
        defaults.ANOMALY_METHOD, "how strangeness is told: by thin surroundings, or by few cuts that isolate"
    )
    components: int = setting(
        defaults.ANOMALY_COMPONENTS, "principal components of the features that count", at_least=1
    )
    neighbours: int = setting(
        defaults.ANOMALY_NEIGHBOURS,
        "local-outlier-factor: galaxies that make the surroundings; more alike than these are not strange",
        at_least=1,
    )
    fitted_to: int = setting(
        defaults.ANOMALY_SAMPLE, "most galaxies, at random, that the others are compared with", at_least=2
    )
    seed: int = setting(defaults.SEED, "seeds that choice, and the forest", at_least=0)
    picture: bool = setting(True, "also draw the first galaxies, beside the list as NAME.png")
    overwrite: bool = setting(False, "replace the list if it exists")


COMMAND = Command(
    name="anomalies",
    group="look",
    meaning="list the galaxies that are unlike all others",
    options=AnomaliesOptions,
    description="""\
Which galaxies are unlike all others? A list, the strangest first, by the features of an encoder alone.

The list has a row for each galaxy: rank, id_str, file_loc (of its image, where known), score (the higher,
the stranger; of a local outlier factor 1 is ordinary). What is strange need not be interesting: `zoobot rate`
finds what is.
""",
    epilog="""\
examples:
  zoobot represent zoobot-mini --catalog new.csv --save-loc results/features.parquet
  zoobot anomalies results/features.parquet --save-loc results/strange.csv
  by another method
    zoobot anomalies results/features.parquet --method isolation-forest --save-loc results/isolated.csv
""",
    usage="zoobot anomalies FEATURES --save-loc FILE [--catalog FILE] [options]",
    place=("features", "FEATURES"),
)
