"""Checkpoints of the public Zoobot 2.x as ours, read without torch and without running what they say.

What its Lightning modules leave in a `.ckpt` is a pickle of their arguments (`hyper_parameters`) and weights
(`state_dict`): timm's names under `encoder.`, and one linear layer under `head.`. Our heads compute the same
from it, so predictions are equal for equal pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoobot.shared import defaults, schemas
from zoobot.shared.architectures import (
    architecture_names,
    fingerprint,
    get_architecture,
    known_fingerprint,
    recognise,
)
from zoobot.shared.checkpoint import NeutralCheckpoint
from zoobot.shared.errors import CheckpointError, ConfigError, SchemaError
from zoobot.shared.files.torch_pickle import InertObject, read_torch_object
from zoobot.shared.models.adapting import colour_for
from zoobot.shared.models.encoder_source import PUBLISHED_CROP_FRACTION, Origin
from zoobot.shared.preprocessing import Preprocessing, describe_pixels
from zoobot.shared.schemas import Schema
from zoobot.shared.tasks import Task, classification_task, regression_task, tree_task

#: Classes that such a file may name; only their attributes are looked at, and only the schema's.
_INERT = (
    *(f"zoobot.shared.schemas.{name}" for name in ("Schema", "Question", "Answer")),
    *(f"{home}.fabric.utilities.data.AttributeDict" for home in ("lightning", "pytorch_lightning")),
    "lightning_fabric.utilities.data.AttributeDict",
    *(f"pathlib.{name}" for name in ("Path", "PosixPath", "WindowsPath")),
    *("torch.device", "torch.Size", "numpy.dtype", "numpy.core.multiarray.scalar"),
    "numpy._core.multiarray.scalar",
)
_KEYS = ("state_dict", "hyper_parameters", "epoch", "pytorch-lightning_version", "loss_sums")

#: Layers of timm's models that are no part of an encoder.
_CLASSIFIERS = ("head.fc.", "head.", "fc.", "classifier.")
_WHY = "assumed, for its file does not say"
_DROPOUTS = ("head_dropout_prob", "dropout_prob", "dropout_rate")  # 2.9, 2.0, ZoobotTree


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A converted model, and what was found in its file or assumed.

    Args:
        neutral: The model.
        facts: What is to be said of its encoder and task, by subject.
        pixels: What it looks at, and why, in a few lines.
    """

    neutral: NeutralCheckpoint
    facts: dict[str, str]
    pixels: str


