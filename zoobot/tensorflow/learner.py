"""How a model learns: its optimiser, its steps and losses, and what it is validated by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoobot.shared.tasks import Task
from zoobot.shared.training.blocks import ParameterPlan
from zoobot.shared.training.epochs import mean_losses, part_groups
from zoobot.tensorflow.devices import over_devices, shards_of, totals_of
from zoobot.tensorflow.families.keras_settings import stated
from zoobot.tensorflow.galaxy_model import GalaxyModel
from zoobot.tensorflow.internals import all_layers, begin_anew, place_of

# AdamW as torch computes it, with a learning rate for each block.
#
# Keras's own AdamW adds epsilon before the bias correction, torch's after it: ten steps on the same gradients
# differ by 2e-3. TensorFlow's fused kernel has one such sum as well,
#
#     w ← w − rate · m / (√v + epsilon),
#
# and gives torch's step when rate and epsilon carry the bias corrections: with r² = 1 − β₂ᵗ, the rate is
# lr · r / (1 − β₁ᵗ) and epsilon is r · 1e-8.


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


# The training losses of each question and campaign, added up over an epoch where the losses are.


class LossSums(keras.metrics.Metric):
    """Sums of the parts of a loss, and of how many galaxies each is a sum of.

    Args:
        names: A name for each sum, from `zoobot.shared.training.epochs.part_groups`.
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


