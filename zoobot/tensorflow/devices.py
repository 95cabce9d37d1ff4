"""Where a model is trained: devices and precision in Lightning's words, on one device or several.

Several devices train by TensorFlow's own strategies: every device holds all weights and works on its share of
each batch; the gradients are added up. A model is made as for one device, and its variables are made anew on
all of them while it is fitted (`learner`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zoobot.shared.errors import ConfigError
from zoobot.shared.processes import expect_processes, meet_others, srun_tasks
from zoobot.tensorflow.families.keras_settings import made_in
from zoobot.tensorflow.internals import all_layers

if TYPE_CHECKING:
    from zoobot.shared.predicting.members import Start
    from zoobot.tensorflow.galaxy_model import GalaxyModel

#: Lightning's name of a precision → Keras's.
_POLICIES = {
    "32-true": "float32",
    "32": "float32",
    "bf16-mixed": "mixed_bfloat16",
    "16-mixed": "mixed_float16",
}

#: The first NVIDIA generation that computes in bfloat16.
_BFLOAT16_SINCE = (8, 0)


class BestDevice:
    """Where TensorFlow computes in a run over a catalog: a `Device` of `zoobot.shared.predicting.run`."""

    engine = "tensorflow"

    def __init__(self) -> None:
        self.on_gpu = bool(tf.config.list_physical_devices("GPU"))

    def ready(self, model: Any) -> AbstractContextManager[None]:
        """A model computes there as it is."""
        del model
        return nullcontext()

    def start(self, compute: Callable[[Any, int], tf.Tensor]) -> Start:
        """What has a batch computed without waiting for the device: operations wait for each other there."""

        def start(images: np.ndarray, remaining: int) -> Callable[[], np.ndarray]:
            return compute(images, remaining).numpy  # which waits

        return start


def choose_device(accelerator: str) -> str | None:
    """TensorFlow's name of the one device to train on; None leaves the choice to TensorFlow.

    Raises:
        ConfigError: If there is no such device.
    """
    if accelerator not in ("auto", "cpu", "gpu"):
        msg = f"accelerator must be 'auto', 'cpu' or 'gpu' in the TensorFlow engine, got {accelerator!r}"
        raise ConfigError(msg)
    if accelerator == "gpu" and not tf.config.list_physical_devices("GPU"):
        raise ConfigError("accelerator='gpu' was asked for, but TensorFlow sees no GPU; use 'auto' or 'cpu'")
    return "/CPU:0" if accelerator == "cpu" else None


def choose_precision(precision: str, accelerator: str, *, learns: bool = True) -> str:
    """Keras's name of the precision: "auto" is mixed where a GPU is used, and float32 elsewhere.

    Learning needs bfloat16's range; predictions get float16's three more bits.

    Raises:
        ConfigError: If the precision is unknown.
    """
    if precision in _POLICIES:
        return _POLICIES[precision]
    if precision != "auto":
        known = ["auto", *_POLICIES]
        raise ConfigError(f"precision must be one of {known} in the TensorFlow engine, got {precision!r}")
    gpus = tf.config.list_physical_devices("GPU")
    if accelerator == "cpu" or not gpus:
        return made_in()
    if not learns:
        return "mixed_float16"
    generation = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
    return "mixed_bfloat16" if generation >= _BFLOAT16_SINCE else "mixed_float16"


@contextmanager
def in_precision(model: GalaxyModel, policy: str) -> Iterator[None]:
    """Compute the encoder of a model in another precision for a while; its weights stay as they are."""
    layers = all_layers(model.encoder)
    before = [layer.dtype_policy for layer in layers]
    if policy == made_in():
        yield
        return
    for layer in layers:
        layer.dtype_policy = policy
    model.forget_graphs()
    try:
        yield
    finally:
        for layer, old in zip(layers, before, strict=True):
            layer.dtype_policy = old
        model.forget_graphs()


# Several devices, and what they tell each other.


def choose_strategy(accelerator: str, devices: int | str, num_nodes: int) -> tf.distribute.Strategy | None:
    """How a model is trained on several devices; None where there is one.

    Machines are those of TF_CONFIG, or of the SLURM step that this process is a task of, and are joined only
    where several were asked for.

    Raises:
        ConfigError: If there are not as many devices or machines, or TensorFlow has already begun to compute.
    """
    expect_processes(devices, num_nodes)
    workers = _workers_told() if num_nodes > 1 else 1
    if workers < num_nodes:
        raise ConfigError(
            f"num_nodes={num_nodes} was asked for, but this process is one of {workers}: start one on each "
            "machine, by SLURM's srun or with TF_CONFIG"
        )
    if workers > 1:
        if accelerator == "cpu":
            tf.config.set_visible_devices([], "GPU")
        return _over_machines()
    names = _choose_devices(accelerator, devices)
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else None


def _workers_told() -> int:
    """How many processes train together, as TF_CONFIG or SLURM tells it."""
    if os.environ.get("TF_CONFIG"):
        cluster = json.loads(os.environ["TF_CONFIG"]).get("cluster", {})
        return len([*cluster.get("chief", []), *cluster.get("worker", [])]) or 1
    return srun_tasks()


def _over_machines() -> tf.distribute.Strategy:
    resolver = None
    if not os.environ.get("TF_CONFIG"):
        # it counts tasks by their GPUs; which GPUs a task sees, SLURM says before TensorFlow starts
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            gpus_per_node=_workers_told(), gpus_per_task=1, auto_set_gpu=False
        )
    resolver = resolver or tf.distribute.cluster_resolver.TFConfigClusterResolver()
    _meet(resolver)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        msg = "on several machines, call get_trainer before a model is made or anything else is computed"
        raise ConfigError(msg) from error


def _meet(resolver: Any) -> None:
    """Wait, where a signal can end it, until all processes of the cluster are there."""
    cluster = resolver.cluster_spec()
    jobs = [job for job in ("chief", "worker") if job in cluster.jobs]
    addresses = [address for job in jobs for address in cluster.job_tasks(job)]
    own = cluster.task_address(resolver.task_type, resolver.task_id)
    meet_others(addresses, addresses.index(own))


def _choose_devices(accelerator: str, devices: int | str) -> list[str]:
    """TensorFlow's names of the devices to train on."""
    on_gpu = accelerator != "cpu" and bool(tf.config.list_physical_devices("GPU"))
    if devices == "auto" and not on_gpu:
        return ["CPU:0"]
    kind = "GPU" if on_gpu else "CPU"
    there = tf.config.list_logical_devices(kind)
    count = len(there) if devices in ("auto", -1, "-1") else _whole(devices)
    if count > len(there):
        msg = f"devices={devices!r} was asked for, but TensorFlow sees {len(there)} of kind {kind}"
        raise ConfigError(msg)
    return [f"{kind}:{number}" for number in range(count)]


