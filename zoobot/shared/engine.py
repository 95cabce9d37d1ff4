"""Names the engines, loads one, and states the contract that each of them keeps.

An engine is a package with the modules listed in `MIRRORED`, each with the same public names and signatures.
This file is the only place that knows which engines exist: the rest of the library calls `load_engine` and
then the contract. Another package adds an engine by an entry point in the group "zoobot.engines" whose name
is the engine's and whose value is the package.
"""

from __future__ import annotations

import logging
import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, cast

from zoobot.shared.counting_bar import quieten_other_bars
from zoobot.shared.errors import EngineNotInstalledError, UnknownEngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.metadata import EntryPoint
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from zoobot.shared.checkpoint import NeutralCheckpoint
    from zoobot.shared.conformal import Conformal
    from zoobot.shared.explaining.explanations import ExplainKeywords, Explanations
    from zoobot.shared.features.tables import FeatureTable
    from zoobot.shared.galaxy_data import GalaxyData
    from zoobot.shared.predicting.run import PredictKeywords, RepresentKeywords
    from zoobot.shared.predictions import Predictions
    from zoobot.shared.preprocessing import Preprocessing
    from zoobot.shared.tasks import Task
    from zoobot.shared.training.feature_loader import FrozenPart
    from zoobot.shared.training.finetune_settings import FinetuneSettings
    from zoobot.shared.training.taught import TaughtBy

logger = logging.getLogger("zoobot")

__all__ = [
    "DEFAULT_ENGINE",
    "ENGINES",
    "ENGINE_VARIABLE",
    "ENTRY_POINT_GROUP",
    "MIRRORED",
    "Engine",
    "Model",
    "Trainer",
    "choose_engine",
    "engine_names",
    "load_engine",
    "usual_engine",
]

#: Engine name → the framework that it needs.
ENGINES = {"pytorch": "torch", "tensorflow": "tensorflow"}

#: The engine where the user names none, the environment neither, and both are installed.
DEFAULT_ENGINE = "pytorch"

#: The environment variable that names the engine to use where the user does not.
ENGINE_VARIABLE = "ZOOBOT_BACKEND"

#: The modules that each engine has, under the same name, with the same `__all__` and signatures.
MIRRORED = (
    "checkpoint",
    "data",
    "encoders",
    "finetune",
    "heads",
    "losses",
    "models",
    "posteriors",
    "predict",
    "represent",
    "saliency",
)

#: Where other packages announce their engines.
ENTRY_POINT_GROUP = "zoobot.engines"


class Model(Protocol):
    """A model of any engine, after it was made or loaded.

    Attributes:
        task: What it learns and predicts.
        preprocessing: How a file becomes its input.
        settings: How its weights learn, and which of them.
        encoder: From images to features: `blocks`, `num_features`, `origin`, `norms_learn`.
        head: From features to predictions: `is_untrained`, `get_calibration`, `set_calibration`.
        taught_by: Which galaxies it was trained and validated on; None where nobody knows.
        conformal: Its errors on galaxies that it was not trained on; None where nobody knows.
        needs_epochs: Whether steps may better the best head that is found on fixed features.
    """

    task: Task
    preprocessing: Preprocessing
    settings: FinetuneSettings
    encoder: Any
    head: Any
    taught_by: TaughtBy | None
    conformal: Conformal | None
    needs_epochs: bool

    def meet(self, galaxies: GalaxyData) -> None:
        """Learn the label columns and statistics of the galaxies to train on; check every label."""

    def learn_label_statistics(self, labels: NDArray) -> None:
        """Take what the head or the loss needs from the training labels, (galaxies, label columns)."""

    def frozen_part(self) -> FrozenPart | None:
        """The part of the encoder that is computed once for each view; None if there is no such part."""

    def encode_images(self, images: NDArray) -> NDArray:
        """Features, (batch, features), float32, from a loader's images, (batch, height, width, channels)."""

    def parameter_counts(self) -> tuple[int, int]:
        """How many weights learn, and how many there are."""

    def save(self, folder: str | Path, *, training: dict[str, Any] | None = None) -> Path:
        """Write the neutral checkpoint that every engine reads."""

    def to_neutral(self, *, training: dict[str, Any] | None = None) -> NeutralCheckpoint:
        """The model as a checkpoint holds it, with copies of its weights."""


class Trainer(Protocol):
    """Fits a model: what `finetune.get_trainer` returns."""

    @property
    def world_size(self) -> int:
        """How many devices share each batch, on all machines together."""

    @property
    def on_cpu(self) -> bool:
        """Whether it trains on a CPU."""

    def fit(self, model: Any, galaxies: Any, *, ckpt_path: str | Path | None = None) -> None:
        """Train; afterwards `model` holds its best weights. `ckpt_path="last"` continues a killed run."""


class _Data(Protocol):
    """`engine.data`."""

    GalaxyDataModule: Callable[..., GalaxyData]


class _Finetune(Protocol):
    """`engine.finetune`."""

    FinetuneableZoobotClassifier: Callable[..., Model]
    FinetuneableZoobotRegressor: Callable[..., Model]
    FinetuneableZoobotTree: Callable[..., Model]

    def get_trainer(
        self, save_dir: str | Path, *, max_epochs: int | None = ..., patience: int = ..., **options: Any
    ) -> Trainer:
        """A trainer that leaves checkpoint/, metrics.csv and last.ckpt in `save_dir`."""


class _Models(Protocol):
    """`engine.models`."""

    ZoobotTree: Callable[..., Model]