def convert_checkpoint(
    path: str | Path,
    *,
    architecture: str | None = None,
    label_cols: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    image_size_pix: int | None = None,
    crop_fraction: float | None = None,
) -> Converted:
    """A model of the public Zoobot 2.x, from its Lightning checkpoint; or an encoder, from a file of tensors.

    Args:
        path: A `.ckpt` of FinetuneableZoobotClassifier, -Regressor or -Tree, or of ZoobotTree; or
            timm's weights alone, such as pytorch_model.bin.
        architecture: timm's name; None takes the file's, or finds it by the shapes of the weights.
        label_cols: The label columns of a classifier or regressor; None takes the file's.
        class_names: A name for each class; None numbers them.
        image_size_pix: Side of the images it looks at; None is that of its weights, or else 224.
        crop_fraction: Side of the central square that it looks at; None is the public Zoobot's 1/1.2.

    Raises:
        CheckpointError: If the file is damaged, is no such checkpoint, or asks for code to be run.
        ConfigError: If the architecture can't be told, or an option does not fit.

    Example:
        >>> convert_checkpoint("old.ckpt").neutral.architecture  # doctest: +SKIP
        'convnext_nano'
    """
    path = Path(path).expanduser()
    if not path.is_file():
        hint = "; of a model on the Hugging Face Hub, download the .ckpt first: hf download REPOSITORY"
        found = "is a folder" if path.is_dir() else "does not exist"
        msg = f"expected a file to convert, and {path} {found}{hint if 'hub:' in str(path) else ''}"
        raise CheckpointError(msg)
    saved = read_torch_object(path, inert=_INERT, keys=_KEYS)
    if isinstance(saved, Mapping) and "state_dict" not in saved:  # weights alone
        saved = read_torch_object(path, inert=_INERT)
    hyper, encoder, head = _parts(saved, path)
    name, how = _architecture(encoder, hyper, architecture, path)
    channels = _channels(encoder, path)
    size = image_size_pix or _size_of_positions(encoder) or defaults.IMAGE_SIZE_PIX
    pixels = Preprocessing(
        image_size_pix=size,
        channels=channels,
        colour=colour_for(channels),
        crop_fraction=crop_fraction or PUBLISHED_CROP_FRACTION,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )
    why = _WHY if crop_fraction is None or image_size_pix is None else "as asked"
    origin = Origin(encoder=str(hyper.get("name") or name), pixels=f"the public Zoobot looked so: {why}")
    task = None if head is None else _task(hyper, head, label_cols, class_names, path)
    dropout = next((hyper[key] for key in _DROPOUTS if _is_number(hyper.get(key))), 0.0)
    timm_config = {"input_size": [channels, size, size], "mean": list(pixels.mean), "std": list(pixels.std)}
    neutral = NeutralCheckpoint(
        architecture=name,
        encoder=encoder,
        num_features=_num_features(name, head),
        pretrained_cfg=timm_config,
        model_args={"in_chans": channels},
        preprocessing=pixels.to_config(),
        task=None if task is None else task.to_config(),
        head=None if task is None else {"dropout_prob": float(dropout)},
        head_tensors={} if head is None or task is None else head | _statistics(task, hyper),
        training=_record(saved, hyper, path),
        origin=origin.to_config(),
    )
    facts = {"encoder": f"{name} ({how})", **_facts(task)}
    return Converted(neutral=neutral, facts=facts, pixels=describe_pixels(pixels, origin.pixels))


# ----------------------------------------------------------------------------------------- what a file holds


def _parts(
    saved: Any, path: Path
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray] | None]:
    """The arguments a model was made with, its encoder, and its head; None for an encoder alone."""
    if not isinstance(saved, Mapping):
        raise CheckpointError(f"{path} holds no dictionary, as a checkpoint does")
    if "loss_sums" in saved:
        raise CheckpointError(
            f"{path} is what a run of this Zoobot goes on from (`--resume`); its model is in the folder "
            f"{path.parent / 'checkpoint'}, and needs no conversion"
        )
    weights = _arrays(saved.get("state_dict", saved), path)
    hyper = saved.get("hyper_parameters") or {}
    hyper = hyper.items if isinstance(hyper, InertObject) else hyper
    if not isinstance(hyper, Mapping):
        raise CheckpointError(f"{path}: hyper_parameters must be a dictionary, got {type(hyper).__name__}")
    encoder = {n.removeprefix("encoder."): a for n, a in weights.items() if n.startswith("encoder.")}
    if not encoder and "state_dict" not in saved:
        return {}, {n: a for n, a in weights.items() if not n.startswith(_CLASSIFIERS)}, None
    encoder = {n.removeprefix("_orig_mod."): a for n, a in encoder.items()}  # torch.compile's word
    if not encoder:
        raise CheckpointError(
            f"{path} is no checkpoint of the public Zoobot 2.x: none of its weights is called encoder.…; it "
            f"has {list(weights)[:4]}"
        )
    return dict(hyper), encoder, _head(weights, path)


def _arrays(weights: Any, path: Path) -> dict[str, np.ndarray]:
    if not isinstance(weights, Mapping) or not weights:
        raise CheckpointError(f"{path} holds no weights")
    arrays = {str(n): a for n, a in weights.items() if isinstance(a, np.ndarray)}
    if len(arrays) != len(weights):
        others = [str(n) for n, a in weights.items() if not isinstance(a, np.ndarray)]
        raise CheckpointError(f"{path}: weights must be tensors, got others: {others[:4]}")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            msg = f"{path}: {name} holds numbers that are NaN or infinite: its training failed"
            raise CheckpointError(msg)
    return {n: np.ascontiguousarray(_in_float32(a)).reshape(a.shape) for n, a in arrays.items()}


