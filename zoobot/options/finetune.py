"""The options of `zoobot finetune`, and its words on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoobot.options.command import Command
from zoobot.options.groups import (
    AugmentationOptions,
    CatalogOptions,
    ImageOptions,
    RunFolderOptions,
    ScoreOptions,
    SplitOptions,
    TurnOptions,
)
from zoobot.shared import defaults
from zoobot.shared.pixels.turned import several_views_need_head
from zoobot.shared.settings import Options, refuse, setting
from zoobot.shared.tasks import KINDS, TaskKind
from zoobot.shared.training.finetune_settings import LearningSettings, TrainerSettings


@dataclass(frozen=True, kw_only=True)
class TargetOptions(Options):
    """Which numbers are targets of a regression."""

    title: ClassVar[str] = "Task"

    missing_values: tuple[float, ...] = setting(
        (), "regression: numbers that mean that there is no value, such as -99 -999", metavar="X"
    )
    suspect_targets: Literal["refuse", "keep"] = setting(
        "refuse",
        "regression: refuse numbers that can hardly be meant (-99 far from all others, many decades), or "
        "keep them as they are",
    )


@dataclass(frozen=True, kw_only=True)
class TaskOptions(TargetOptions):
    """What is learned."""

    title: ClassVar[str] = "Task"

    task: TaskKind | None = setting(
        None,
        "; ".join(f"{name}: {kind.meaning}" for name, kind in KINDS.items())
        + "; without it, classification, unless the labels look like measurements",
    )
    labels: tuple[str, ...] = setting(
        (), "label column, or several; a tree takes its columns from the schema", metavar="COLUMN"
    )
    schema: str | None = setting(
        None, "decision tree: a name from `zoobot schemas`, or your own .yaml", metavar="NAME"
    )
    legacy_schema: bool = setting(False, "use the tree's dependencies as once published, errors included")
    class_names: tuple[str, ...] | None = setting(
        None, "names of classes 0, 1, …; labels that are text name themselves", metavar="NAME"
    )
    loss: Literal["cross_entropy", "focal", "mse", "mae", "huber"] | None = setting(
        None, "classification: cross_entropy or focal; regression: mse, mae or huber; without it, the first"
    )
    label_smoothing: float = setting(
        defaults.LABEL_SMOOTHING,
        "classification: share of certainty given to the other classes",
        at_least=0,
        below=1,
    )
    class_weights: tuple[float | Literal["balanced"], ...] | None = setting(
        None,
        "classification: one weight for each class, or `balanced` for rare classes to count as much",
        metavar="W",
    )
    focal_gamma: float = setting(
        defaults.FOCAL_GAMMA, "focal loss: how strongly easy galaxies are played down", at_least=0
    )
    unit_interval: bool = setting(False, "regression: targets lie in [0, 1], and predictions stay there")

    @property
    def kind(self) -> str:
        """The kind of task, whether it was said or not."""
        return self.task or "classification"

    @property
    def names_tree(self) -> bool:
        """Whether it is said which tree volunteers answered."""
        return self.schema is not None

    @property
    def may_be_measured(self) -> bool:
        """Whether nobody said that the labels are classes."""
        told = (self.task, self.class_names, self.loss, self.class_weights)
        return all(value is None for value in told)

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.kind == "tree" and not self.names_tree:
            refuse("--task tree needs --schema: a name from `zoobot schemas`, or a .yaml file")
        if self.kind == "tree" and self.labels:
            refuse("a tree's label columns are its schema's: leave out --labels")
        if self.kind != "tree" and not self.labels:
            asked = f"--task {self.kind} needs" if self.task else "there is nothing to learn yet: give"
            trees = "" if self.task else "; of a tree of votes, --task tree --schema NAME"
            refuse(f"{asked} --labels: the column, or columns, to learn{trees}")
        several = KINDS[self.kind].for_several
        if several and len(self.labels) > 1:
            refuse(f"--task {self.kind} learns one column, got {list(self.labels)}; {several}")
        self._check_options()
        known = list(KINDS[self.kind].losses)
        if self.loss is not None and self.loss not in known:
            refuse(f"--loss for --task {self.kind} must be one of {known}, got {self.loss!r}")
        if self.class_weights and "balanced" in self.class_weights and len(self.class_weights) > 1:
            refuse(f"--class-weights is either `balanced` or numbers, got {list(self.class_weights)}")

    def _check_options(self) -> None:
        """Refuse options that only other tasks have."""
        for name in dict.fromkeys(option for kind in KINDS.values() for option in kind.options):
            able = [other for other, kind in KINDS.items() if name in kind.options]
            if getattr(self, name) not in (None, ()) and self.kind not in able:
                flag = "--" + name.replace("_", "-")
                refuse(f"{flag} is for --task {' or '.join(able)}, got --task {self.kind}")


@dataclass(frozen=True, kw_only=True)
class EncoderOptions(Options):
    """What a guided run starts from, and on what it runs."""

    title: ClassVar[str] = "Learning"

    encoder: str = setting(
        defaults.ENCODER,
        "pretrained encoder: a bundled name, hf_hub:owner/name, a checkpoint folder, or a timm architecture "
        "(random weights)",
        metavar="NAME",
    )
    accelerator: str = setting("auto", "auto, cpu, gpu, mps …", metavar="NAME")
    devices: int = setting(1, "devices on each machine; they share each batch", at_least=1)
    precision: str = setting("auto", "auto, 32-true, bf16-mixed, 16-mixed", metavar="NAME")


@dataclass(frozen=True, kw_only=True)
class LearningOptions(TrainerSettings, LearningSettings, EncoderOptions):
    """How the weights learn."""


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions(Options):
    """How sure a model may be."""

    title: ClassVar[str] = "Calibration"

    calibrate: bool = setting(
        True,
        "after training, scale how sure the model is so that the validation galaxies bear it out: a tree's "
        "intervals, question by question, and the probabilities of classes and labels (a temperature); "
        "expected fractions, and which class is most likely, stay",
    )
    calibration_objective: Literal["auto", "likelihood", "coverage"] = setting(
        defaults.CALIBRATION_OBJECTIVE,
        "tree: calibrate for the likelihood of the votes, for the coverage of 90% intervals, or (auto) for "
        "the likelihood unless that leaves the coverage off",
    )


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(
    ScoreOptions,
    CalibrationOptions,
    LearningOptions,
    AugmentationOptions,
    TurnOptions,
    ImageOptions,
    SplitOptions,
    RunFolderOptions,
    TaskOptions,
    CatalogOptions,
):
    """Everything that `zoobot finetune` can be told."""

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.kind != "tree" and self.calibration_objective == "coverage":
            refuse(f"--calibration-objective coverage is for --task tree, got --task {self.kind}")
        if self.views not in (None, 1) and self.n_blocks != 0:
            refuse(several_views_need_head(self.views, self.n_blocks))


COMMAND = Command(
    name="finetune",
    group="learn",
    meaning="teach a pretrained model your labels",
    options=FinetuneOptions,
    description="""\