class FinetuneableZoobot(GalaxyModel):
    """A model that learns: what those of `zoobot.tensorflow.finetune` have in common.

    It is a Keras model: `compile()`, `fit`, `evaluate` and `predict` work on any images and labels.
    `get_trainer` adds what a whole run needs.
    """

    @stated()
    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__(task, **options)
        self._mean_loss = keras.metrics.Mean(name="loss")
        names, members = part_groups(task)
        self.loss_sums = LossSums(names, members) if names else None
        self._gathered: list[tf.Variable] = []
        self._recent_losses: tuple[tf.Variable, ...] = ()

    @contextmanager
    def on_devices_of(self, strategy: tf.distribute.Strategy | None) -> Iterator[None]:
        """Hold all variables on several devices for a while; afterwards it needs `compile` to learn more."""
        if strategy is None:
            yield
            return
        try:
            self._begin_on([index for index, _ in shards_of(strategy)])
            with strategy.scope():
                self._make_variables_anew()
                yield
        finally:
            self._make_variables_anew()
            self._begin_on([0])
            self.compiled = False

    def _begin_on(self, devices: Sequence[int]) -> None:
        """Make ready for the devices that hold the variables from now on, by their numbers among all."""
        self._devices = tuple(devices)
        self._recent_losses = ()
        self.forget_graphs()

    def _make_variables_anew(self) -> None:
        """Give every variable a value that lives where this is called: in a strategy's scope, everywhere."""
        learning = {id(variable) for variable, _ in self.learning}
        for variable in self.variables:
            value = variable.value.numpy()
            if id(variable) in learning or variable.synchronization == "on_read":  # a metric's adds up
                begin_anew(variable, value)
            else:  # each device has its own random states, and norm statistics until they are averaged
                begin_anew(
                    variable,
                    tf.Variable(
                        value,
                        trainable=False,
                        name=variable.name,
                        synchronization=tf.VariableSynchronization.ON_READ,
                        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                    ),
                )

    def keep_losses(self, steps: int, galaxies: int) -> None:
        """Keep the losses of the last steps on their devices from now on.

        Args:
            steps: How many.
            galaxies: The most that a device's batch has.
        """
        with tf.init_scope():
            zeros = tf.zeros((steps, galaxies), self._float_type)
            self._recent_losses = tuple(tf.Variable(zeros, trainable=False) for _ in self._devices)
        self.forget_graphs()

    def recent_losses(self) -> list[np.ndarray]:
        """The losses of the last steps, (steps, galaxies), of each device, padded with zeros."""
        return [recent.numpy() for recent in self._recent_losses]

    def forget_graphs(self) -> None:
        """Have everything compiled anew, after a change that graphs have taken for constant."""
        super().forget_graphs()
        if self.compiled:
            self.make_train_function(force=True)
            self.make_test_function(force=True)

    @stated()
    def compile(
        self,
        optimizer: Any = None,
        *,
        gradient_clip: float | None = None,
        gather_gradients: bool = False,
        **options: Any,
    ) -> None:
        """Make ready for `fit`, with AdamW, a learning rate for each block and the task's loss.

        Args:
            optimizer: Another optimiser than ours.
            gradient_clip: Longest gradient of our optimiser, as a norm over all weights; None does not clip.
            gather_gradients: Add up the gradients of batches until `step` is called; otherwise each batch
                ends with a step.
            **options: Those of `keras.Model.compile`. XLA (`jit_compile`) is off unless asked for: to compile
                a whole encoder can take minutes.
        """
        optimizer = optimizer or self._make_optimizer(gradient_clip)
        super().compile(**{"jit_compile": False, "optimizer": optimizer} | options)
        self._gathered = [_sum_like(v.value) for v, _ in self.learning] if gather_gradients else []
        self._step_graph = tf.function(self._step_everywhere)

    def _make_optimizer(self, gradient_clip: float | None) -> keras.optimizers.Optimizer:
        settings = self.settings
        optimizer: keras.optimizers.Optimizer = AdamW(
            settings.learning_rate,
            weight_decay=settings.weight_decay,
            plans=self.learning,
            gradient_clip=gradient_clip,
        )
        if any(layer.compute_dtype == "float16" for layer in all_layers(self.encoder)):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build([variable for variable, _ in self.learning])
        return optimizer

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Learn from one batch, (images, labels) or (images, labels, ids), and give the mean loss so far."""
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        # Keras finds the end of an epoch by one step more, in which what needs no data would run: counters
        with tf.control_dependencies([labels]):
            return self._learn(images, tf.cast(labels, self._float_type))

    def _learn(self, images: Any, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        variables = [variable.value for variable, _ in self.learning]
        num_galaxies = over_devices("SUM", [tf.cast(tf.shape(labels)[0], self._float_type)])[0]
        features = None if self.encoder_learns else self.features(images, training=True)
        # by itself, the tape would watch frozen weights too, and go all the way down
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            if features is None:
                features = self.features(images, training=True)
            parts = self.loss_parts(self.head(features, training=True), labels)
            losses = tf.reduce_sum(parts, axis=1)
            loss = self.optimizer.scale_loss(tf.reduce_sum(losses) / num_galaxies)
        gradients = tape.gradient(loss, variables)
        if self._gathered:
            for total, gradient in zip(self._gathered, gradients, strict=True):
                if gradient is not None:
                    total.assign_add(gradient)
        else:
            self._apply(gradients)
        self._average_statistics()
        if self.loss_sums is not None:
            self.loss_sums.update_state(parts)
        self._note_losses(losses)
        return self._mean_so_far(losses)

    def _apply(self, gradients: list[tf.Tensor]) -> None:
        self.optimizer.apply(gradients, [variable for variable, _ in self.learning])

    def step(self, num_batches: int) -> None:
        """Take a step with the gradients that were gathered, and begin to gather anew.

        Args:
            num_batches: What their sum is divided by.
        """
        self._step_graph(tf.constant(num_batches, self._float_type))

    def _step_everywhere(self, num_batches: tf.Tensor) -> None:
        self.distribute_strategy.run(self._step, args=(num_batches,))

    def _step(self, num_batches: tf.Tensor) -> None:
        self._apply([total / num_batches for total in self._gathered])
        for total in self._gathered:
            total.assign(tf.zeros_like(total))

    def _average_statistics(self) -> None:
        """Give all devices the mean of the norm statistics that each has of its share of the batch."""
        if not self.encoder_learns or tf.distribute.get_strategy().num_replicas_in_sync == 1:
            return
        named = self.encoder.timm_variables().items()
        statistics = [v for name, v in named if name.endswith(("running_mean", "running_var"))]
        means = over_devices("MEAN", [tf.convert_to_tensor(v.value) for v in statistics])
        for variable, mean in zip(statistics, means, strict=True):
            variable.assign(mean)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What `fit` and `evaluate` reset, and report."""
        return [self._mean_loss]

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """The mean loss so far, of (images, labels) or (images, labels, ids)."""
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        labels = tf.cast(labels, self._float_type)
        return self._mean_so_far(self.galaxy_losses(self.raw_outputs(images), labels))

    def _mean_so_far(self, losses: tf.Tensor) -> dict[str, tf.Tensor]:
        self._mean_loss.update_state(losses)
        mean = self._mean_loss.result()
        # over several machines Keras takes means along the first axis
        over_machines = isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)
        return {"loss": mean[None] if over_machines else mean}

    def training_scores(self) -> dict[str, float]:
        """The mean loss of the epoch so far, `train_loss`, and a tree's losses by question and campaign."""
        total, count, *sums = totals_of(list(self.loss_variables().values()))
        of_parts = self.loss_sums.means(sums[0]) if self.loss_sums is not None else {}
        return {"train_loss": float(total / count)} | of_parts

    def loss_variables(self) -> dict[str, Any]:
        """What the losses of an epoch add up to, by name."""
        sums = {} if self.loss_sums is None else {"parts": self.loss_sums.sums}
        return {"total": self._mean_loss.total, "count": self._mean_loss.count} | sums

    def _note_losses(self, losses: tf.Tensor) -> None:
        """Keep the losses where they are: a graph can't raise an error of ours; to look would be to wait."""
        if not self._recent_losses:
            return
        # a device's own steps are traced by themselves, so its number is known
        device = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group) or 0
        recent = self._recent_losses[device % len(self._devices)]
        row = tf.pad(losses, [[0, recent.shape[1] - tf.size(losses)]])
        recent.assign(tf.concat([recent[1:], row[None]], axis=0))

    def validate_batch(self, images: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
        """The losses, (batch,), and predictions, (batch, outputs), of a loader's images."""
        raw = self.head(self._evaluated_features(images))
        losses = self.galaxy_losses(raw, tf.cast(labels, self._float_type))
        return losses.numpy(), self.head.to_predictions(raw).numpy()


def _sum_like(variable: tf.Variable) -> tf.Variable:
    """Zeros to add to; each device has its own."""
    return tf.Variable(
        tf.zeros_like(variable),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.SUM,
    )
