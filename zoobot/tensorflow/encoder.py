"""One network in the form that the rest of the engine uses: images to features, in blocks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from zoobot.shared.errors import EncoderError
from zoobot.shared.training.blocks import MIN_BLOCKS, Block, blocks_under, check_blocks
from zoobot.tensorflow.families import Network
from zoobot.tensorflow.families.keras_settings import made_in, stated
from zoobot.tensorflow.internals import all_layers
from zoobot.tensorflow.timm_names import named_layers, named_variables

if TYPE_CHECKING:
    from zoobot.shared.models.encoder_source import Origin
    from zoobot.shared.preprocessing import Preprocessing

#: What Keras and TensorFlow raise for images of a wrong size.
_WRONG_USE = (tf.errors.OpError, RuntimeError, TypeError, ValueError, LookupError, ArithmeticError)


class Encoder(keras.Model):
    """A network from normalised images, (batch, height, width, channels), to features, (batch, num_features).

    As `zoobot.pytorch.encoder.Encoder`; the network is one built here after timm, with timm's names, or any
    Keras layer or model with such output.
    """

    @stated()
    def __init__(
        self,
        model: keras.layers.Layer,
        *,
        architecture: str,
        preprocessing: Preprocessing,
        model_args: dict[str, Any] | None = None,
        origin: Origin | None = None,
    ) -> None:
        super().__init__(name="encoder")
        self.model = model
        self.architecture = architecture
        self.preprocessing = preprocessing
        self.model_args = dict(model_args or {})
        self.origin = origin
        self.num_features = _find_num_features(model, preprocessing, architecture)
        model.trainable = True  # from here on, what can't learn is a buffer
        variables = named_variables(model)
        self._shapes = {name: v.shape for name, v in variables.items() if v.variable.trainable}
        self.blocks: tuple[Block, ...] = _find_blocks(model, self._shapes)
        self.built = True

    def call(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The features of normalised images, (batch, num_features).

        In training, parts that are frozen whole behave as in prediction.
        """
        learning = bool(training) and any(v.trainable for v in self.model.weights)
        return self.model(images, training=learning)

    @property
    def norms_learn(self) -> bool:
        """Whether a batch norm takes its statistics from the batches that it learns from."""
        layers = all_layers(self.model)
        norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
        return any(norm.trainable and norm.trainable_weights for norm in norms)

    def timm_variables(self) -> dict[str, keras.Variable]:
        """Every parameter and norm statistic by timm's name; kernels keep Keras's order of axes."""
        return {name: named.variable for name, named in named_variables(self.model).items()}

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, learning or not, by timm's name and in timm's order of axes."""
        return dict(self._shapes)

    def set_trainable(self, parameters: Iterable[str]) -> None:
        """Let these parameters learn, and freeze the others, as the PyTorch engine does.

        Training steps that were compiled before go on as they were.
        """
        trainable = set(parameters) & set(self._shapes)
        learns: dict[str, bool] = {}  # every part that holds parameters, by path
        for name in self._shapes:
            for path in _paths_to(name):
                learns[path] = learns.get(path, False) or name in trainable
        self.model.trainable = True
        for path, layer, variables in named_layers(self.model):
            if any(learns.get(part) is False for part in _paths_to(path)):
                layer.trainable = False
            else:
                for name, named in variables.items():
                    named.variable.trainable = name in trainable


def _paths_to(path: str) -> list[str]:
    """The whole network's path, which is empty, and those of the parts inside one another down to `path`."""
    parts = path.split(".") if path else []
    return [".".join(parts[:n]) for n in range(len(parts) + 1)]


def _find_blocks(model: keras.layers.Layer, shapes: dict[str, tuple[int, ...]]) -> tuple[Block, ...]:
    """The stages as timm has them, or any other module's inner layers, opened one level further if few."""
    if isinstance(model, Network):
        return model.spec.blocks(list(shapes))
    for depth in (1, 2):
        parts = (name.split(".") for name in shapes)
        paths = dict.fromkeys(".".join(p[: min(depth, len(p) - 1)]) for p in parts if len(p) > 1)
        blocks = blocks_under(list(paths), shapes)
        if len(blocks) >= MIN_BLOCKS:
            break
    check_blocks(blocks, shapes)
    return blocks


def _find_num_features(model: keras.layers.Layer, preprocessing: Preprocessing, architecture: str) -> int:
    size, channels = preprocessing.image_size_pix, preprocessing.channels
    if isinstance(model, Network):
        model.spec.check_image_size(size)
    shape = (2, size, size, channels)
    try:
        if isinstance(model, Network):
            features = model.compute_output_spec(keras.KerasTensor(shape))
        else:
            features = model(np.zeros(shape, made_in()), training=False)
    except _WRONG_USE as error:
        reason = " ".join(str(error).split())[:500]
        msg = f"the encoder {architecture} can't take images of shape {shape}: {reason}"
        raise EncoderError(msg) from error
    found = getattr(features, "shape", None)
    if found is None or len(found) != 2 or found[0] != 2:
        got = f"shape {tuple(found)}" if found is not None else type(features).__name__
        raise EncoderError(
            f"the encoder {architecture} must give features of shape (batch, features), got {got} "
            f"for a batch of 2; end it with a global pooling"
        )
    return int(found[1])
