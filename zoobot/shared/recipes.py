"""What the models of both engines are, but for their tensors: their tasks, checks, settings and checkpoints.

A class of an engine is such a recipe and the engine's own steps, as its `GalaxyDataModule` is a `GalaxyData`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.checkpoint import NeutralCheckpoint, write_checkpoint
from zoobot.shared.conformal import Conformal
from zoobot.shared.galaxy_data import GalaxyData, labels_of
from zoobot.shared.models.encoder_source import Origin
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.models.neutral import (
    describe_model,
    encoder_for_pixels,
    model_options,
    read_whole_model,
    require_class,
)
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.public_names import advise, spelled_out
from zoobot.shared.tasks import Task, classification_task, regression_task, tree_task
from zoobot.shared.training.blocks import lowest_learning_block, plan_training
from zoobot.shared.training.feature_loader import FrozenPart
from zoobot.shared.training.finetune_settings import FinetuneSettings, TrainSettings
from zoobot.shared.training.heads import check_classification_options, check_regression_options
from zoobot.shared.training.targets import (
    balanced_weights,
    prior_concentrations,
    read_class_weights,
    target_statistics,
)
from zoobot.shared.training.taught import TaughtBy

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from zoobot.shared.engine import Model
    from zoobot.shared.schemas import Schema
    from zoobot.shared.training.finetune_settings import FinetuneKeywords

Network = TypeVar("Network")
Tensor = TypeVar("Tensor")


class EngineModules(NamedTuple):
    """The modules of an engine that a model is made with."""

    encoders: ModuleType
    heads: ModuleType
    blocks: ModuleType
    weights: ModuleType


class ModelRecipe(Generic[Network, Tensor]):
    """A pretrained encoder with a new head.

    Args:
        task: What the model predicts.
        name: The encoder: a bundled name, `hf_hub:owner/name`, a folder, or a timm architecture.
        encoder: An encoder in memory instead of a name: a network from images to (batch, features).
        preprocessing: How files become pixels; a dict changes single values of the encoder's own record.
        settings: How the weights learn, and which of them.

    Attributes:
        taught_by: Which galaxies it was trained and validated on; None where nobody knows.
        conformal: Its errors on galaxies that it was not trained on, by which intervals are made; None where
            nobody knows.
        needs_epochs: Whether steps may better the best head that is found on fixed features: where a loss is
            not convex.
    """

    #: What the engine makes models with.
    _engine: ClassVar[EngineModules]
    #: The engine's classes that a checkpoint may be of, by name; its `finetune` says which.
    loadable: ClassVar[dict[str, type[Any]]] = {}

    task: Task
    settings: FinetuneSettings
    preprocessing: Preprocessing
    encoder: Any
    head: Any
    taught_by: TaughtBy | None
    conformal: Conformal | None
    needs_epochs: bool

    def __init__(
        self,
        task: Task,
        *,
        name: str,
        encoder: Network | None,
        preprocessing: Preprocessing | dict[str, Any] | None,
        settings: FinetuneSettings,
    ) -> None:
        super().__init__()
        self.task, self.settings, self.taught_by, self.conformal = task, settings, None, None
        self.needs_epochs = task.predicts == "votes"  # measured: 50 epochs lessen the loss of others by 1%
        with self._drawn_from(settings.seed):
            self.encoder = encoder_for_pixels(self._engine.encoders, name, encoder, preprocessing)
            width = self.encoder.num_features
            self.head = self._engine.heads.build_head(task, width, dropout_prob=settings.dropout_prob)
        self.preprocessing = self.encoder.preprocessing
        blocks = self.encoder.blocks
        shapes = self.encoder.parameter_shapes()
        plan = plan_training(blocks, shapes, n_blocks=settings.n_blocks, lr_decay=settings.lr_decay)
        self._encoder_plan = plan
        self.encoder.set_trainable(plan)
        # the encoder in two parts, if what the frozen one gives is to be kept
        lowest = lowest_learning_block(blocks, plan) if settings.activation_views else None
        self._cut: Any = None
        if lowest is not None:
            self._cut = self._engine.blocks.Cut(self.encoder.model, lowest, self._image_shape)

    @property
    def encoder_learns(self) -> bool:
        """Whether any weight of the encoder does."""
        return bool(self._encoder_plan)

    def _drawn_from(self, seed: int) -> AbstractContextManager[None]:
        """Draw initial weights from a seed for a while."""
        raise NotImplementedError

    @property
    def _image_shape(self) -> tuple[int, int, int]:
        """The shape of an image in the network."""
        raise NotImplementedError

    def _encode_below(self, cut: Any) -> Callable[[np.ndarray], np.ndarray]:
        """From a loader's images to the activations below the learning blocks, (batch, width)."""
        raise NotImplementedError

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Features, (batch, features), float32, from a loader's images, (batch, height, width, channels)."""
        raise NotImplementedError

    def frozen_part(self) -> FrozenPart | None:
        """The part of the encoder that is computed once for each view; None if there is no such part."""
        settings = self.settings
        if self._cut is not None:
            return FrozenPart.below(self._encode_below(self._cut), self._cut.width, settings.activation_views)
        if self.encoder_learns or not settings.cache_features:
            return None
        return FrozenPart(self.encode_images, self.encoder.num_features, views=settings.feature_views)

    def parameter_counts(self) -> tuple[int, int]:
        """How many weights learn, and how many there are."""
        sizes = {name: math.prod(shape) for name, shape in self.encoder.parameter_shapes().items()}
        head = self.task.num_outputs * (self.encoder.num_features + 1)
        return head + sum(sizes[name] for name in self._encoder_plan), head + sum(sizes.values())

    def galaxy_losses(self, raw: Tensor, labels: Tensor) -> Tensor:
        """The loss of each galaxy, (batch,), from the head's raw outputs and the labels."""
        raise NotImplementedError

    def loss_parts(self, raw: Tensor, labels: Tensor) -> Tensor:
        """The loss of each galaxy in parts that add up to it, (batch, parts): a tree's questions, or one."""
        losses: Any = self.galaxy_losses(raw, labels)
        parts: Tensor = losses[:, None]
        return parts

    def learn_label_statistics(self, labels: np.ndarray) -> None:
        """Take what the head or the loss needs from the training labels, (galaxies, label columns)."""

    def meet(self, galaxies: GalaxyData) -> None:
        """Learn the label columns and statistics of the galaxies to train on; check every label.

        Raises:
            ConfigError: If the model was made for other label columns.
            LabelError: If a label is not what the task needs.
        """
        self.task = galaxies.meet(self.task)
        self.learn_label_statistics(labels_of(galaxies.train_galaxies))
        self.taught_by = TaughtBy.of(galaxies.train_galaxies.ids, galaxies.val_galaxies.ids)
        self.conformal = None

    def save(self, folder: str | Path, *, training: dict[str, Any] | None = None) -> Path:
        """Write the neutral checkpoint that `checkpoint.load` of either engine reads.

        Args:
            folder: A folder of its own; replaced whole, never half.
            training: What the checkpoint records about its training, JSON-ready.

        Returns:
            The folder.
        """
        return write_checkpoint(folder, self.to_neutral(training=training))

    def to_neutral(self, *, training: dict[str, Any] | None = None) -> NeutralCheckpoint:
        """The model as a checkpoint holds it, with copies of its weights.

        Args:
            training: What the checkpoint records about its training, JSON-ready.
        """
        weights = self._engine.weights
        return describe_model(
            self,
            encoder_fields=weights.encoder_fields(self.encoder),
            head_tensors=weights.module_state(self.head),
            training=training,
        )

    def take_weights(self, neutral: NeutralCheckpoint) -> None:
        """Take a checkpoint's weights, those of the encoder and of the head, and who taught them.

        Raises:
            CheckpointError: If they do not fit.
        """
        weights = self._engine.weights
        weights.load_encoder_state(self.encoder, neutral.encoder)
        self.encoder.origin = Origin.from_config(neutral.origin)
        weights.load_module_state(self.head, neutral.head_tensors, name="head")
        self.taught_by = neutral.taught_by
        told = neutral.conformal
        self.conformal = None if told is None else Conformal.from_config(told, self.task)

    @classmethod
    @advise
    def load_from_checkpoint(cls, folder: str | Path, *, encoder: Network | None = None) -> Self:
        """A trained model of this class: what `checkpoint.load` gives, once its kind is checked.

        Args:
            folder: A run's folder, or the checkpoint's.
            encoder: The encoder's module, where no architecture name can rebuild it.

        Raises:
            CheckpointError: If it is no checkpoint (of a `.ckpt`, the message says what to do with it), or
                holds a model of another class.
        """
        place = find_checkpoint(folder)
        neutral = read_whole_model(place)
        kind, options = model_options(neutral)
        network = encoder if encoder is not None else cls._engine.encoders.load_encoder(place)
        loaded = cls.loadable[kind](encoder=network, **options)
        loaded.take_weights(neutral)
        require_class(loaded, cls, folder)
        return loaded._ready_to_predict()

    def _ready_to_predict(self) -> Self:
        return self