def _whole(devices: int | str) -> int:
    try:
        count = int(devices)
    except ValueError:
        count = 0
    if count < 1:
        raise ConfigError(f"devices must be 'auto', -1 for all, or how many, got {devices!r}")
    return count


def shards_of(strategy: tf.distribute.Strategy | None) -> list[tuple[int, int]]:
    """The shares of the training galaxies that this process's devices work on: (index, count) of each."""
    if strategy is None:
        return [(0, 1)]
    number = tf.function(lambda: tf.distribute.get_replica_context().replica_id_in_sync_group)
    here = [int(number) for number in strategy.experimental_local_results(strategy.run(number))]
    return [(number, strategy.num_replicas_in_sync) for number in here]


def agree_on(scores: dict[str, float], strategy: tf.distribute.Strategy | None) -> dict[str, float]:
    """The mean of what all devices found, so that all stop and keep the same epochs; each waits for all.

    Args:
        scores: By name, the same names everywhere.
        strategy: How the devices train together; None where there is one.
    """
    if strategy is None:
        return scores

    numbers = tf.constant(list(scores.values()), tf.float64)
    agreed = _run(strategy, lambda: over_devices("MEAN", [tf.identity(numbers)]))[0]
    return {name: float(number) for name, number in zip(scores, agreed, strict=True)}


def has_several_processes(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether others train with this process."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def tell_processes(flags: Sequence[bool], strategy: tf.distribute.Strategy | None) -> list[bool]:
    """Whether any process has raised each of some flags; each waits for all.

    Args:
        flags: As many in each process.
        strategy: How the devices train together; None where there is one.
    """
    if not has_several_processes(strategy):
        return list(flags)
    agreed = agree_on({str(number): float(flag) for number, flag in enumerate(flags)}, strategy)
    return [share > 0 for share in agreed.values()]


def totals_of(variables: Sequence[Any]) -> list[np.ndarray]:
    """What all devices have added up in Keras variables of which each has its own."""
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync == 1:  # tracing a graph takes longer than an epoch on kept features
        return [variable.value.numpy() for variable in variables]
    return _run(strategy, lambda: over_devices("SUM", [tf.identity(v.value) for v in variables]))


def over_devices(operation: str, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    """On each device, the sum or mean of tensors over all devices."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1 or not tensors:
        return tensors
    reduced: list[tf.Tensor] = context.all_reduce(tf.distribute.ReduceOp[operation], tensors)
    return reduced


def _run(strategy: tf.distribute.Strategy, work: Callable[[], list[tf.Tensor]]) -> list[np.ndarray]:
    """What the first device here gets from work that all do."""
    tensors = tf.function(lambda: strategy.run(work))()
    return [strategy.experimental_local_results(tensor)[0].numpy() for tensor in tensors]
