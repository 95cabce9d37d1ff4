"""The options of `zoobot predict`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, ClassVar, Literal

from zoobot.options.command import Command
from zoobot.options.detect import DetectFirstOptions, DetectOptions
from zoobot.options.groups import (
    CatalogOptions,
    EngineOptions,
    MixtureOptions,
    ReadingOptions,
    StreamingOptions,
    TurnOptions,
)
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Options, kinds_of, refuse, setting, with_default

#: Batch systems by their names in jobqueue.yaml, and what dask-jobqueue calls their clusters.
BATCH_SYSTEMS = {
    "htcondor": "HTCondorCluster",
    "lsf": "LSFCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "slurm": "SLURMCluster",
}


@dataclass(frozen=True, kw_only=True)
class ClusterOptions(Options):
    """Which Dask workers share a prediction."""

    title: ClassVar[str] = "Dask"

    cluster: str | None = setting(
        None,
        "a folder: share its parts among Dask workers: local (processes here), slurm, pbs … (jobs as "
        "jobqueue.yaml describes them; slurm:NAME takes its section NAME), tcp://HOST:PORT (a scheduler that "
        "runs) or its scheduler file.json",
        metavar="WHERE",
    )
    workers: int | None = setting(
        None, "so many worker processes are started; at an address, those there are used", at_least=1
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.cluster is None:
            if self.workers is not None:
                refuse("--workers is for --cluster: local, slurm, pbs …, or a scheduler's address")
        elif self.starts_workers:
            if self.workers is None:
                refuse(f"--cluster {self.cluster} needs --workers: how many processes to start")
        elif not self.cluster.endswith(".json") and ":" not in self.cluster:
            words = ", ".join(["local", *BATCH_SYSTEMS])
            refuse(f"--cluster must be one of {words}, tcp://HOST:PORT or FILE.json, got {self.cluster!r}")

    @property
    def batch_system(self) -> tuple[str, str] | None:
        """The name of a batch system, and the section of jobqueue.yaml that describes the jobs."""
        system, _, section = (self.cluster or "").partition(":")
        return (system, section or system) if system in BATCH_SYSTEMS else None

    @property
    def starts_workers(self) -> bool:
        """Whether workers are started, not found."""
        return self.cluster == "local" or self.batch_system is not None


@dataclass(frozen=True, kw_only=True)
class PredictOptions(
    EngineOptions,
    MixtureOptions,
    TurnOptions,
    StreamingOptions,
    ReadingOptions,
    DetectFirstOptions,
    CatalogOptions,
):
    """Everything that `zoobot predict` can be told."""

    title: ClassVar[str] = "Predictions"

    checkpoint: str = setting(
        MISSING,
        "a trained model: the checkpoint folder, the run's folder, or a file of `zoobot export`, which needs "
        "neither PyTorch nor TensorFlow",
        metavar="MODEL",
    )
    catalog: str | None = with_default(CatalogOptions, "catalog", None)  # type: ignore[assignment]  # --detect
    batch_size: int | None = setting(  # type: ignore[assignment]  # the others have a number
        None, "galaxies predicted at once; without it, 32 on a CPU and 256 on a GPU", at_least=1
    )
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = setting(
        "auto", "what the network computes in; auto: 16-mixed on a GPU, 32-true elsewhere"
    )
    compile: bool | None = setting(
        None, "compile the network; without a word, where it is expected to pay: in long runs"
    )
    summary: str | None = setting(
        None,
        "tree: also write this table of expected fractions and intervals, a row for each galaxy, blank where "
        "a question is unlikely to be asked",
        metavar="FILE",
    )
    full_table: str | None = setting(
        None, "tree: also write this table of the same for all questions, and concentrations", metavar="FILE"
    )
    level: float = setting(
        defaults.INTERVAL_LEVEL, "probability inside the intervals of these tables", above=0, below=1
    )
    interval: Literal["equal-tailed", "highest-density"] = setting(
        "equal-tailed", "as much probability below as above, or the shortest interval"
    )
    intervals: tuple[float, ...] = setting(
        (),
        "also write intervals of numbers and vote fractions, or sets of classes and labels, that hold the "
        "truth so often: 90, or 68 95 for two; of a model that knows its errors on validation galaxies",
        metavar="PERCENT",
    )
    columns: tuple[str, ...] = setting(
        (), "columns of the catalog that are carried along into the table: ra dec z", metavar="COLUMN"
    )
    class_column: bool = setting(True, "classes: also write the most likely class, and its probability")
    names: Literal["full", "plain"] = setting(
        "full", "plain: call columns by letters, digits and _ alone, for expressions of TOPCAT"
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.detect and (self.shard is not None or self.select is not None):
            what = "--shard" if self.shard is not None else "--select"
            refuse(f"{what} is for a catalog: find the galaxies by `zoobot detect`, and give its sources")
        if not self.intervals:
            return
        if self.ensemble or self.n_samples > 1:
            refuse("--intervals are of one model: errors of single models say nothing of their mixture's")
        from zoobot.shared.conformal import read_levels  # late: help needs no arrays

        try:
            read_levels(self.intervals)
        except ConfigError as error:
            refuse(f"--intervals: {error}")

    def detection(self, save_dir: str) -> DetectOptions:
        """How the galaxies are found, with --detect, and where the catalog of them goes."""
        names = ("mosaic", "hdu", "cutout_arcsec", "cutout_pix", "overwrite")
        given: dict[str, Any] = {name: getattr(self, name) for name in names}
        return DetectOptions(**self.finding(), **given, save_dir=save_dir, table_format="parquet")

    def of_sources(
        self, catalog: str, file_cols: tuple[str, ...], columns: tuple[str, ...]
    ) -> PredictOptions:
        """The same options for the catalog of galaxies that were found, with columns of it carried along."""
        as_before: dict[str, Any] = {
            kind.name: kind.default for kind in kinds_of(DetectFirstOptions).values()
        }
        sizes: dict[str, Any] = {"mosaic": (), "cutout_arcsec": None, "cutout_pix": None}
        both = tuple(dict.fromkeys([*self.columns, *columns]))
        return replace(self, **as_before, **sizes, catalog=catalog, file_col=file_cols, columns=both)


@dataclass(frozen=True, kw_only=True)
class PredictAnywhereOptions(ClusterOptions, PredictOptions):
    """A prediction, and where it runs: what the command line takes."""

    title: ClassVar[str] = ""

    def prediction(self) -> PredictOptions:
        """The same without the place."""
        return PredictOptions(**{field.name: getattr(self, field.name) for field in fields(PredictOptions)})


COMMAND = Command(
    name="predict",
    group="predict",
    meaning="predict a catalog, or a folder of images, with a trained model",
    options=PredictAnywhereOptions,
    function="predict_anywhere",
    epilog="""\