class _Predict(Protocol):
    """`engine.predict`."""

    def predict(self, catalog: Any, model: Any, **options: Unpack[PredictKeywords]) -> Predictions:
        """Predictions of `model` for every galaxy of `catalog`, in its order."""


class _Represent(Protocol):
    """`engine.represent`."""

    def represent(self, catalog: Any, model: Any, **options: Unpack[RepresentKeywords]) -> FeatureTable:
        """What the encoder of `model` makes of every galaxy of `catalog`, in its order."""

    def predict_features(
        self, features: Any, model: Model, *, n_samples: int = ..., seed: int = ...
    ) -> NDArray[np.float32]:
        """What `model` predicts from features, (samples, galaxies, outputs)."""

    def fit_head(
        self,
        features: Any,
        labels: Any,
        model: Model,
        *,
        decay: float | None = ...,
        weights: NDArray | None = ...,
        seed: int = ...,
    ) -> float:
        """Give `model` the best head for features of labelled galaxies, and return its weight decay."""


class _Saliency(Protocol):
    """`engine.saliency`."""

    def explain(self, catalog: Any, model: Any, **options: Unpack[ExplainKeywords]) -> Explanations:
        """Which pixels made `model` say so, for every galaxy of `catalog`, in its order."""


class _Checkpoint(Protocol):
    """`engine.checkpoint`."""

    def save(self, model: Model, folder: str | Path, *, training: dict[str, Any] | None = None) -> Path:
        """Write `model` as a neutral checkpoint folder, which every engine can load."""

    def load(self, folder: str | Path) -> Model:
        """The model back from such a folder."""

    def export(self, model: Model | str | Path, save_loc: str | Path, *, views: int | None = ...) -> Path:
        """Write `model` to an ONNX file, and return its path."""


class _Losses(Protocol):
    """`engine.losses`."""

    def dirichlet_multinomial_nll(
        self, concentrations: Any, votes: Any, question_slices: Sequence[slice]
    ) -> Any:
        """Negative log-likelihood of votes, (galaxies, questions), on the engine's own tensors."""


class Engine(Protocol):
    """What `load_engine` returns: one attribute for each of the `MIRRORED` modules."""

    checkpoint: _Checkpoint
    data: _Data
    encoders: Any
    finetune: _Finetune
    heads: Any
    losses: _Losses
    models: _Models
    predict: _Predict
    represent: _Represent
    saliency: _Saliency


def engine_names() -> list[str]:
    """The engines that can be asked for by name: ours, then those of other packages.

    Example:
        >>> engine_names()[:2]
        ['pytorch', 'tensorflow']
    """
    return [*ENGINES, *sorted(set(_announced()) - set(ENGINES))]


def usual_engine() -> tuple[str, str]:
    """The engine that is used where the user names none, and why in words, empty where that is the default.

    Raises:
        UnknownEngineError: If the environment variable `ZOOBOT_BACKEND` names none that there is.

    Example:
        >>> usual_engine()[0] in engine_names()
        True
    """
    asked = os.environ.get(ENGINE_VARIABLE, "").strip()
    if asked:
        if asked not in engine_names():
            msg = f"the environment variable {ENGINE_VARIABLE} must be one of {engine_names()}, got {asked!r}"
            raise UnknownEngineError(msg)
        return asked, f"as the environment variable {ENGINE_VARIABLE} says"
    installed = [name for name, framework in ENGINES.items() if find_spec(framework)]
    if not installed or DEFAULT_ENGINE in installed:
        return DEFAULT_ENGINE, ""
    return installed[0], "the one that is installed"


def choose_engine(name: str | None = None) -> str:
    """The engine asked for, or else the usual one, which is said where it is not the default.

    Args:
        name: What the user asked for; None if for nothing.

    Raises:
        UnknownEngineError: If the environment variable `ZOOBOT_BACKEND` names none that there is.

    Example:
        >>> choose_engine("tensorflow")
        'tensorflow'
    """
    if name is not None:
        return name
    usual, why = usual_engine()
    if why:
        logger.info("Engine: %s, %s", usual, why)
    return usual


def load_engine(name: str | None = None) -> Engine:
    """The engine package called `name`, imported, with the `MIRRORED` modules as its attributes.

    Args:
        name: "pytorch", "tensorflow", or the name of an engine that another package brings; None is what
            `choose_engine` takes.

    Returns:
        The package. Only now is its framework imported; nothing else in Zoobot imports one.

    Raises:
        UnknownEngineError: If there is no engine of that name.
        EngineNotInstalledError: If a package that it needs is not installed; the message has the pip command.

    Example:
        >>> engine = load_engine("pytorch")
        >>> engine.finetune.get_trainer.__name__
        'get_trainer'
    """
    name = choose_engine(name)
    package, install = _locate(name)
    quieten_other_bars()
    try:
        engine = import_module(package)
        for module in MIRRORED:
            import_module(f"{package}.{module}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == package.partition(".")[0]:
            raise  # a fault in the engine, not a missing framework
        msg = f"the {name} engine needs {missing!r}, which is not installed; run: pip install '{install}'"
        raise EngineNotInstalledError(msg) from error
    return cast("Engine", engine)


def _locate(name: str) -> tuple[str, str]:
    """The package of an engine, and what pip would install to have all that it needs."""
    if name in ENGINES:
        return f"zoobot.{name}", f"zoobot[{name}]"
    points = _announced()
    if name not in points:
        raise UnknownEngineError(f"the engine must be one of {engine_names()}, got {name!r}")
    distribution = points[name].dist
    return points[name].module, distribution.name if distribution else points[name].module


def _announced() -> dict[str, EntryPoint]:
    """The engines of other installed packages."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