if TYPE_CHECKING:

    def _is_a_model(recipe: ModelRecipe[Any, Any]) -> Model:
        return recipe  # what the workflow asks of any engine's model, a recipe has


@advise
class ClassifierRecipe(ModelRecipe[Network, Tensor]):
    """A model that says which of several classes a galaxy is, or which of several labels it has.

    Args:
        num_classes: How many classes, or labels; may be left to `class_names`.
        class_names: A name for each class, in the order of the labels 0, 1, …
        multi_label: Any number of yes/no labels for each galaxy, one column each, instead of one class.
        label_cols: The label columns; None takes those of the data module.
        loss: "cross_entropy" or "focal" (which looks harder at what is still wrong).
        class_weights: A weight for each class, or "balanced" to make rare classes count as much as others.
            With `multi_label`, the weights of the yes labels.
        label_smoothing: How much of each label is spread over the other classes, in [0, 1).
        focal_gamma: How much harder the focal loss looks; 0 is cross-entropy.
        name: The encoder: a bundled name, `hf_hub:owner/name`, a checkpoint's folder, or a timm architecture
            (untrained).
        encoder: An encoder in memory, instead of `name`.
        preprocessing: How files become pixels, or a dict of changes to the encoder's own record.
        **settings: How the weights learn: see `zoobot.shared.training.finetune_settings.FinetuneSettings`.

    Raises:
        ConfigError: If an option is unknown or can't work.
        EncoderError: If the encoder can't be had.
    """

    @spelled_out(FinetuneSettings)
    def __init__(
        self,
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        multi_label: bool = False,
        label_cols: Sequence[str] | None = None,
        loss: Literal["cross_entropy", "focal"] = "cross_entropy",
        class_weights: Literal["balanced"] | Sequence[float] | None = None,
        label_smoothing: float = defaults.LABEL_SMOOTHING,
        focal_gamma: float = defaults.FOCAL_GAMMA,
        name: str = defaults.ENCODER,
        encoder: Network | None = None,
        preprocessing: Preprocessing | dict[str, Any] | None = None,
        **settings: Unpack[FinetuneKeywords],
    ) -> None:
        task = classification_task(
            num_classes=num_classes, class_names=class_names, multi_label=multi_label, label_cols=label_cols
        )
        balanced, given_weights = read_class_weights(class_weights)
        check_classification_options(
            loss,
            task.num_outputs,
            label_smoothing=label_smoothing,
            class_weights=given_weights,
            focal_gamma=focal_gamma,
        )
        checked = FinetuneSettings.from_config(settings)
        super().__init__(task, name=name, encoder=encoder, preprocessing=preprocessing, settings=checked)
        self._balanced = balanced
        self.class_weights = given_weights
        self._loss_options: dict[str, Any] = {
            "kind": loss,
            "label_smoothing": label_smoothing,
            "focal_gamma": focal_gamma,
        }
        self.needs_epochs = loss == "focal"

    def learn_label_statistics(self, labels: np.ndarray) -> None:
        """Balance the classes, if asked to."""
        if self._balanced:
            self.class_weights = balanced_weights(labels, self.task).tolist()


