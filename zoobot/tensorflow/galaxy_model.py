"""An encoder with a head on it: from images to predictions, and to a checkpoint."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoobot.shared.checkpoint import NeutralCheckpoint, write_checkpoint
from zoobot.shared.models.neutral import describe_model, encoder_for_pixels
from zoobot.shared.pixels.turned import mean_of_views
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import Task
from zoobot.shared.training.blocks import ParameterPlan, decays, lowest_learning_block, plan_training
from zoobot.shared.training.feature_loader import FrozenPart
from zoobot.shared.training.finetune_settings import FinetuneSettings
from zoobot.shared.training.taught import TaughtBy
from zoobot.tensorflow import encoders, heads, weights
from zoobot.tensorflow.blocks import Cut
from zoobot.tensorflow.data import network_input, turned
from zoobot.tensorflow.keras_settings import stated
from zoobot.tensorflow.strategies import copies_of

__all__ = ["GalaxyModel"]


class GalaxyModel(keras.Model):
    """A pretrained encoder with a new head.

    It is a Keras model: `predict` works on any images.

    Args:
        task: What the model predicts.
        name: The encoder: a bundled name, `hf_hub:owner/name`, a folder, or a timm architecture.
        encoder: An encoder in memory instead of a name: any Keras model from images to (batch, features).
        preprocessing: How files become pixels; a dict changes single values of the encoder's own record.
        settings: How the weights learn, and which of them.

    Attributes:
        taught_by: Which galaxies it was trained and validated on; None where nobody knows.

    Attributes:
        encoder_learns: Whether any weight of the encoder does.
    """

    head: Any

    @stated()
    def __init__(
        self,
        task: Task,
        *,
        name: str,
        encoder: keras.layers.Layer | None,
        preprocessing: Preprocessing | dict[str, Any] | None,
        settings: FinetuneSettings,
    ) -> None:
        super().__init__()
        self.task = task
        self.settings = settings
        self.taught_by: TaughtBy | None = None
        with _seeded(settings.seed):
            self.encoder = encoder_for_pixels(encoders, name, encoder, preprocessing)
            self.head = heads.build_head(task, self.encoder.num_features, dropout_prob=settings.dropout_prob)
        self.preprocessing = self.encoder.preprocessing
        self._float_type = tf.as_dtype(self.head.variable_dtype)
        self._pixel_mean = tf.constant(self.preprocessing.mean, self._float_type)
        self._pixel_std = tf.constant(self.preprocessing.std, self._float_type)
        variables = self.encoder.timm_variables()
        plan = self._plan_encoder()
        self.encoder.set_trainable(plan)
        self.learning = [(variables[name], how) for name, how in plan.items()] + self._plan_head()
        self.encoder_learns = bool(plan)
        self._cut = self._cut_encoder(plan)
        self._devices: tuple[int, ...] = (0,)
        self.forget_graphs()
        self.built = True

    def call(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Predictions, (batch, outputs), from images, (batch, height, width, channels).

        Args:
            images: uint8, or float in [0, 1].
            training: Whether parts that learn act as in training.
        """
        return self.head.to_predictions(self.raw_outputs(images, training=training))

    def raw_outputs(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """What the loss takes, (batch, outputs): logits, standardised targets, or concentrations."""
        return self.head(self.features(images, training=training), training=training)

    def features(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The encoder's features, (batch, features), from uint8 images or floats in [0, 1], over all views.

        What the frozen part made of images, (batch, width), is taken in their place.
        """
        pixels = network_input(images, self._float_type)
        if pixels.shape.rank == 2:
            return pixels if self._cut is None else self._cut.above(pixels, training=training)
        compute = partial(self.features_of_view, training=training)
        return mean_of_views(compute, pixels, self.preprocessing.views, turned)

    def features_of_view(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The same of the images as they are, whatever other views the model looks at."""
        pixels = network_input(images, self._float_type)
        features = self.encoder((pixels - self._pixel_mean) / self._pixel_std, training=training)
        return tf.cast(features, self._float_type)

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Features, (batch, features), float32, from a loader's images, (batch, height, width, channels)."""
        return self._evaluated_features(images).numpy().astype(np.float32, copy=False)

    def frozen_part(self) -> FrozenPart | None:
        """The part of the encoder that is computed once for each view; None if there is no such part."""
        settings = self.settings
        if self._cut is not None:
            encode = self._encode_below(self._cut)
            return FrozenPart.below(encode, self._cut.width, settings.activation_views)
        if self.encoder_learns or not settings.cache_features:
            return None
        return FrozenPart(self.encode_images, self.encoder.num_features, views=settings.feature_views)

    def _encode_below(self, cut: Cut) -> Callable[[np.ndarray], np.ndarray]:
        """From a loader's images to the activations below the learning blocks, (batch, width)."""
        size, channels = self.preprocessing.image_size_pix, self.preprocessing.channels
        graph = self._graph_of(
            lambda images: cut.below((images - self._pixel_mean) / self._pixel_std), (size, size, channels)
        )
        return lambda images: graph(network_input(images, self._float_type)).numpy()

    def predict_images(self, images: tf.Tensor, *, n_samples: int = 1) -> tf.Tensor:
        """Predictions, (samples, batch, outputs), from a loader's images, (batch, height, width, channels).

        Args:
            images: uint8, or float32 in [0, 1].
            n_samples: More than 1 keeps the head's dropout on and samples it (MC dropout).
        """
        return self.predict_features(self._evaluated_features(images), n_samples=n_samples)

    def predict_features(self, features: tf.Tensor, *, n_samples: int = 1) -> tf.Tensor:
        """Predictions, (samples, batch, outputs), from the encoder's features, (batch, features)."""
        heads = [self.head(features, training=n_samples > 1) for _ in range(n_samples)]
        return tf.stack([self.head.to_predictions(raw) for raw in heads])

    def forget_graphs(self) -> None:
        """Have everything compiled anew, after a change that graphs have taken for constant."""
        size, channels = self.preprocessing.image_size_pix, self.preprocessing.channels
        self._features_graph = self._graph_of(self.features_of_view, (size, size, channels))
        if self._cut is not None:
            self._above_graph = self._graph_of(self.features, (self._cut.width,))

    def _graph_of(self, compute: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int, ...]) -> Any:
        spec = tf.TensorSpec((None, *shape), self._float_type)
        return tf.function(compute, input_signature=[spec])

    def _evaluated_features(self, images: Any) -> tf.Tensor:
        pixels = network_input(images, self._float_type)
        if pixels.shape.rank == 2:
            return pixels if self._cut is None else self._above_graph(pixels)
        as_usual = self._features_graph.input_signature[0].shape.is_compatible_with(pixels.shape)
        compute = self._features_graph if as_usual else self.features_of_view
        return mean_of_views(compute, pixels, self.preprocessing.views, turned)

    def parameter_counts(self) -> tuple[int, int]:
        """How many weights learn, and how many there are."""
        head = sum(math.prod(variable.shape) for variable, _ in self._plan_head())
        learning = sum(math.prod(variable.shape) for variable, _ in self.learning)
        return learning, head + sum(math.prod(shape) for shape in self.encoder.parameter_shapes().values())

    def _plan_encoder(self) -> dict[str, ParameterPlan]:
        shapes = self.encoder.parameter_shapes()
        return plan_training(
            self.encoder.blocks, shapes, n_blocks=self.settings.n_blocks, lr_decay=self.settings.lr_decay
        )

    def _cut_encoder(self, plan: dict[str, ParameterPlan]) -> Cut | None:
        """The encoder in two parts, if what the frozen one gives is to be kept."""
        lowest = lowest_learning_block(self.encoder.blocks, plan)
        if lowest is None or not self.settings.activation_views:
            return None
        pixels = self.preprocessing
        shape = (pixels.image_size_pix, pixels.image_size_pix, pixels.channels)
        return Cut(self.encoder.model, lowest, shape)

    def _plan_head(self) -> list[tuple[Any, ParameterPlan]]:
        linear = {"linear.weight": self.head.linear.kernel, "linear.bias": self.head.linear.bias}
        return [(v, ParameterPlan(1.0, decays(name, v.shape))) for name, v in linear.items()]

    @contextmanager
    def seeded_dropout(self, seed: int) -> Iterator[None]:
        """Draw dropout from a seed for a while, then go on as if nothing had been drawn."""
        before = [state.value.numpy() for state in self._random_states()]
        self.seed_dropout(seed)
        try:
            yield
        finally:
            for state, value in zip(self._random_states(), before, strict=True):
                state.assign(value)

    def seed_dropout(self, seed: int) -> None:
        """Begin all random draws of training anew, on each device with its own."""
        for number, state in enumerate(self._random_states()):
            for device, copy in zip(self._devices, copies_of(state), strict=True):
                copy.assign(np.random.default_rng([seed + device, number]).integers(0, 2**31, 2))

    def _random_states(self) -> list[Any]:
        return [variable for variable in self.variables if variable.path.endswith("seed_generator_state")]

    def save(self, folder: str | Path, *, training: dict[str, Any] | None = None) -> Path:
        """Write the neutral checkpoint that `zoobot.tensorflow.checkpoint.load`, or the other engine, reads.

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
        return describe_model(
            self,
            encoder_fields=weights.encoder_fields(self.encoder),
            head_tensors=weights.module_state(self.head),
            training=training,
        )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from a seed: Keras takes the seeds of its layers from Python's own generator."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
