"""The options of `zoobot similar`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

from zoobot.options.command import Command
from zoobot.options.groups import (
    EngineOptions,
    FigureOptions,
    ReadingOptions,
    ShownGalaxiesOptions,
)
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import setting


@dataclass(frozen=True, kw_only=True)
class SimilarOptions(EngineOptions, FigureOptions, ReadingOptions, ShownGalaxiesOptions):
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
            raise ConfigError(f"--like: each galaxy must be given once, got {list(self.like)}")


COMMAND = Command(
    name="similar",
    group="look",
    meaning="find more galaxies like one, by its id or an image",
    options=SimilarOptions,
    description="""\
More galaxies like this one: those whose features point in the same direction, the most similar first.

An ID is a galaxy that has features; anything else is an IMAGE, which is encoded by the model that the
features are of. Each gets a list: query, rank, id_str, similarity (the cosine between features, less their
mean: 1 is the same), file_loc. The first call makes an index beside the features, which later ones use.
""",
    epilog="""\
examples:
  zoobot represent zoobot-mini --catalog survey.parquet --save-loc results/features
  zoobot similar results/features --like J100005.28+152828.6 -k 20 --save-loc results/like_it.csv
  an image that is in no catalog; two galaxies, and what is like both of them
    zoobot similar results/features --like my_merger.jpg --save-loc results/mergers.csv
    zoobot similar results/features --like J0001 J0002 --together
  many millions, by 64 principal components
    zoobot similar results/features --pca 64 --search approximate --like J0001
""",
    usage="zoobot similar FEATURES --like ID|IMAGE … [-k N] [options]",
    place=("features", "FEATURES"),
)
