"""The options of `zoobot reduce`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.options.command import Command
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Options, setting


@dataclass(frozen=True, kw_only=True)
class ReduceOptions(Options):
    """Everything that `zoobot reduce` can be told."""

    title: ClassVar[str] = "Reduction"

    features: str = setting(
        MISSING, "what `zoobot represent` wrote: a table, or a folder of parts", metavar="FEATURES"
    )
    save_loc: str = setting(
        MISSING,
        "the table to write: .parquet, .csv, .hdf5 or .fits; what was fitted goes to "
        "NAME.projection.safetensors",
        metavar="FILE",
    )
    pca: int | None = setting(
        None, "principal components to keep; without it, all features are kept, standardised", at_least=1
    )
    standardise: bool = setting(True, "divide each feature by its spread before anything else")
    whiten: bool = setting(False, "divide each principal component by its spread")
    projection: str | None = setting(
        None, "take what was fitted to other galaxies: their NAME.projection.safetensors", metavar="FILE"
    )
    umap: int | None = setting(
        None,
        "then draw a map in so many dimensions (UMAP, which takes zoobot[umap]), of this table alone",
        at_least=1,
    )
    seed: int = setting(defaults.SEED, "seeds UMAP", at_least=0)
    overwrite: bool = setting(False, "replace the table if it exists")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.projection is not None and (self.pca is not None or self.whiten or not self.standardise):
            msg = "--projection says how features are reduced: leave out --pca, --whiten, --no-standardise"
            raise ConfigError(msg)
        if self.whiten and self.pca is None:
            raise ConfigError("--whiten is for principal components: say how many, --pca N")


COMMAND = Command(
    name="reduce",
    group="look",
    meaning="standardise features, or reduce them to principal components or a map",
    options=ReduceOptions,
    epilog="""\
examples:
  zoobot reduce results/features --pca 40 --save-loc results/pca.parquet
  the same for galaxies that came later
    zoobot reduce results/new --projection results/pca.projection.safetensors --save-loc results/new_pca.csv
  a map of them to look at (pip install 'zoobot[umap]')
    zoobot reduce results/features --pca 40 --umap 2 --save-loc results/map.csv
""",
    usage="zoobot reduce FEATURES --save-loc FILE [--pca N] [options]",
    place=("features", "FEATURES"),
)
