"""The TensorFlow engine: Keras 3 models that mirror timm's, weight by weight."""

from zoobot.tensorflow.startup import import_keras

import_keras()
