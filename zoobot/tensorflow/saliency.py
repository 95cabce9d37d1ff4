"""Which pixels made a Keras model say so: the gradients of one answer, and explanations over a catalog."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoobot.shared import defaults
from zoobot.shared.architectures import VisionTransformer
from zoobot.shared.catalog import CatalogSource
from zoobot.shared.errors import EncoderError
from zoobot.shared.explaining.explanations import Explanations, Probe
from zoobot.shared.explaining.saliency import METHODS, Baseline, Method, PickedAnswer
from zoobot.shared.pixels.turned import mean_of_views
from zoobot.tensorflow import checkpoint
from zoobot.tensorflow.data import turned
from zoobot.tensorflow.devices import BestDevice
from zoobot.tensorflow.families import Network
from zoobot.tensorflow.families.keras_settings import stated
from zoobot.tensorflow.finetune import FinetuneableZoobot

__all__ = ["explain", "image_gradients", "map_gradients"]


def explain(
    catalog: CatalogSource,
    model: FinetuneableZoobot | str | Path,
    *,
    answer: str | None = None,
    methods: Sequence[Method] = METHODS,
    baseline: Baseline = "black",
    steps: int = defaults.SALIENCY_STEPS,
    root: str | Path | None = None,
    id_col: str = "id_str",
    file_col: str | Sequence[str] = "file_loc",
    batch_size: int | None = None,
    num_workers: int = defaults.NUM_WORKERS,
    progress: bool = True,
) -> Explanations:
    """Which pixels of each galaxy of a catalog made a model give one answer: to be iterated over.

    All is as told in `zoobot.pytorch.saliency.explain`.

    Example:
        >>> for galaxy in explain("new.csv", "results/rings", answer="ring"):  # doctest: +SKIP
        ...     print(galaxy.id_str, galaxy.value, galaxy.maps["grad-cam"].shape)
    """
    if isinstance(model, (str, Path)):
        model = checkpoint.load(model)
    gradients = _Gradients(model)
    probe = Probe(
        predict=partial(_predict, model),
        image_gradients=gradients.of_images,
        map_gradients=gradients.of_maps,
        device=BestDevice(),
    )
    return Explanations(
        catalog,
        model,
        probe,
        answer=answer,
        methods=methods,
        baseline=baseline,
        steps=steps,
        batch_size=batch_size,
        root=root,
        id_col=id_col,
        file_col=file_col,
        num_workers=num_workers,
        progress=progress,
    )


def image_gradients(
    images: NDArray, answer: PickedAnswer, model: FinetuneableZoobot
) -> tuple[NDArray, NDArray]:
    """What a model says of an answer, (batch,), and its gradients with respect to the pixels.

    All is as told in `zoobot.pytorch.saliency.image_gradients`.
    """
    return _Gradients(model).of_images(images, answer)


def map_gradients(
    images: NDArray, answer: PickedAnswer, model: FinetuneableZoobot
) -> tuple[NDArray, NDArray]:
    """An encoder's last feature maps of one view, and the gradients of an answer's score by them.

    All is as told in `zoobot.pytorch.saliency.map_gradients`.
    """
    return _Gradients(model).of_maps(images, answer)


class _Gradients:
    """The gradients of a model's answers, in graphs that are made once for all of them.

    Args:
        model: The model.
    """

    def __init__(self, model: FinetuneableZoobot) -> None:
        self._model = model
        pixels = model.preprocessing
        self._type = tf.as_dtype(model.head.variable_dtype)
        self._mean, self._std = (tf.constant(v, self._type) for v in (pixels.mean, pixels.std))
        shape = (None, pixels.image_size_pix, pixels.image_size_pix, pixels.channels)
        outputs = tf.TensorSpec((model.task.num_outputs,), self._type)
        spec = [tf.TensorSpec(shape, self._type), outputs, outputs]
        self._of_images = tf.function(self._compute_of_images, input_signature=spec, autograph=False)
        self._of_maps = tf.function(self._compute_of_maps, input_signature=spec, autograph=False)

    def of_images(self, images: NDArray, answer: PickedAnswer) -> tuple[NDArray, NDArray]:
        """As `image_gradients`."""
        values, gradients = self._of_images(*self._arguments(images, answer))
        return _to_numpy(values), _to_numpy(gradients)

    def of_maps(self, images: NDArray, answer: PickedAnswer) -> tuple[NDArray, NDArray]:
        """As `map_gradients`."""
        self._network_with_maps  # noqa: B018 - inside of a graph, its error would be TensorFlow's
        maps, gradients = self._of_maps(*self._arguments(images, answer))
        return _to_numpy(maps), _to_numpy(gradients)

    def _arguments(self, images: NDArray, answer: PickedAnswer) -> list[tf.Tensor]:
        """Images, and which outputs are the answer and those that it has its share of."""
        chosen, among = np.zeros((2, self._model.task.num_outputs))
        chosen[answer.column] = 1
        among[answer.question or answer.column] = 1
        return [tf.convert_to_tensor(a.astype(self._type.as_numpy_dtype)) for a in (images, chosen, among)]

    def _compute_of_images(
        self, pixels: tf.Tensor, chosen: tf.Tensor, among: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        model = self._model
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pixels)
            features = mean_of_views(self._encode, pixels, model.preprocessing.views, turned)
            raw = model.head(features, training=False)
            values = self._value(model.head.to_predictions(raw), chosen, among)
        return values, tape.gradient(values, pixels)

    def _encode(self, view: tf.Tensor) -> tf.Tensor:
        return self._model.encoder((view - self._mean) / self._std, training=False)

    def _compute_of_maps(
        self, pixels: tf.Tensor, chosen: tf.Tensor, among: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pixels)
            maps, features = self._network_with_maps((pixels - self._mean) / self._std, training=False)
            score = self._value(self._model.head(features, training=False), chosen, among)
        return maps, tape.gradient(score, maps)

    @cached_property
    @stated()
    def _network_with_maps(self) -> keras.Model:
        """The network, giving its last feature maps besides its features."""
        network = self._model.encoder.model
        is_graph = isinstance(network, keras.Model) and hasattr(network, "operations")
        maps = _last_maps(network) if is_graph else None
        if maps is None:
            raise EncoderError(f"Grad-CAM finds no feature maps in this encoder ({type(network).__name__})")
        return keras.Model(network.inputs, [maps, network.outputs[0]])

    def _value(self, predictions: tf.Tensor, chosen: tf.Tensor, among: tf.Tensor) -> tf.Tensor:
        """`PickedAnswer.value` for tensors."""
        value = tf.linalg.matvec(predictions, chosen)
        if self._model.task.tree is None:
            return value
        return value / tf.linalg.matvec(predictions, among)


def _predict(model: FinetuneableZoobot, images: NDArray) -> NDArray:
    return _to_numpy(model.predict_images(images)[0])


def _to_numpy(tensor: tf.Tensor) -> NDArray:
    return tf.cast(tensor, tf.float32).numpy()


def _last_maps(network: Any) -> keras.KerasTensor | None:
    """What enters the last global pooling of a graph of layers, or is the last to have rows and columns."""
    if isinstance(network, Network) and isinstance(network.spec, VisionTransformer):
        return network.get_layer(f"blocks.{network.spec.depth - 1}.norm1").output
    for layer in reversed(network.layers):
        if isinstance(layer, (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)):
            return layer.input
        if isinstance(layer.output, keras.KerasTensor) and len(layer.output.shape) == 4:
            return layer.output
    return None
