"""The options of every guided run: names, types, defaults, checks and help texts, for Python and the shell.

The command line is made from these dataclasses, and `zoobot.workflow` takes them as its one argument.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import ClassVar, Literal

from zoobot.choosing.strategy_names import read_strategy
from zoobot.shared import defaults
from zoobot.shared.engine import DEFAULT_ENGINE
from zoobot.shared.errors import ConfigError
from zoobot.shared.options import (
    AnomaliesOptions,
    AugmentationOptions,
    CalibrationOptions,
    CampaignOptions,
    CatalogOptions,
    ChoosingOptions,
    ClusterOptions,
    EngineOptions,
    ExplainingOptions,
    ExploreOptions,
    ImageOptions,
    LearningOptions,
    MixtureOptions,
    RateOptions,
    ReadingOptions,
    ReduceOptions,
    RepresentOptions,
    RoundsOptions,
    RunFolderOptions,
    SimilarOptions,
    SplitOptions,
    StreamingOptions,
    TargetOptions,
    TaskOptions,
    TurnOptions,
    ViewOptions,
    WholeModelOptions,
)
from zoobot.shared.pixels.turned import several_views_need_head
from zoobot.shared.settings import Options, setting

__all__ = [
    "AnomaliesOptions",
    "AugmentationOptions",
    "CalibrateOptions",
    "CalibrationOptions",
    "CampaignOptions",
    "CatalogOptions",
    "ChoosingOptions",
    "ClusterOptions",
    "ConvertOptions",
    "DemoOptions",
    "EngineOptions",
    "EvaluateOptions",
    "ExplainOptions",
    "ExplainingOptions",
    "ExploreOptions",
    "ExportOptions",
    "FinetuneOptions",
    "ImageOptions",
    "LearningOptions",
    "LoopOptions",
    "MergeOptions",
    "MixtureOptions",
    "PredictAnywhereOptions",
    "PredictOptions",
    "PrioritiseOptions",
    "RateOptions",
    "ReadingOptions",
    "ReduceOptions",
    "RepresentOptions",
    "RoundsOptions",
    "RunFolderOptions",
    "SimilarOptions",
    "SplitOptions",
    "StreamingOptions",
    "TargetOptions",
    "TaskOptions",
    "TrainOptions",
    "TurnOptions",
    "ViewOptions",
    "WholeModelOptions",
]


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(
    EngineOptions,
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
            _refuse(f"--calibration-objective coverage is for --task tree, got --task {self.kind}")
        if self.views not in (None, 1) and self.n_blocks != 0:
            _refuse(several_views_need_head(self.views, self.n_blocks))


@dataclass(frozen=True, kw_only=True)
class TrainOptions(
    EngineOptions,
    CalibrationOptions,
    WholeModelOptions,
    AugmentationOptions,
    ImageOptions,
    SplitOptions,
    RunFolderOptions,
    CampaignOptions,
):
    """Everything that `zoobot train` can be told."""


@dataclass(frozen=True, kw_only=True)
class PredictOptions(
    EngineOptions, MixtureOptions, TurnOptions, StreamingOptions, ReadingOptions, CatalogOptions
):
    """Everything that `zoobot predict` can be told."""

    title: ClassVar[str] = "Predictions"

    checkpoint: str = setting(
        MISSING,
        "a trained model: the checkpoint folder, the run's folder, or a file of `zoobot export`, which needs "
        "neither PyTorch nor TensorFlow",
        metavar="MODEL",
    )
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


@dataclass(frozen=True, kw_only=True)
class PredictAnywhereOptions(ClusterOptions, PredictOptions):
    """A prediction, and where it runs: what the command line takes."""

    title: ClassVar[str] = ""

    def prediction(self) -> PredictOptions:
        """The same without the place."""
        return PredictOptions(**{field.name: getattr(self, field.name) for field in fields(PredictOptions)})


@dataclass(frozen=True, kw_only=True)
class MergeOptions(Options):
    """Everything that `zoobot merge` can be told."""

    title: ClassVar[str] = "Merging"

    folder: str = setting(
        MISSING, "the folder that `zoobot predict` or `zoobot represent` wrote its parts to", metavar="FOLDER"
    )
    save_loc: str = setting(
        MISSING, "the table to write: .parquet, .csv, .hdf5, .h5 or .fits", metavar="FILE"
    )
    partial: bool = setting(False, "merge the parts that are there, even if some are missing")
    overwrite: bool = setting(False, "replace the table if it exists")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(
    EngineOptions, MixtureOptions, TurnOptions, TargetOptions, ReadingOptions, CatalogOptions
):
    """Everything that `zoobot evaluate` can be told."""

    title: ClassVar[str] = "Evaluation"

    checkpoint: str = setting(
        MISSING, "a trained model: the checkpoint folder, or the run's folder", metavar="FOLDER"
    )
    save_dir: str = setting(MISSING, "folder for scores, predictions and pictures", metavar="FOLDER")
    select: str | None = setting(
        None, "only galaxies whose column holds a value, e.g. split=test", metavar="COLUMN=VALUE"
    )
    exclude_trained: bool = setting(
        False,
        "leave out galaxies that taught the model: those it was trained on, and those that chose its best "
        "epoch and its calibration; its checkpoint knows them by their ids",
    )
    overwrite: bool = setting(False, "replace the evaluation in --save-dir")


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions(EngineOptions, TurnOptions, ReadingOptions, CatalogOptions):
    """Everything that `zoobot calibrate` can be told."""

    title: ClassVar[str] = "Calibration"

    checkpoint: str = setting(
        MISSING,
        "a trained model of a tree, classes or labels: the checkpoint folder, or the run's folder; it is "
        "changed",
        metavar="FOLDER",
    )
    select: str | None = setting(
        None, "only galaxies whose column holds a value, e.g. split=val", metavar="COLUMN=VALUE"
    )
    objective: Literal["auto", "likelihood", "coverage"] = setting(
        defaults.CALIBRATION_OBJECTIVE,
        "tree: fit the likelihood of the votes, the coverage of 90% intervals, or (auto) the likelihood "
        "unless that leaves the coverage off; classes and labels: always the likelihood",
    )


@dataclass(frozen=True, kw_only=True)
class ExportOptions(TurnOptions):
    """Everything that `zoobot export` can be told."""

    title: ClassVar[str] = "Export"

    checkpoint: str = setting(
        MISSING, "a trained model: the checkpoint folder, or the run's folder", metavar="FOLDER"
    )
    save_loc: str = setting(MISSING, "the file to write: .onnx", metavar="FILE")
    backend: str = setting(
        DEFAULT_ENGINE, "engine that converts: pytorch, tensorflow, or an installed plug-in", metavar="NAME"
    )
    overwrite: bool = setting(False, "replace the file if it exists")


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(Options):
    """Everything that `zoobot convert` can be told."""

    title: ClassVar[str] = "Conversion"

    checkpoint: str = setting(
        MISSING,
        "a .ckpt of the public Zoobot 2.x, or timm's weights alone (pytorch_model.bin)",
        metavar="FILE",
    )
    save_dir: str = setting(MISSING, "folder for the converted checkpoint", metavar="FOLDER")
    architecture: str | None = setting(
        None, "timm's name of the encoder's architecture, where the file does not tell it", metavar="NAME"
    )
    label_cols: tuple[str, ...] = setting(
        (), "label columns of a classifier or regressor; without it, as the file says", metavar="COLUMN"
    )
    class_names: tuple[str, ...] = setting((), "a name for each class, in order; without it, 0, 1, …")
    image_size_pix: int | None = setting(
        None, "side of the images it looks at; without it, 224 (or what its weights are made for)", at_least=1
    )
    crop_fraction: float | None = setting(
        None, "side of the central square it looks at; without it, the public Zoobot's 1/1.2", above=0
    )
    overwrite: bool = setting(False, "replace the checkpoint in --save-dir")


@dataclass(frozen=True, kw_only=True)
class ExplainOptions(EngineOptions, TurnOptions, ExplainingOptions):
    """Everything that `zoobot explain` can be told."""

    title: ClassVar[str] = "Model and results"

    checkpoint: str = setting(
        MISSING, "a trained model: the checkpoint folder, or the run's folder", metavar="MODEL"
    )
    save_dir: str = setting(MISSING, "folder for the pictures and the numbers", metavar="FOLDER")
    overwrite: bool = setting(False, "replace the explanations in --save-dir")


@dataclass(frozen=True, kw_only=True)
class LoopOptions(EngineOptions, RoundsOptions, TurnOptions, ImageOptions, TaskOptions, CatalogOptions):
    """Everything that `zoobot loop` can be told."""

    title: ClassVar[str] = "Model and results"

    encoder: str = setting(
        defaults.ENCODER, "frozen encoder under the heads, as in `zoobot finetune`", metavar="NAME"
    )
    dropout_prob: float = setting(
        defaults.DROPOUT_PROB, "chance that a feature is dropped, for dropout samples", at_least=0, below=1
    )
    save_dir: str = setting(MISSING, "folder for the curves, their picture and the record", metavar="FOLDER")
    resume: bool = setting(False, "continue the unfinished run in --save-dir, with its options")
    overwrite: bool = setting(False, "replace the run in --save-dir")

    def check(self) -> None:  # noqa: D102
        super().check()
        if not self.simulate:
            _refuse(
                "`zoobot loop` plays with labels that are known already: say --simulate. A real loop is "
                "`zoobot prioritise`, whose list people label, and `zoobot finetune` with what they said"
            )
        if self.resume and self.overwrite:
            _refuse("give --resume or --overwrite, not both")
        if self.member_kind == "dropout" and self.dropout_prob == 0:
            _refuse("--member-kind dropout needs a --dropout-prob above 0")
        for name in self.strategies:
            read_strategy(name, self.kind)

    def finetune_options(self) -> FinetuneOptions:
        """The options of a model such as the loop trains: a head on a frozen encoder."""
        shared = {f.name: getattr(self, f.name) for f in fields(FinetuneOptions) if hasattr(self, f.name)}
        return FinetuneOptions(**shared | {"n_blocks": 0, "resume": False, "overwrite": False})


@dataclass(frozen=True, kw_only=True)
class PrioritiseOptions(EngineOptions, ChoosingOptions, TurnOptions, ReadingOptions, CatalogOptions):
    """Everything that `zoobot prioritise` can be told."""

    title: ClassVar[str] = "Model and list"

    checkpoint: str | None = setting(
        None,
        "a trained model: the checkpoint folder, or the run's folder; with --predictions it is needed only "
        "to keep galaxies apart",
        metavar="MODEL",
    )
    save_loc: str = setting(
        MISSING, "the list to write: .csv to look at, .json for a platform of volunteers", metavar="FILE"
    )
    picture: bool = setting(True, "also draw the first galaxies, beside the list as NAME.png")
    overwrite: bool = setting(False, "replace the list if it exists")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.checkpoint is None and self.predictions is None:
            _refuse("give a trained model (--checkpoint), or what one predicted (--predictions)")
        if self.checkpoint is None and self.diversity not in (None, "none"):
            _refuse(f"--diversity {self.diversity} needs a model to encode galaxies: give its checkpoint too")
        if self.predictions is not None and (self.ensemble or self.n_samples):
            _refuse("--ensemble and --n-samples are for predicting anew: leave them out with --predictions")


def _refuse(message: str) -> None:
    raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class DemoOptions(EngineOptions):
    """Everything that `zoobot demo` can be told."""

    title: ClassVar[str] = "Demo"

    save_dir: str = setting(
        "results/demo", "folder for the survey, the model and the pictures", metavar="FOLDER"
    )
    n_galaxies: int = setting(1000, "simulated galaxies", at_least=30)
    image_size_pix: int = setting(128, "side of the images and of the network input", at_least=32)
    encoder: str = setting(defaults.ENCODER, "pretrained encoder, as in `zoobot finetune`", metavar="NAME")
    n_blocks: int | Literal["all"] = setting(3, "encoder blocks that learn, from the top", at_least=0)
    max_epochs: int = setting(12, "passes over the training galaxies", at_least=1)
    learning_rate: float = setting(1e-3, "largest step, for the head", above=0)
    batch_size: int = setting(32, "galaxies in one step", at_least=1)
