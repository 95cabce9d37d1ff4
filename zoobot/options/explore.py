"""The options of `zoobot explore`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

from zoobot.options.command import Command
from zoobot.options.groups import EngineOptions, ImagePlaceOptions, ReadingOptions
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import setting


@dataclass(frozen=True, kw_only=True)
class ExploreOptions(EngineOptions, ReadingOptions, ImagePlaceOptions):
    """Everything that `zoobot explore` can be told."""

    title: ClassVar[str] = "Page"

    results: str = setting(
        MISSING,
        "what to look through: the folder of a run of finetune, train or evaluate, or the table or folder "
        "that `zoobot predict` wrote",
        metavar="RESULTS",
    )
    save_loc: str | None = setting(
        None, "the page to write: .html; without it, beside the results under their name", metavar="FILE"
    )
    heading: str | None = setting(
        None, "what stands above the page; without it, the name of the results", metavar="TEXT"
    )
    catalog: str | None = setting(
        None,
        "galaxies with their images and, if known, labels; without it, that of the run which predicted",
        metavar="FILE",
    )
    select: str | None = setting(
        None, "only galaxies whose column holds a value, e.g. split=test", metavar="COLUMN=VALUE"
    )
    n: int = setting(
        defaults.EXPLORED_GALAXIES, "most galaxies; of more, the page has a random sample", at_least=1
    )
    columns: tuple[str, ...] = setting(
        (), "further columns of the catalog to show, to sort and to filter by", metavar="COLUMN"
    )
    images: bool = setting(True, "with pictures of the galaxies")
    thumbnail_pix: int = setting(160, "side of these pictures", at_least=16, at_most=1024)
    crop_fraction: float | None = setting(
        None, "central part of the images that they show; without it, what the model looks at", above=0
    )
    features: str | None = setting(
        None, "find look-alikes by these features, which `zoobot represent` wrote", metavar="FILE"
    )
    encode: bool = setting(False, "find look-alikes by encoding the galaxies now, with the run's model")
    checkpoint: str | None = setting(
        None, "the model that predicted, where the results do not say", metavar="MODEL"
    )
    neighbours: int = setting(12, "look-alikes of each galaxy", at_least=1)
    level: float = setting(
        defaults.INTERVAL_LEVEL,
        "probability inside the intervals, of a tree or of several samples",
        above=0,
        below=1,
    )
    interval: Literal["equal-tailed", "highest-density"] = setting(
        "equal-tailed", "tree: as much probability below as above, or the shortest interval"
    )
    overwrite: bool = setting(False, "replace the page if it exists")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.features is not None and self.encode:
            raise ConfigError("give --features or --encode, not both")
        if self.save_loc is not None and not self.save_loc.lower().endswith((".html", ".htm")):
            raise ConfigError(f"a page must end in .html, got {self.save_loc!r}")


COMMAND = Command(
    name="explore",
    group="look",
    meaning="a page to look through galaxies and their predictions, in one HTML file",
    options=ExploreOptions,
    description="""\
Look through galaxies and what a model says of them: one HTML file, to open in a browser and to send to
colleagues. It needs no server and no network.

It shows each galaxy's picture with its predictions, intervals and labels; sorts and filters by any answer;
finds galaxies that look alike; and saves the galaxies you select as CSV.
""",
    epilog="""\
examples:
  a run of finetune, train or evaluate
    zoobot explore results/rings
  predictions, a table or a folder of parts
    zoobot explore results/new.parquet --save-loc new.html
  with look-alikes, and columns of the catalog to sort and filter by
    zoobot explore results/gz2 --encode --columns redshift ra dec
  a table that does not say where its images are
    zoobot explore new.csv --checkpoint results/gz2 --catalog new_catalog.csv
""",
    usage="zoobot explore RESULTS [options]",
    place=("results", "RESULTS"),
)
