"""Write a model to one ONNX file: described, held against its engine, and in place only if it agrees."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, ExportError
from zoobot.shared.files.whole import publish, saying_why
from zoobot.shared.imports import import_optional
from zoobot.shared.models.weights import largest_difference
from zoobot.shared.onnx.model import FORMAT, METADATA_KEY, SUFFIX, OnnxModel
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import Task
from zoobot.version import __version__

INPUT_NAME, OUTPUT_NAME = "images", "predictions"

#: The set of ONNX operations that is used: old enough for every ONNX Runtime since 2023.
OPSET = 18

#: What converters raise for a network that they don't know how to express.
_FAULTS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError)


class _Exported(Protocol):
    task: Task
    preprocessing: Preprocessing


def check_export(save_loc: str | Path, *converters: str) -> Path:
    """The absolute path of an .onnx file that can be written, its folder made; call it before work.

    Args:
        save_loc: A file that ends in .onnx.
        *converters: The packages that the engine converts with.

    Raises:
        ConfigError: If it ends in something else, is a folder, or its folder can't be made.
        MissingPackageError: If a package that this takes is not installed.
    """
    path = Path(save_loc).expanduser().absolute()
    if path.suffix.lower() != SUFFIX or path.is_dir():
        found = "a folder" if path.is_dir() else f"{str(save_loc)!r}"
        raise ConfigError(f"a model is exported to a file that ends in {SUFFIX}, got {found}")
    for package in ("onnx", "onnxruntime", *converters):
        import_optional(package, needed_for="export to ONNX", package="zoobot[onnx]")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"can't make the folder of {path}: {error.strerror or error}") from error
    return path


def write_onnx(
    path: Path,
    model: _Exported,
    convert: Callable[[Path], None],
    predict_images: Callable[[NDArray], NDArray],
) -> Path:
    """Write a model's file, whole or not at all, once its predictions agree with the engine's.

    Args:
        path: From `check_export`.
        model: Tells its task and preprocessing.
        convert: Writes the graph to a path: from images, (batch, height, width, channels), float32 in
            [0, 1], to predictions, (batch, outputs).
        predict_images: What the engine predicts from such images.

    Raises:
        ExportError: If the network can't be converted, or predicts other numbers; nothing is written then.
        WriteError: If the file can't be written, such as on a full disk; an older one stays.
    """
    with (
        saying_why(path),
        tempfile.TemporaryDirectory(prefix=f".{path.stem}.draft-", dir=path.parent) as folder,
    ):
        draft = Path(folder) / path.name
        try:
            convert(draft)
            _describe(draft, model)
        except _FAULTS as error:
            reason = " ".join(str(error).split())[:500]
            msg = f"this network can't be converted to ONNX: {type(error).__name__}: {reason}"
            raise ExportError(msg) from error
        _check_agreement(OnnxModel(draft, on_cpu=True), predict_images)
        publish(draft, path)
    return path


def _describe(path: Path, model: _Exported) -> None:
    """Add to a graph what prediction needs besides, and name its ends and its batch."""
    import onnx

    graph_file = onnx.load(path)
    told: dict[str, Any] = {
        "format": FORMAT,
        "task": model.task.to_config(),
        "columns": model.task.output_columns,
        "preprocessing": model.preprocessing.to_config(),
        "versions": {"zoobot": __version__},
    }
    errors = getattr(model, "conformal", None)  # an engine of others may know of none
    if errors is not None:
        told["conformal"] = errors.to_config()
    onnx.helper.set_model_props(graph_file, {METADATA_KEY: json.dumps(told)})
    graph_file.producer_version = f"{graph_file.producer_name} {graph_file.producer_version}".strip()
    graph_file.producer_name = "zoobot"
    graph_file.doc_string = (
        f"{INPUT_NAME}: (batch, height, width, channels), float32 in [0, 1], not normalised. "
        f"{OUTPUT_NAME}: (batch, outputs), the columns of the metadata"
        + ("." if model.preprocessing.views == 1 else f", from {model.preprocessing.views} views of each.")
    )
    _name_ends(graph_file.graph)
    onnx.save(graph_file, path)


def _name_ends(graph: Any) -> None:
    """Give input, output and batch their names, which converters choose by themselves."""
    renamed = {graph.input[0].name: INPUT_NAME, graph.output[0].name: OUTPUT_NAME}
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = renamed.get(name, name)
    for end in (graph.input[0], graph.output[0]):
        end.name = renamed[end.name]
        end.type.tensor_type.shape.dim[0].dim_param = "batch"


def _check_agreement(exported: OnnxModel, predict_images: Callable[[NDArray], NDArray]) -> None:
    """Raise unless a file predicts what its engine does, for one galaxy and for several."""
    size, channels = exported.preprocessing.image_size_pix, exported.preprocessing.channels
    images = np.random.default_rng(defaults.SEED).random((3, size, size, channels), np.float32)
    for batch in (images, images[:1]):
        difference = largest_difference(exported.predict_images(batch), predict_images(batch))
        if not difference <= defaults.AGREEMENT:
            raise ExportError(
                f"converted to ONNX, the model predicts other numbers: they differ by {difference:.1e}, and "
                f"{defaults.AGREEMENT:.0e} is allowed; nothing was written. Another version of the converter "
                "may do better; or predict with the checkpoint"
            )
