"""The options of `zoobot explore`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

from zoobot.options.command import Command
from zoobot.options.groups import EngineOptions, ImagePlaceOptions, ReadingOptions
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Options, refuse, setting

#: What a page that is looked through has, and one to label galaxies has not.
_TO_LOOK_AT = ("features", "encode")


@dataclass(frozen=True, kw_only=True)
class AnnotationOptions(Options):
    """What a page asks, where galaxies are labelled on it."""

    title: ClassVar[str] = "Labels by clicking"

    annotate: Literal["classes", "rating", "tree"] | None = setting(
        None,
        "a page to label galaxies: which class each is of, how interesting it is (0 to 5), or the questions "
        "of a tree, as one person's votes; it saves CSV or JSON, which `finetune` and `zoobot rate` read",
    )
    classes: tuple[str, ...] = setting(
        (),
        "classes: their names, such as ring not-ring; without it, the model's, or those that --label-col of "
        "the catalog holds",
        metavar="NAME",
    )
    label_col: str | None = setting(
        None,
        "classes: what the column of labels is called; without it, as the model's, or label",
        metavar="COLUMN",
    )
    schema: str | None = setting(
        None,
        "tree: a name from `zoobot schemas`, or your own .yaml; without it, the model's",
        metavar="NAME",
    )
    shuffle: bool = setting(False, "ask in random order (--seed); without it, in the order of the galaxies")
    show_model: bool = setting(
        False, "show beside each galaxy what the model expects; without it, nothing that could sway a person"
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        for name, kind in (("classes", "classes"), ("label_col", "classes"), ("schema", "tree")):
            if getattr(self, name) and self.annotate != kind:
                refuse(f"--{name.replace('_', '-')} is for --annotate {kind}")
        for name in ("shuffle", "show_model"):
            if getattr(self, name) and self.annotate is None:
                refuse(f"--{name.replace('_', '-')} is for --annotate")

    def class_names(self) -> tuple[str, ...]:
        """The classes, also where they were said as one word with commas."""
        alone = len(self.classes) == 1
        return tuple(one.strip() for one in self.classes[0].split(",")) if alone else self.classes


@dataclass(frozen=True, kw_only=True)
class ExploreOptions(EngineOptions, AnnotationOptions, ReadingOptions, ImagePlaceOptions):
    """Everything that `zoobot explore` can be told."""

    title: ClassVar[str] = "Page"

    results: str = setting(
        MISSING,
        "what to look through: the folder of a run of finetune, train or evaluate, or the table or folder "
        "that `zoobot predict` wrote; with --annotate, a catalog would do, or a list of `zoobot prioritise`",
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
        defaults.EXPLORED_GALAXIES,
        "most galaxies; of more, the page has a random sample; with --annotate the first, unless --shuffle",
        at_least=1,
    )
    columns: tuple[str, ...] = setting(
        (), "further columns of the catalog to show, to sort and to filter by", metavar="COLUMN"
    )
    images: bool = setting(True, "with pictures of the galaxies")
    thumbnail_pix: int | None = setting(
        None, "side of these pictures; without it 160, or 256 with --annotate", at_least=16, at_most=1024
    )
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
        for name in _TO_LOOK_AT if self.annotate else ():
            if getattr(self, name):
                refuse(f"--{name} is for pages to look through: leave it out with --annotate")
        if self.annotate and not self.images:
            refuse("galaxies are labelled by their pictures: --annotate needs --images")


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

With --annotate it asks for the label of one galaxy after the other, by keys or touch, keeps the answers in
the browser, and saves them as a table.
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
  label galaxies by clicking: classes, ratings, or the questions of a tree
    zoobot explore catalog.csv --annotate classes --classes ring not-ring
    zoobot explore strange/next.csv --annotate rating
    zoobot explore to_label.csv --annotate tree --schema gz_desi
""",
    usage="zoobot explore RESULTS [options]",
    place=("results", "RESULTS"),
)
