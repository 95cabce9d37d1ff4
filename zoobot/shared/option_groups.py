"""The groups that the options of guided runs are made of: one dataclass for each heading of the help."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Any, ClassVar, Literal

from zoobot.shared import defaults
from zoobot.shared.engine import DEFAULT_ENGINE
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Options, setting

__all__ = [
    "AugmentationOptions",
    "CalibrationOptions",
    "CampaignOptions",
    "CatalogOptions",
    "EngineOptions",
    "ImageOptions",
    "LearningOptions",
    "RunFolderOptions",
    "SplitOptions",
    "TaskOptions",
    "WholeModelOptions",
]

_LOSSES = {
    "classification": ["cross_entropy", "focal"],
    "multi-label": ["cross_entropy", "focal"],
    "regression": ["mse", "mae", "huber"],
    "tree": [],
}


@dataclass(frozen=True, kw_only=True)
class EngineOptions(Options):
    """What computes, and how many helpers it has."""

    title: ClassVar[str] = "Engine"

    backend: str = setting(
        DEFAULT_ENGINE, "deep-learning engine: pytorch, tensorflow, or an installed plug-in", metavar="NAME"
    )
    batch_size: int = setting(defaults.BATCH_SIZE, "galaxies in one step; less needs less memory", at_least=1)
    num_workers: int = setting(
        defaults.NUM_WORKERS, "threads that read images; results do not depend on it", at_least=0
    )
    seed: int = setting(
        defaults.SEED, "seeds weights, split, order and augmentation: same seed, same run", at_least=0
    )
    progress: bool = setting(True, "draw progress bars")


@dataclass(frozen=True, kw_only=True)
class CatalogOptions(Options):
    """Which galaxies, and where their images are."""

    title: ClassVar[str] = "Galaxies"

    catalog: str = setting(
        MISSING, "table of galaxies: .csv, .parquet, .fits or VOTable, one row for each", metavar="FILE"
    )
    root: str | None = setting(
        None, "folder that image paths are relative to; without it, the catalog's folder", metavar="FOLDER"
    )
    id_col: str = setting("id_str", "column of the galaxy ids", metavar="COLUMN")
    file_col: str = setting("file_loc", "column of the image paths", metavar="COLUMN")


@dataclass(frozen=True, kw_only=True)
class TaskOptions(Options):
    """What is learned."""

    title: ClassVar[str] = "Task"

    task: Literal["classification", "multi-label", "regression", "tree"] = setting(
        "classification",
        "classification: one class for each galaxy; multi-label: independent yes/no columns; "
        "regression: one or more numbers; tree: volunteers' votes on a decision tree",
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

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.task == "tree" and self.schema is None:
            _refuse("--task tree needs --schema: a name from `zoobot schemas`, or a .yaml file")
        if self.task != "tree" and self.schema is not None:
            _refuse(f"--schema is for --task tree, got --task {self.task}")
        if self.task == "tree" and self.labels:
            _refuse("a tree's label columns are its schema's: leave out --labels")
        if self.task != "tree" and not self.labels:
            _refuse(f"--task {self.task} needs --labels: the column, or columns, to learn")
        if self.task == "classification" and len(self.labels) > 1:
            _refuse(
                f"--task classification learns one column, got {list(self.labels)}; "
                "for several yes/no columns say --task multi-label"
            )
        self._check_loss()

    def _check_loss(self) -> None:
        classifying = self.task in ("classification", "multi-label")
        known = _LOSSES[self.task]
        if self.loss is not None and self.loss not in known:
            _refuse(f"--loss for --task {self.task} must be one of {known}, got {self.loss!r}")
        if self.class_names is not None and self.task != "classification":
            _refuse(f"--class-names is for --task classification, got --task {self.task}")
        if self.class_weights is not None and not classifying:
            _refuse(f"--class-weights is for --task classification or multi-label, got --task {self.task}")
        if self.class_weights and "balanced" in self.class_weights and len(self.class_weights) > 1:
            _refuse(f"--class-weights is either `balanced` or numbers, got {list(self.class_weights)}")


@dataclass(frozen=True, kw_only=True)
class ImageOptions(Options):
    """How a file becomes network input. Without a value, the encoder's own record holds."""

    title: ClassVar[str] = "Images (where not given: as the encoder was trained)"

    image_size_pix: int | None = setting(
        None, "side of the network input; fewer pixels are faster", at_least=1
    )
    channels: int | None = setting(None, "planes of the network input: 3 colour, 1 grey, N bands", at_least=1)
    crop_fraction: float | None = setting(
        None, "side of the central square that is kept, as a fraction of the image", above=0
    )
    colour: Literal["as-is", "to-grey", "to-rgb"] | None = setting(
        None, "how grey and colour files meet the channels"
    )
    hdu: int | str | None = setting(
        None, "FITS: extension by number or name; without it, the first image", metavar="HDU"
    )
    bands: tuple[int, ...] | None = setting(None, "FITS: planes to use, in order, counted from 0", at_least=0)
    stretch: Literal["none", "linear", "asinh", "lupton"] | None = setting(
        None, "FITS: how values map to brightness"
    )
    limits: tuple[float, float] | None = setting(
        None, "FITS: values of black and white; without it, percentiles", metavar="VALUE"
    )
    percentiles: tuple[float, float] | None = setting(
        None, "FITS: percentiles of black and white", at_least=0, at_most=100
    )
    asinh_softness: float | None = setting(None, "FITS: smaller lifts faint light more", above=0)
    nan_policy: Literal["error", "fill"] | None = setting(
        None, "non-finite pixels: `error` sets the galaxy aside and reports it, `fill` paints them"
    )
    fill_value: float | None = setting(None, "brightness of pixels without data", at_least=0, at_most=1)
    pixel_scale_arcsec: float | None = setting(
        None, "size of an original pixel on the sky; kept as a record", above=0
    )

    def image_changes(self) -> dict[str, Any]:
        """The values that were given, by the names of `Preprocessing`."""
        given = {name: getattr(self, name) for name in ImageOptions.__annotations__ if name != "title"}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class AugmentationOptions(Options):
    """How training images vary; validation and prediction never do."""

    title: ClassVar[str] = "Augmentation (training images only)"

    augment: bool = setting(True, "vary the training images at all")
    rotate: bool = setting(True, "turn by any angle")
    flip: bool = setting(True, "mirror; turn off for clockwise/anticlockwise labels")
    zoom: tuple[float, float] = setting(
        defaults.ZOOM, "smallest and largest magnification", above=0, metavar="X"
    )
    shift: float = setting(
        defaults.SHIFT, "largest offset, as a fraction of the image's side", at_least=0, at_most=0.5
    )
    erase_probability: float = setting(0.0, "chance of a patch being painted over", at_least=0, at_most=1)


