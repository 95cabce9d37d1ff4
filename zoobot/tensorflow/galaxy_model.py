"""An encoder with a head on it: from images to predictions, and to a checkpoint."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoobot.shared.pixels.turned import mean_of_views
from zoobot.shared.recipes import EngineModules, ModelRecipe
from zoobot.shared.tasks import Task
from zoobot.shared.training.blocks import ParameterPlan, decays
from zoobot.tensorflow import blocks, encoders, heads, weights
from zoobot.tensorflow.blocks import Cut
from zoobot.tensorflow.data import network_input, turned
from zoobot.tensorflow.families.keras_settings import stated


class GalaxyModel(ModelRecipe[keras.layers.Layer, tf.Tensor], keras.Model):
    """`ModelRecipe` in Keras: a Keras model, whose `predict` works on any images."""

    _engine = EngineModules(encoders, heads, blocks, weights)

    @stated()
    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__(task, **options)
        self._float_type = tf.as_dtype(self.head.variable_dtype)
        self._pixel_mean = tf.constant(self.preprocessing.mean, self._float_type)
        self._pixel_std = tf.constant(self.preprocessing.std, self._float_type)
        variables = self.encoder.timm_variables()
        of_encoder = [(variables[name], how) for name, how in self._encoder_plan.items()]
        self.learning = of_encoder + self._plan_head()
        self._devices: tuple[int, ...] = (0,)
        self.forget_graphs()
        self.built = True

    @contextmanager
    def _drawn_from(self, seed: int) -> Iterator[None]:
        """Keras takes the seeds of its layers from Python's own generator."""
        before = random.getstate()
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(before)

    @property
    def _image_shape(self) -> tuple[int, int, int]:
        pixels = self.preprocessing
        return pixels.image_size_pix, pixels.image_size_pix, pixels.channels

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

    def _encode_below(self, cut: Cut) -> Callable[[np.ndarray], np.ndarray]:
        graph = self._graph_of(
            lambda images: cut.below((images - self._pixel_mean) / self._pixel_std), self._image_shape
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
        self._features_graph = self._graph_of(self.features_of_view, self._image_shape)
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


def copies_of(variable: Any) -> list[tf.Variable]:
    """The variables of this process's devices that a Keras variable stands for."""
    return list(getattr(variable.value, "values", (variable.value,)))
