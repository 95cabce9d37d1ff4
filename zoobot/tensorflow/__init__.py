"""The TensorFlow engine: Keras 3 models that mirror timm's, weight by weight."""

from zoobot.tensorflow.startup import import_keras

import_keras()

from zoobot.tensorflow import (  # noqa: E402
    checkpoint,
    data,
    encoders,
    finetune,
    heads,
    losses,
    models,
    posteriors,
    predict,
    represent,
    saliency,
)

__all__ = [
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
]