@dataclass(frozen=True, kw_only=True)
class SplitOptions(Options):
    """Which galaxies train, which choose the best epoch, and which are kept for the final score."""

    title: ClassVar[str] = "Split"

    split: Literal["random", "stratified", "sky", "group", "column"] = setting(
        "random",
        "random; stratified: the same mix of classes in each part; sky: patches of sky stay together "
        "(--ra-col and --dec-col); group: galaxies with one value of --split-column stay together; "
        "column: --split-column says train, val or test",
    )
    split_column: str | None = setting(None, "the column of --split group or column", metavar="COLUMN")
    ra_col: str = setting("ra", "right ascension in degrees, for --split sky", metavar="COLUMN")
    dec_col: str = setting("dec", "declination in degrees, for --split sky", metavar="COLUMN")
    val_fraction: float = setting(defaults.VAL_FRACTION, "share of galaxies that validate", above=0, below=1)
    test_fraction: float = setting(0.0, "share of galaxies kept for the final score", at_least=0, below=1)
    val_catalog: str | None = setting(
        None, "galaxies that validate; then --catalog only trains", metavar="FILE"
    )
    test_catalog: str | None = setting(None, "galaxies kept for the final score", metavar="FILE")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.split in ("group", "column") and self.split_column is None:
            _refuse(f"--split {self.split} needs --split-column")
        if self.split not in ("group", "column") and self.split_column is not None:
            _refuse(f"--split-column is for --split group or column, got --split {self.split}")
        if self.val_fraction + self.test_fraction >= 1:
            given = f"{self.val_fraction} + {self.test_fraction}"
            _refuse(f"val_fraction + test_fraction must leave galaxies to train on, got {given}")
        if self.test_catalog is not None and self.test_fraction > 0:
            _refuse("give --test-catalog or --test-fraction, not both")


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions(Options):
    """How sure a tree model may be."""

    title: ClassVar[str] = "Calibration"

    calibrate: bool = setting(
        True,
        "tree: after training, scale each question's certainty so that intervals hold what they say on the "
        "validation galaxies; expected fractions stay",
    )
    calibration_objective: Literal["auto", "likelihood", "coverage"] = setting(
        defaults.CALIBRATION_OBJECTIVE,
        "tree: calibrate for the likelihood of the votes, for the coverage of 90% intervals, or (auto) for "
        "the likelihood unless that leaves the coverage off",
    )


