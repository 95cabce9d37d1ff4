"""Models that are trained whole, to answer every question of one or many campaigns."""

from __future__ import annotations

import tensorflow as tf
from keras.layers import Layer

from zoobot.shared.recipes import WholeTreeRecipe
from zoobot.tensorflow.finetune import FinetuneableZoobotTree

__all__ = ["ZoobotTree"]


class ZoobotTree(WholeTreeRecipe[Layer, tf.Tensor], FinetuneableZoobotTree):
    """An encoder and a Dirichlet head that learn together, to answer as volunteers do: `WholeTreeRecipe`."""
