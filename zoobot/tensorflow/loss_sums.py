"""The training losses of each question and campaign, added up over an epoch where the losses are."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoobot.shared.training.loss_parts import mean_losses

__all__ = ["LossSums"]


class LossSums(keras.metrics.Metric):
    """Sums of the parts of a loss, and of how many galaxies each is a sum of.

    Args:
        names: A name for each sum, from `zoobot.shared.training.loss_parts.part_groups`.
        members: Which parts each sum adds up, (parts, sums), of ones and zeros.
    """

    def __init__(self, names: list[str], members: np.ndarray) -> None:
        super().__init__(name="loss_sums")
        self.names = names
        self._members = tf.constant(members, tf.as_dtype(self.dtype))
        self.sums = self.add_variable((2, len(names)), initializer="zeros", name="sums")

    def update_state(self, parts: tf.Tensor) -> None:
        """Count the parts of a batch, (batch, parts); a question nobody was asked has exactly 0."""
        parts = tf.cast(parts, self._members.dtype)
        sums = tf.reduce_sum(parts @ self._members, axis=0)
        asked = tf.cast(parts != 0, parts.dtype) @ self._members > 0
        self.sums.assign_add(tf.stack([sums, tf.reduce_sum(tf.cast(asked, parts.dtype), axis=0)]))

    def result(self) -> Any:
        """The sums and the numbers of galaxies, (2, sums)."""
        return self.sums.value

    def means(self, sums: np.ndarray) -> dict[str, float]:
        """The mean of each sum over the galaxies that were asked, named `train_…`, from all devices' sums."""
        return mean_losses(self.names, *sums)