def _in_float32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _head(weights: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The one linear layer: `head.linear` of classifiers and regressors, `head.1.0` of trees."""
    names = [n for n, a in weights.items() if n.startswith("head.") and n.endswith(".weight") and a.ndim == 2]
    if len(names) != 1:
        msg = f"{path}: expected a head of one linear layer, as the public Zoobot has it, got {names}"
        raise CheckpointError(msg)
    weight, bias = weights[names[0]], weights.get(names[0].removesuffix("weight") + "bias")
    if bias is None or bias.shape != weight.shape[:1] or not weight.size:
        shape = None if bias is None else bias.shape
        msg = f"{path}: the head has weights of shape {weight.shape} and a bias of shape {shape}"
        raise CheckpointError(msg)
    return {"linear.weight": weight, "linear.bias": bias}


def _record(saved: Mapping[str, Any], hyper: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a checkpoint tells of its past: plain values alone."""
    told = {"converted_from": path.name, "epoch": saved.get("epoch")}
    version = saved.get("pytorch-lightning_version")
    options = {k: v for k, v in hyper.items() if isinstance(v, (str, int, float, bool)) and k != "schema"}
    told |= {"lightning": version, "hyper_parameters": {str(k): v for k, v in options.items()}}
    return {key: v for key, v in told.items() if isinstance(v, (str, int, float, dict))}


# -------------------------------------------------------------------------------------------------- encoder


def _architecture(
    encoder: dict[str, np.ndarray], hyper: dict[str, Any], asked: str | None, path: Path
) -> tuple[str, str]:
    """Timm's name of the encoder's architecture, and how it was found."""
    shapes = {name: array.shape for name, array in encoder.items()}
    found = fingerprint(shapes)
    said = hyper.get("architecture_name")
    if asked is not None or isinstance(said, str):
        name = str(asked if asked is not None else said).partition(".")[0]
        known = known_fingerprint(name)
        if known is not None and known != found:
            near = recognise(found)
            hint = f"; by their shapes they are of {' or '.join(near)}" if near else ""
            raise ConfigError(f"the weights in {path} are not those of {name}{hint}")
        how = "as asked" if asked is not None else "said by the file"
        return name, how if known else f"{how}; not checked, for its shapes are not known here"
    candidates = recognise(found)
    start = str(hyper.get("name") or "").partition(".")[0].partition("@")[0]
    named = [c for c in candidates if re.search(rf"(^|[-:/]){re.escape(c)}$", start)]
    if len(candidates) == 1 or named:
        how = f"recognised by the shapes of its {len(shapes)} arrays"
        return (named or candidates)[0], f"{how}, and the name {start}" if named else how
    which = f"may be {' or '.join(candidates)}" if candidates else "is none that is known here by its shapes"
    example = candidates[0] if candidates else "convnext_nano"
    raise ConfigError(
        f"{path} does not say its encoder's architecture, and it {which}: name it with --architecture, as "
        f"timm calls it, such as --architecture {example}"
    )


def _channels(encoder: dict[str, np.ndarray], path: Path) -> int:
    """Planes of its images, by the first convolution."""
    kernel = next((array for array in encoder.values() if array.ndim == 4), None)
    if kernel is None or not kernel.shape[1]:
        raise CheckpointError(f"{path}: no convolution is among the encoder's weights")
    return int(kernel.shape[1])


def _num_features(architecture: str, head: dict[str, np.ndarray] | None) -> int:
    """What the head takes; of an encoder alone, what is described of its architecture, or 0."""
    if head is not None:
        return int(head["linear.weight"].shape[1])
    return get_architecture(architecture).num_features if architecture in architecture_names() else 0


def _size_of_positions(encoder: dict[str, np.ndarray]) -> int | None:
    """The side of the images that position embeddings were learned for; None without any."""
    positions, patches = encoder.get("pos_embed"), encoder.get("patch_embed.proj.weight")
    if positions is None or patches is None or positions.ndim != 3 or patches.ndim != 4:
        return None
    return math.isqrt(positions.shape[1]) * patches.shape[2]


# --------------------------------------------------------------------------------------------- task and head


def _task(
    hyper: dict[str, Any],
    head: dict[str, np.ndarray],
    label_cols: Sequence[str] | None,
    class_names: Sequence[str] | None,
    path: Path,
) -> Task:
    """What the model learned, by the arguments that only one of the public classes has."""
    outputs = head["linear.weight"].shape[0]
    schema = _schema(hyper, path)
    kind = (
        "classification" if "num_classes" in hyper else "regression" if "unit_interval" in hyper else "tree"
    )
    if schema is None and kind == "tree":
        raise CheckpointError(
            f"{path} does not say what it was trained for: its hyper_parameters are {sorted(map(str, hyper))}"
        )
    if class_names and (schema is not None or kind != "classification"):
        raise ConfigError(f"--class-names is for classifiers, and {path} holds a model of a {kind} task")
    if schema is not None:
        if label_cols and list(label_cols) != schema.label_cols:
            msg = f"the columns of a tree are its schema's, {schema.label_cols[:4]}…: leave --label-cols out"
            raise ConfigError(msg)
        task: Task = tree_task(schema)
    else:
        said = hyper.get("label_col")
        columns = list(label_cols) if label_cols else [said] if isinstance(said, str) else None
        if kind == "classification":
            count = None if class_names else outputs
            task = classification_task(num_classes=count, class_names=class_names, label_cols=columns)
        else:
            unit = bool(hyper["unit_interval"])
            task = regression_task(num_targets=outputs, label_cols=columns, unit_interval=unit)
    if task.num_outputs != outputs:
        msg = f"{path}: the head has {outputs} outputs, for a {task.kind} task of {task.num_outputs}"
        raise CheckpointError(msg)
    return task


def _schema(hyper: dict[str, Any], path: Path) -> Schema | None:
    """The decision tree, with the parents that the file says; None if it has none."""
    saved = hyper.get("schema")
    told = vars(saved) if isinstance(saved, InertObject) else hyper
    pairs, parents = told.get("question_answer_pairs"), told.get("dependencies") or {}
    if pairs is None:
        return None
    try:
        asked = {question: parents.get(question) for question in pairs}
        schema = Schema.from_pairs(pairs, asked, name="converted")
    except (SchemaError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path}: its decision tree can't be used: {error}") from error
    for name in schemas.names():
        for legacy in (False, True):
            survey = schemas.get(name, legacy=legacy)
            if _tree(survey) == _tree(schema):
                return survey
    return schema


def _tree(schema: Schema) -> list[tuple[list[str], tuple[str, ...]]]:
    return [(question.label_cols, question.parents) for question in schema.questions]


def _statistics(task: Task, hyper: dict[str, Any]) -> dict[str, np.ndarray]:
    """What our heads have besides: none of it changes the numbers."""
    if task.num_factors:
        return {"calibration": np.ones(task.num_factors, np.float32)}
    if task.kind != "regression":
        return {}
    start = 0.5 if hyper.get("unit_interval") else 0.0
    mean = np.full(task.num_outputs, start, np.float32)
    return {"target_mean": mean, "target_std": np.ones_like(mean)}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


# ------------------------------------------------------------------------------------------------ in words


def _facts(task: Task | None) -> dict[str, str]:
    if task is None:
        return {"task": "none: an encoder alone"}
    columns = task.output_columns
    more = f" … {len(columns)} in all" if len(columns) > 4 else ""
    facts = {"task": f"{task.kind}, predicts {', '.join(columns[:4])}{more}"}
    if task.tree is not None:
        facts["schema"] = f"{task.tree.name}, with the parents that the file says"
    return facts
