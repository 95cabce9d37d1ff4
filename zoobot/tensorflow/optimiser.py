"""AdamW as torch computes it, with a learning rate for each block.

Keras's own AdamW adds epsilon before the bias correction, torch's after it: ten steps on the same gradients
differ by 2e-3. TensorFlow's fused kernel has one such sum as well,

    w ← w − rate · m / (√v + epsilon),

and gives torch's step when rate and epsilon carry the bias corrections: with r² = 1 − β₂ᵗ, the rate is
lr · r / (1 − β₁ᵗ) and epsilon is r · 1e-8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from zoobot.shared.training.blocks import ParameterPlan
from zoobot.tensorflow.internals import place_of


class AdamW(keras.optimizers.Optimizer):
    """Adam with decoupled weight decay, equal to `torch.optim.AdamW` step by step.

    Args:
        learning_rate: Largest step, for weights of `lr_factor` 1.
        weight_decay: Before each step a weight that decays shrinks by its learning rate times this.
        plans: How variables learn; those not named learn at the full rate, and decay.
        gradient_clip: Longest gradient, as a norm over all variables; None does not clip.

    Example:
        >>> weight = keras.Variable([1.0])
        >>> AdamW(0.1, weight_decay=0.0).apply([tf.constant([2.0])], [weight])
        >>> weight.numpy().round(3).tolist()
        [0.8999999761581421]

    References:
        Loshchilov & Hutter 2019, arXiv:1711.05101.
    """

    _BETAS = (0.9, 0.999)
    _EPSILON = 1e-8

    def __init__(
        self,
        learning_rate: float,
        *,
        weight_decay: float,
        plans: Sequence[tuple[keras.Variable, ParameterPlan]] = (),
        gradient_clip: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **options)
        self.decoupled_decay = weight_decay
        self.gradient_clip = gradient_clip
        self._plan_of = {id(variable): plan for variable, plan in plans}

    def build(self, variables: list[keras.Variable]) -> None:
        """Make two moments for each variable, and look up how it learns."""
        if self.built:
            return
        super().build(variables)
        usual = ParameterPlan(lr_factor=1.0, decays=True)
        self._plans = [self._plan_of.get(id(variable), usual) for variable in variables]
        self._means, self._squares = self.add_optimizer_variables(variables, ["mean", "square"])

    def apply(self, grads: list[tf.Tensor], trainable_variables: list[keras.Variable] | None = None) -> None:
        """Take one step."""
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, tf.float64)
        # what the corrections undo are the kernel's betas, rounded to the type of the weights
        rounded = [tf.cast(tf.constant(beta, grads[0].dtype), tf.float64) for beta in self._BETAS]
        left_1, left_2 = (1 - beta**step for beta in rounded)
        self._epsilon_now = self._EPSILON * tf.sqrt(left_2)
        self._correction = tf.sqrt(left_2) / left_1
        super().apply(grads, trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[tuple[tf.Tensor, tf.Variable]]:
        """The gradients of all devices together, clipped as `torch.nn.utils.clip_grad_norm_` does."""
        gradients, variables = zip(*super()._all_reduce_sum_gradients(grads_and_vars), strict=True)
        if self.gradient_clip is not None:
            norm = tf.linalg.global_norm(gradients)
            scale = tf.minimum(self.gradient_clip / (norm + 1e-6), 1)
            gradients = tuple(gradient * scale for gradient in gradients)
        return list(zip(gradients, variables, strict=True))

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Move one variable."""
        index = place_of(variable, self)
        plan, dtype = self._plans[index], variable.dtype
        rate = tf.cast(learning_rate, tf.float64) * plan.lr_factor
        if plan.decays and self.decoupled_decay:
            variable.assign(variable * tf.cast(1 - rate * self.decoupled_decay, dtype))
        beta_1, beta_2 = self._BETAS
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._means[index].value.handle,
            v=self._squares[index].value.handle,
            beta1_power=tf.zeros((), dtype),
            beta2_power=tf.zeros((), dtype),
            lr=tf.cast(rate * self._correction, dtype),
            beta1=tf.constant(beta_1, dtype),
            beta2=tf.constant(beta_2, dtype),
            epsilon=tf.cast(self._epsilon_now, dtype),
            grad=tf.cast(gradient, dtype),
        )