examples:
  zoobot predict results/rings --catalog new.csv --save-loc results/new.parquet
  zoobot predict results/rings --catalog folder_of_images --save-loc results/new.csv
  a tree: also the expected fractions with intervals
    zoobot predict results/gz2 --catalog new.csv --save-loc results/new.parquet --summary results/summary.csv
  numbers with 90% intervals, or sets of classes; positions beside them, for TOPCAT
    zoobot predict results/t --catalog n.fits --save-loc t.fits --intervals 90 --columns ra dec --names plain
  from images of the sky to a table: find the galaxies, cut them out, predict them
    zoobot predict results/gz2 --mosaic "tiles/*.fits" --detect --resolved-only --save-loc tiles.csv
  several models together
    zoobot predict results/gz2 --ensemble results/gz2_b results/gz2_c --catalog new.csv --save-loc new.parquet

  without PyTorch and TensorFlow
    zoobot predict rings.onnx --catalog new.csv --save-loc results/new.parquet
  a whole survey, into a folder: give the same command again after a kill, and it goes on
    zoobot predict results/gz2 --catalog survey.parquet --save-loc results/survey
  the same by eight jobs at once, of which this is the third
    zoobot predict results/gz2 --catalog survey.parquet --save-loc results/survey --shard 3/8
  the same by four processes here, by eight SLURM jobs, by the workers of a Dask scheduler
    zoobot predict results/gz2 --catalog survey.parquet --save-loc results/survey --cluster local --workers 4
    zoobot predict results/gz2 --catalog survey.parquet --save-loc results/survey --cluster slurm --workers 8
    zoobot predict results/gz2 --catalog survey.parquet --save-loc results/survey --cluster tcp://node1:8786
  how far is it? one table at the end
    zoobot status results/survey
    zoobot merge results/survey --save-loc results/survey.fits

An image that can't be read is listed in NAME.failures.csv, or in the folder's _failures, and the run goes on.
""",
    usage="zoobot predict MODEL --catalog FILE --save-loc FILE [options]",
    place=("checkpoint", "MODEL"),
)