@advise
class RegressorRecipe(ModelRecipe[Network, Tensor]):
    """A model that measures one or many numbers of a galaxy.

    The head works in units of each target's mean and scatter, so that targets of any size learn alike;
    predictions come back in the target's own units. A missing target (NaN) is left out of the loss.

    Args:
        label_cols: The target columns; None takes those of the data module.
        num_targets: How many targets, where `label_cols` is None; 1 if neither is given.
        loss: "mse", "mae" or "huber", in units of each target's scatter.
        huber_delta: Where the Huber loss turns from squared to absolute, in the same units.
        unit_interval: The targets lie in [0, 1], and so must the predictions.
        name: The encoder, as for the classifier.
        encoder: An encoder in memory, instead of `name`.
        preprocessing: How files become pixels, or a dict of changes to the encoder's own record.
        **settings: How the weights learn: see `zoobot.shared.training.finetune_settings.FinetuneSettings`.

    Raises:
        ConfigError: If an option is unknown or can't work.
        EncoderError: If the encoder can't be had.
    """

    @spelled_out(FinetuneSettings)
    def __init__(
        self,
        *,
        label_cols: Sequence[str] | None = None,
        num_targets: int | None = None,
        loss: Literal["mse", "mae", "huber"] = "mse",
        huber_delta: float = defaults.HUBER_DELTA,
        unit_interval: bool = False,
        name: str = defaults.ENCODER,
        encoder: Network | None = None,
        preprocessing: Preprocessing | dict[str, Any] | None = None,
        **settings: Unpack[FinetuneKeywords],
    ) -> None:
        check_regression_options(loss, huber_delta=huber_delta)
        task = regression_task(num_targets=num_targets, label_cols=label_cols, unit_interval=unit_interval)
        checked = FinetuneSettings.from_config(settings)
        super().__init__(task, name=name, encoder=encoder, preprocessing=preprocessing, settings=checked)
        self._loss_options: dict[str, Any] = {"kind": loss, "huber_delta": huber_delta}
        self.needs_epochs = unit_interval

    def learn_label_statistics(self, labels: np.ndarray) -> None:
        """Tell a new head the mean and scatter of each target; a trained one keeps what it has learned."""
        if self.head.is_untrained:
            self.head.set_target_statistics(*target_statistics(labels))