@dataclass(frozen=True, kw_only=True)
class LearningOptions(Options):
    """How the weights learn."""

    title: ClassVar[str] = "Learning"

    encoder: str = setting(
        defaults.ENCODER,
        "pretrained encoder: a bundled name, hf_hub:owner/name, a checkpoint folder, or a timm architecture "
        "(random weights)",
        metavar="NAME",
    )
    n_blocks: int | Literal["all"] = setting(
        defaults.N_BLOCKS,
        "encoder blocks that learn, from the top; 0: the head alone (fast, few labels)",
        at_least=0,
    )
    max_epochs: int = setting(defaults.MAX_EPOCHS, "most passes over the training galaxies", at_least=1)
    patience: int = setting(
        defaults.PATIENCE, "stop after so many epochs without a better validation loss", at_least=1
    )
    learning_rate: float = setting(defaults.LEARNING_RATE, "AdamW's largest step, for the head", above=0)
    lr_decay: float = setting(
        defaults.LR_DECAY, "each block learns slower than the one above by this factor", above=0, at_most=1
    )
    weight_decay: float = setting(defaults.WEIGHT_DECAY, "pull of the weights towards zero", at_least=0)
    dropout_prob: float = setting(
        defaults.DROPOUT_PROB, "chance that a feature is left out while learning", at_least=0, below=1
    )
    schedule: Literal["cosine", "constant"] = setting(
        "cosine", "how the learning rate goes after the warm-up"
    )
    warmup_epochs: float = setting(
        defaults.WARMUP_EPOCHS, "epochs over which the learning rate rises from zero", at_least=0
    )
    gradient_clip: float | None = setting(
        None, "longest gradient, as a norm over all weights; without it, any", above=0
    )
    accumulate_batches: int = setting(
        1, "batches averaged for one step: large steps in little memory", at_least=1
    )
    ema_decay: float = setting(
        0.0,
        "keep a running average of the weights, with this share staying at each step",
        at_least=0,
        below=1,
    )
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = setting((), "where to log besides metrics.csv")
    accelerator: str = setting("auto", "auto, cpu, gpu, mps …", metavar="NAME")
    devices: int = setting(1, "devices on each machine; they share each batch", at_least=1)
    num_nodes: int = setting(1, "machines; under SLURM, its processes are found by themselves", at_least=1)
    precision: str = setting("auto", "auto, 32-true, bf16-mixed, 16-mixed", metavar="NAME")


@dataclass(frozen=True, kw_only=True)
class CampaignOptions(Options):
    """Which galaxies, and the votes on which decision trees."""

    title: ClassVar[str] = "Galaxies and votes"

    catalog: tuple[str, ...] = setting(
        MISSING, "table of galaxies with votes, or several: one for each campaign", metavar="FILE"
    )
    schema: tuple[str, ...] = setting(
        MISSING,
        "decision tree, or several to learn at once: names from `zoobot schemas`, or your own .yaml",
        metavar="NAME",
    )
    legacy_schema: bool = setting(False, "use the trees' dependencies as once published, errors included")
    root: str | None = setting(
        None, "folder that image paths are relative to; without it, each table's folder", metavar="FOLDER"
    )
    id_col: str = setting("id_str", "column of the galaxy ids", metavar="COLUMN")
    file_col: str = setting("file_loc", "column of the image paths", metavar="COLUMN")


@dataclass(frozen=True, kw_only=True)
class WholeModelOptions(LearningOptions):
    """How the weights of a whole model learn: all blocks, at one rate, and their running average is kept."""

    encoder: str = setting(
        defaults.ENCODER,
        "what to start from: a timm architecture (random weights), a bundled name, hf_hub:owner/name, or a "
        "checkpoint folder",
        metavar="NAME",
    )
    n_blocks: int | Literal["all"] = setting("all", "encoder blocks that learn, from the top", at_least=0)
    lr_decay: float = setting(
        1.0, "each block learns slower than the one above by this factor", above=0, at_most=1
    )
    learning_rate: float = setting(defaults.TRAIN_LEARNING_RATE, "AdamW's largest step", above=0)
    dropout_prob: float = setting(
        defaults.TRAIN_DROPOUT_PROB, "chance that a feature is left out while learning", at_least=0, below=1
    )
    gradient_clip: float | None = setting(
        defaults.GRADIENT_CLIP, "longest gradient, as a norm over all weights", above=0
    )
    ema_decay: float = setting(
        defaults.EMA_DECAY,
        "keep a running average of the weights, with this share staying at each step; 0: the weights",
        at_least=0,
        below=1,
    )


@dataclass(frozen=True, kw_only=True)
class RunFolderOptions(Options):
    """Where a finetuning run leaves its results, and what becomes of those that are there."""

    title: ClassVar[str] = "Results"

    save_dir: str = setting(
        MISSING, "folder for the model, scores, predictions and pictures", metavar="FOLDER"
    )
    cache_dir: str | None = setting(
        None,
        "folder to keep decoded images in, for later epochs and runs: faster, and the same results; it needs "
        "the disk space of the uncompressed images",
        metavar="FOLDER",
    )
    resume: bool = setting(False, "continue the unfinished run in --save-dir, with its options")
    overwrite: bool = setting(False, "replace the run in --save-dir")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.resume and self.overwrite:
            _refuse("give --resume or --overwrite, not both")


def _refuse(message: str) -> None:
    raise ConfigError(message)
