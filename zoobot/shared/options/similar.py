"""Which galaxies are asked about, and how those like them are found; what features are reduced to."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.options.engine import EngineOptions
from zoobot.shared.options.finding import ShownGalaxiesOptions
from zoobot.shared.options.images import ReadingOptions
from zoobot.shared.settings import Options, setting

__all__ = ["ReduceOptions", "SimilarOptions"]


@dataclass(frozen=True, kw_only=True)
class SimilarOptions(EngineOptions, ReadingOptions, ShownGalaxiesOptions):
    """Everything that `zoobot similar` can be told."""

    title: ClassVar[str] = "Features and query"

    features: str = setting(
        MISSING, "what `zoobot represent` wrote: a table, or a folder of parts", metavar="FEATURES"
    )
    like: tuple[str, ...] = setting(
        MISSING,
        "galaxies with features, by their ids, or images of others; a list for each",
        metavar="ID|IMAGE",
    )
    k: int = setting(20, "galaxies in each list", at_least=1)
    together: bool = setting(False, "one list, of galaxies that are like all of --like at once")
    model: str | None = setting(
        None,
        "what encodes an IMAGE: the model that the features are of; without it, as that run recorded",
        metavar="MODEL",
    )
    pca: int | None = setting(
        None, "compare so many principal components: quicker among millions, and as good", at_least=1
    )
    search: Literal["auto", "exact", "approximate"] = setting(
        "auto", "auto: exact up to a million galaxies, above it approximate, which takes zoobot[similarity]"
    )
    save_loc: str | None = setting(
        None, "the list to write: .csv or .parquet, and beside it a picture, NAME.png", metavar="FILE"
    )
    picture: bool = setting(True, "also draw the galaxies asked about and those like them")
    overwrite: bool = setting(False, "replace the list if it exists")

    def check(self) -> None:  # noqa: D102
        super().check()
        if len(set(self.like)) < len(self.like):
            msg = f"--like: each galaxy must be given once, got {list(self.like)}"
            raise ConfigError(msg)


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
            msg = "--whiten is for principal components: say how many, --pca N"
            raise ConfigError(msg)