@advise
class TreeRecipe(ModelRecipe[Network, Tensor]):
    """A model that answers every question of a decision tree as volunteers would.

    It predicts Dirichlet concentrations for every answer and learns by the Dirichlet-multinomial likelihood
    of the votes: galaxies with many votes count for more, questions nobody was asked count for nothing.

    Args:
        schema: The decision tree, or the name of a survey's.
        name: The encoder, as for the classifier.
        encoder: An encoder in memory, instead of `name`.
        preprocessing: How files become pixels, or a dict of changes to the encoder's own record.
        **settings: How the weights learn: see `zoobot.shared.training.finetune_settings.FinetuneSettings`.

    Raises:
        ConfigError: If an option is unknown or can't work.
        EncoderError: If the encoder can't be had.
        SchemaError: If no survey has that name.

    References:
        Walmsley et al. 2022, MNRAS 509, 3966 (Galaxy Zoo DECaLS), section 4.
    """

    @spelled_out(FinetuneSettings)
    def __init__(
        self,
        *,
        schema: Schema | str,
        name: str = defaults.ENCODER,
        encoder: Network | None = None,
        preprocessing: Preprocessing | dict[str, Any] | None = None,
        **settings: Unpack[FinetuneKeywords],
    ) -> None:
        task = tree_task(schema)
        checked = FinetuneSettings.from_config(settings)
        super().__init__(task, name=name, encoder=encoder, preprocessing=preprocessing, settings=checked)
        self._question_slices = tuple(task.schema.question_slices)

    def learn_label_statistics(self, labels: np.ndarray) -> None:
        """Start a new head from what is common to all galaxies; a trained one keeps what it has learned."""
        if self.head.is_untrained and self.task.tree is not None:
            self.head.set_prior(prior_concentrations(labels, self.task.tree))


@advise
class WholeTreeRecipe(TreeRecipe[Network, Tensor]):
    """An encoder and a Dirichlet head that learn together to answer as volunteers would.

    What it learns is a good start for other tasks: its checkpoint's folder is a `name` for finetuning. Give
    `zoobot.shared.schemas.join` the schemas of several campaigns to learn from all of them at once; a galaxy
    teaches the questions that it has votes for.

    Args:
        schema: The decision tree, or the name of a survey's.
        name: A timm architecture, to start from random weights; or weights to start from: a bundled name,
            `hf_hub:owner/name`, or a checkpoint's folder.
        encoder: An encoder in memory, instead of `name`.
        preprocessing: How files become pixels, or a dict of changes to the encoder's own record.
        **settings: How the weights learn: see `zoobot.shared.training.finetune_settings.TrainSettings`.

    Raises:
        ConfigError: If an option is unknown or can't work.
        EncoderError: If the encoder can't be had.
        SchemaError: If no survey has that name.

    References:
        Walmsley et al. 2022, arXiv:2206.11927: training on several campaigns at once.
    """

    @spelled_out(TrainSettings)
    def __init__(
        self,
        *,
        schema: Schema | str,
        name: str = defaults.ENCODER,
        encoder: Network | None = None,
        preprocessing: Preprocessing | dict[str, Any] | None = None,
        **settings: Unpack[FinetuneKeywords],
    ) -> None:
        checked = TrainSettings.from_config(settings).to_config()
        super().__init__(schema=schema, name=name, encoder=encoder, preprocessing=preprocessing, **checked)