Teach a pretrained encoder a new task, from a table of galaxies with labels.

The table (CSV, Parquet, FITS, VOTable) has a row for each galaxy: an id (column id_str), the path of its
image (column file_loc, absolute or relative to the table's folder), and labels. Classes may be
numbers from 0, or words. The folder --save-dir gets the model, its scores, predictions, pictures, and a
record of the run.
""",
    epilog="""\
examples:
  is it a ring? (column ring: 0 or 1)
    zoobot finetune --catalog rings.csv --labels ring --save-dir results/rings
  several classes, by name, rare ones counting as much as common ones
    zoobot finetune --catalog kinds.csv --labels kind --class-weights balanced --save-dir results/kinds
  a number
    zoobot finetune --catalog efigi.csv --task regression --labels T --save-dir results/ttype
  volunteers' votes on a decision tree
    zoobot finetune --catalog votes.csv --task tree --schema gz2 --n-blocks 2 --save-dir results/gz2
  FITS images of five bands
    zoobot finetune --catalog hsc.csv --labels merger --channels 5 --stretch asinh --save-dir results/hsc
  go on after a kill
    zoobot finetune --resume --save-dir results/rings

few labels (hundreds): keep --n-blocks 0; thousands: try --n-blocks 1, 2, 3 … all, and watch the score.
""",
    usage="zoobot finetune --catalog FILE --labels COLUMN … --save-dir FOLDER [options]",
)
