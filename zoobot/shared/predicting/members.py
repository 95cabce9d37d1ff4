"""The models of a prediction run: one, or an ensemble of several that predict the same columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from zoobot.shared.catalog import Catalog
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.conformal import Conformal
from zoobot.shared.errors import ConfigError
from zoobot.shared.models.weights import hash_file
from zoobot.shared.onnx.model import OnnxModel
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import Task
from zoobot.version import __version__

# What a model without a head predicts: features, a column for each.

#: What features are kept as; float16 halves the space, and keeps three digits.
FEATURE_TYPES = ("float32", "float16")


@dataclass(frozen=True, kw_only=True)
class FeatureTask(Task):
    """Features of a block of an encoder; there is nothing to learn.

    Args:
        width: How many there are.
        block: The block's name.
        dtype: What tables keep them as.

    Example:
        >>> FeatureTask(width=2, block="stages.3").output_columns
        ['feature_0000', 'feature_0001']
    """

    kind: ClassVar[str] = "features"
    doing: ClassVar[str] = "Encoding"
    width: int
    block: str
    dtype: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dtype not in FEATURE_TYPES:
            raise ConfigError(f"dtype must be one of {list(FEATURE_TYPES)}, got {self.dtype!r}")

    @property
    def num_label_cols(self) -> int:
        """How many features there are."""
        return self.width

    @property
    def stored_as(self) -> str:
        """The type that tables keep them in."""
        return self.dtype

    @property
    def output_columns(self) -> list[str]:
        """The names of the features in a table, in order."""
        return [f"feature_{number:04d}" for number in range(self.width)]

    def to_config(self) -> dict[str, Any]:
        """What was asked for, as JSON-ready values."""
        return {"kind": self.kind, "block": self.block, "width": self.width, "dtype": self.dtype}


Fetch = Callable[[], np.ndarray]
Start = Callable[[np.ndarray, int], Fetch]


class _Predicting(Protocol):
    @property
    def task(self) -> Task: ...

    @property
    def preprocessing(self) -> Preprocessing: ...

    @property
    def conformal(self) -> Conformal | None: ...


class Member(NamedTuple):
    """One model of a run.

    Args:
        model: Tells what is predicted, and how images are read.
        start: Has a batch predicted, from images, (batch, height, width, channels), and the number of
            galaxies still to predict, these included. It need not wait for the device: what it returns gives
            the predictions, (samples, batch, outputs), and is called when the next batch has been started.
        engine: What computes, in a word.
        make_hash: Gives the SHA-256 of what decides the model's predictions.
        seed_dropout: Begins the draws of dropout anew from a number; by default there are none.
    """

    model: _Predicting
    start: Start
    engine: str
    make_hash: Callable[[], str]
    seed_dropout: Callable[[int], object] = lambda _: None


def as_members(model: Any) -> list[Any]:
    """One model, or a list of them, as a list.

    Raises:
        ConfigError: If the list is empty.
    """
    members = list(model) if isinstance(model, (list, tuple)) else [model]
    if not members:
        msg = "model must be a model, a checkpoint's folder, or a list of these; got an empty list"
        raise ConfigError(msg)
    return members


def onnx_member(model: Any, n_samples: int, views: int | None = None) -> Member:
    """An exported model as a member of a prediction run.

    Args:
        model: An `OnnxModel`, or its file.
        n_samples: How many dropout samples are asked for.
        views: How many views of each image are; None is as many as the file was exported with.

    Raises:
        CheckpointError: If the file can't be used.
        ConfigError: If samples are asked for, which a file can't give, or another number of views.
    """
    exported = model if isinstance(model, OnnxModel) else OnnxModel(model)
    exported.check_samples(n_samples)
    exported.check_views(exported.preprocessing.views if views is None else views)

    def start(images: np.ndarray, _: int) -> Callable[[], np.ndarray]:
        predictions = exported.predict_images(images)[None]
        return lambda: predictions

    return Member(exported, start, "onnxruntime", lambda: hash_file(exported.path))


def shared_task(tasks: Sequence[Task], *, of: str = "an ensemble") -> Task:
    """What the members of an ensemble predict, from what each does.

    Args:
        tasks: Of each.
        of: What needs them to be the same, for the message.

    Raises:
        ConfigError: If it is not the same, naming the first member that differs and how.
    """
    first, *others = tasks
    for number, task in enumerate(others, start=2):
        if task.kind != first.kind:
            msg = f"the models of {of} must share one task: the first predicts a {first.kind}, "
            msg += f"model {number} a {task.kind}"
            raise ConfigError(msg)
        if task.output_columns != first.output_columns:
            missing = [name for name in first.output_columns if name not in task.output_columns][:5]
            other = [name for name in task.output_columns if name not in first.output_columns][:5]
            differ = f"it lacks {missing} and has {other}" if missing or other else "their order differs"
            msg = f"the models of {of} must predict the same columns; of model {number} {differ}"
            raise ConfigError(msg)
    return first


def distinct_readings(members: Sequence[Member]) -> list[Preprocessing]:
    """The ways in which members read images, each once."""
    kept: list[Preprocessing] = []
    for member in members:
        if member.model.preprocessing not in kept:
            kept.append(member.model.preprocessing)
    return kept


def distinct_pixels(members: Sequence[Member]) -> list[Preprocessing]:
    """The same, where only what loaders do counts: views are made of the pixels they give."""
    return list(dict.fromkeys(as_loaded(reading) for reading in distinct_readings(members)))


def as_loaded(preprocessing: Preprocessing) -> Preprocessing:
    """How a file is read, however many views a network then looks at."""
    return replace(preprocessing, views=1)


def describe_origin(
    members: Sequence[Member], galaxies: Catalog | CatalogStream, *, n_samples: int
) -> dict[str, Any]:
    """What a prediction file says of where its numbers come from.

    Args:
        members: The models.
        galaxies: Where their images are.
        n_samples: How many samples they give together.
    """
    configs = [reading.to_config() for reading in distinct_readings(members)]
    return {
        "catalog": galaxies.name,
        "place": galaxies.place,
        "zoobot": __version__,
        "task": members[0].model.task.to_config(),
        "models": [member.make_hash() for member in members],
        "preprocessing": configs[0] if len(configs) == 1 else configs,
        "n_samples": n_samples,
        "n_members": len(members),
    }
