"""A trained model read from one ONNX file, which predicts without PyTorch and TensorFlow.

The file's graph takes `images`, (batch, height, width, channels), float32 in [0, 1], normalises them, and
gives `predictions`, (batch, outputs). What else prediction needs stands in the file's metadata, under
"zoobot", as JSON: the task with its columns, how files become images, and versions.

A graph is a program, and a file of others may hold one that never ends, or asks for any amount of memory. So
it may take so many seconds of CPU time for each image and so much memory, and is tried on an empty image
before any work; the environment variables `ZOOBOT_ONNX_SECONDS` and `ZOOBOT_ONNX_GIGABYTES` allow it more.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoobot.shared import tasks
from zoobot.shared.conformal import Conformal
from zoobot.shared.errors import CheckpointError, ConfigError, SchemaError
from zoobot.shared.imports import import_optional
from zoobot.shared.preprocessing import Preprocessing

# Whether an ONNX file says that its weights lie in other files, found without the package `onnx`.

_MOST_DEEP = 50

#: Which fields of a message hold which messages, of those that lead to tensors.
_FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


def names_other_files(path: Path) -> bool:
    """Whether a tensor in an ONNX file has its values in another file.

    Raises:
        ValueError: If it is no ONNX file.
    """
    return _leads_outside(memoryview(path.read_bytes()), "model", 0)


def _leads_outside(message: memoryview, kind: str, depth: int) -> bool:
    if depth > _MOST_DEEP:
        raise ValueError(f"its graphs lie more than {_MOST_DEEP} deep in each other")
    for number, content in _fields(message):
        if kind == "tensor":
            if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and content):
                return True
            continue
        inner = _FIELDS[kind].get(number)
        if inner and isinstance(content, memoryview) and _leads_outside(content, inner, depth + 1):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """The number and the content of each field of a Protocol Buffers message."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, form = key >> 3, key & 7
        content: memoryview | int
        if form == 0:
            content, place = _varint(message, place)
        elif form in (1, 5):
            size = 8 if form == 1 else 4
            content, place = 0, place + size
        elif form == 2:
            size, place = _varint(message, place)
            content, place = message[place : place + size], place + size
        else:
            raise ValueError(f"it has a field of the unknown form {form}")
        if place > len(message):
            raise ValueError("it ends too early")
        yield number, content


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("it ends within a number, or has one of more than 64 bits")


SUFFIX = ".onnx"
METADATA_KEY = "zoobot"
FORMAT = 1

#: Seconds of CPU time that a graph may take for a galaxy, and gigabytes of memory for a batch.
_MOST_SECONDS, _MOST_GIGABYTES = 8.0, 16.0

_LOOK_S = 0.1

#: Images that go through a network at once, where its graph makes several views of each.
_VIEWS_AT_ONCE = 32

#: Where a graph may run, best first.
_ON_CPU = ("CPUExecutionProvider",)
_ON_BEST_DEVICE = ("CUDAExecutionProvider", *_ON_CPU)


def is_onnx_file(model: object) -> bool:
    """Whether a model is given as an .onnx file.

    Example:
        >>> is_onnx_file("results/rings.onnx"), is_onnx_file("results/rings/checkpoint")
        (True, False)
    """
    return isinstance(model, (str, Path)) and Path(model).suffix.lower() == SUFFIX


def network_pixels(images: NDArray) -> NDArray[np.float32]:
    """A loader's images, uint8 or float in [0, 1], as a graph takes them: float32 in [0, 1].

    Example:
        >>> network_pixels(np.array([0, 255], np.uint8)).tolist()
        [0.0, 1.0]
    """
    if images.dtype != np.uint8:
        return np.asarray(images, np.float32)
    return np.divide(images, np.float32(255), dtype=np.float32)


class OnnxModel:
    """A model in an ONNX file that `zoobot export` wrote.

    Args:
        path: The file.
        on_cpu: Leave a GPU alone, which rounds more coarsely.

    Attributes:
        task: What it predicts.
        preprocessing: How files become its images.
        versions: What it was exported with.
        conformal: Its errors on validation galaxies, by which intervals are made; None where nobody knows.

    Raises:
        CheckpointError: If the file is missing or damaged, or Zoobot did not write it.
        MissingPackageError: If onnxruntime is not installed.

    Example:
        >>> model = OnnxModel("rings.onnx")  # doctest: +SKIP
        >>> model.predict_images(images).shape  # doctest: +SKIP
        (32, 2)
    """

    def __init__(self, path: str | Path, *, on_cpu: bool = False) -> None:
        self.path = Path(path).expanduser()
        runtime = import_optional(
            "onnxruntime", needed_for="prediction with an .onnx file", package="zoobot[onnx]"
        )
        if not self.path.is_file():
            found = "is a folder" if self.path.is_dir() else "does not exist"
            raise CheckpointError(f"an ONNX model is a file that `zoobot export` wrote; {self.path} {found}")
        _refuse_external_data(self.path)
        self._runtime, self._faults = runtime, _faults(runtime)
        self._session = _open(runtime, self.path, _ON_CPU if on_cpu else _ON_BEST_DEVICE)
        told = _read_metadata(self._session, self.path)
        try:
            self.task = tasks.from_config(told["task"])
            self.preprocessing = Preprocessing.from_config(told["preprocessing"])
            self.versions: dict[str, str] = dict(told.get("versions") or {})
            errors = told.get("conformal")
            self.conformal = None if errors is None else Conformal.from_config(errors, self.task)
        except (CheckpointError, ConfigError, SchemaError, KeyError, TypeError, ValueError) as error:
            msg = f"what {self.path} says of its task and its images can't be used: {error}"
            raise CheckpointError(msg) from error
        self._views = self.preprocessing.views
        side, channels = self.preprocessing.image_size_pix, self.preprocessing.channels
        self.predict_images(np.zeros((1, side, side, channels), np.float32))

    def predict_images(self, images: NDArray) -> NDArray[np.float32]:
        """Predictions, (batch, outputs), from a loader's images, (batch, height, width, channels).

        Args:
            images: uint8, or float32 in [0, 1].

        Raises:
            CheckpointError: If the graph can't take such images, gives something else than predictions, or
                takes more time or memory than it may.
        """
        if self._views == 1:
            return self._predict(images)
        at_once = max(1, _VIEWS_AT_ONCE // self._views)
        starts = range(0, max(1, len(images)), at_once)
        return np.concatenate([self._predict(images[start : start + at_once]) for start in starts])

    def _predict(self, images: NDArray) -> NDArray[np.float32]:
        seconds = limit_of("ZOOBOT_ONNX_SECONDS", _MOST_SECONDS) * max(1, len(images)) * self._views
        limits = self._runtime.RunOptions()
        limits.log_severity_level = 4  # what fails is told by us
        ended = threading.Event()
        watch = (seconds, _clock_of_this_thread(), limits, ended)
        threading.Thread(target=_give_up_after, args=watch, daemon=True).start()
        try:
            name = self._session.get_inputs()[0].name
            given = {name: network_pixels(images)}
            predictions: NDArray[np.float32] = self._session.run(None, given, limits)[0]
        except self._faults as error:
            reason = self._reason(error, len(images), seconds=seconds if limits.terminate else None)
            msg = f"the graph in {self.path} can't predict images of shape {images.shape}: {reason}"
            raise CheckpointError(msg) from error
        finally:
            ended.set()
        expected = (len(images), self.task.num_outputs)
        if np.shape(predictions) != expected:
            msg = f"the graph in {self.path} must give predictions of shape {expected}, "
            msg += f"got {np.shape(predictions)}"
            raise CheckpointError(msg)
        return predictions

    def _reason(self, error: Exception, n_images: int, *, seconds: float | None) -> str:
        """What went wrong, and what to do where it took more time or memory than it may."""
        if seconds is not None:
            return (
                f"it did not end within {seconds:g} seconds of CPU time for {n_images} images and was given "
                "up. If that is no fault of the file, set the environment variable ZOOBOT_ONNX_SECONDS to "
                "more for each"
            )
        if "smaller than requested bytes" in str(error):
            most = limit_of("ZOOBOT_ONNX_GIGABYTES", _MOST_GIGABYTES)
            return (
                f"it asks for more than {most:g} GB of memory for {n_images} images. Predict fewer at once, "
                "or, if the file can be trusted, set the environment variable ZOOBOT_ONNX_GIGABYTES to more"
            )
        return _brief(error)

    def check_views(self, views: int) -> None:
        """Raise a ConfigError unless this is how many views the graph makes of each image."""
        if views != self._views:
            msg = f"{self.path} was exported with views={self._views}, which is part of it, got {views!r}; "
            msg += "export the checkpoint with as many as you want"
            raise ConfigError(msg)

    def check_samples(self, n_samples: int) -> None:
        """Raise a ConfigError where dropout is to be sampled, which a file does not hold."""
        if n_samples > 1:
            msg = f"{self.path} predicts without dropout, so n_samples must be 1, got {n_samples}; "
            msg += "sample the checkpoint that it was exported from"
            raise ConfigError(msg)


def is_exported(model: object) -> bool:
    """Whether a model is an exported one, or the file of one, and no engine's."""
    return isinstance(model, OnnxModel) or is_onnx_file(model)


def _refuse_external_data(path: Path) -> None:
    """Raise a CheckpointError if loading a file would open others, which lie beside it or anywhere."""
    try:
        leads_outside = names_other_files(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged, or no ONNX file: {error}") from error
    if leads_outside:
        raise CheckpointError(
            f"{path} says that weights lie in other files, which no file makes us open; export it anew with "
            "`zoobot export`, which writes one file"
        )


def _open(runtime: Any, path: Path, providers: tuple[str, ...]) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors: the rest is advice to the authors of a graph
    options.intra_op_num_threads = _asked_threads()
    _limit_memory(runtime)
    options.add_session_config_entry("session.use_env_allocators", "1")
    known = runtime.get_available_providers()
    try:
        return runtime.InferenceSession(
            str(path), options, providers=[name for name in providers if name in known]
        )
    except _faults(runtime) as error:
        msg = f"{path} is damaged, or too new for onnxruntime {runtime.__version__}: {_brief(error)}"
        raise CheckpointError(msg) from error


@functools.cache
def _limit_memory(runtime: Any) -> None:
    """Bound what graphs may take of this process's memory, all of them together; ONNX Runtime asks once."""
    most = int(limit_of("ZOOBOT_ONNX_GIGABYTES", _MOST_GIGABYTES) * 1e9)
    kind = runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    memory = runtime.OrtMemoryInfo("Cpu", kind, 0, runtime.OrtMemType.DEFAULT)
    runtime.create_and_register_allocator(memory, runtime.OrtArenaCfg(most, -1, -1, -1))


def _clock_of_this_thread() -> Callable[[], float]:
    """The CPU time of the calling thread, which a busy machine does not hasten; on macOS, time."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.monotonic
    return functools.partial(time.clock_gettime, time.pthread_getcpuclockid(threading.get_ident()))


def _give_up_after(seconds: float, clock: Callable[[], float], limits: Any, ended: threading.Event) -> None:
    """End what runs under these limits once the clock has gone on so far, unless it ends before."""
    began = clock()
    while not ended.wait(min(_LOOK_S, seconds)):
        if clock() - began > seconds:
            limits.terminate = True
            return


def limit_of(name: str, usual: float) -> float:
    """A limit that the user may set in the environment.

    Raises:
        ConfigError: If that is no number above 0.
    """
    text = os.environ.get(name, "")
    try:
        number = float(text) if text.strip() else usual
    except ValueError:
        number = float("nan")
    if not 0 < number < 1e9:
        raise ConfigError(f"the environment variable {name} must be a number above 0, got {text!r}")
    return number


def _faults(runtime: Any) -> tuple[type[Exception], ...]:
    """All that ONNX Runtime raises of its own, and what becomes of names that are no text."""
    state = vars(runtime.capi.onnxruntime_pybind11_state).values()
    own = [kind for kind in state if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, UnicodeDecodeError, IndexError)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _asked_threads() -> int:
    """The threads that the user allows to libraries, as for the engines; 0 is ONNX Runtime's own choice."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() else 0


def _read_metadata(session: Any, path: Path) -> dict[str, Any]:
    try:
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        told = None if text is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"what {path} says of its task and its images is damaged ({error}); export the model again"
        raise CheckpointError(msg) from error
    if not isinstance(told, dict):
        msg = f"{path} says nothing of its task and its images: only files of `zoobot export` can be used"
        raise CheckpointError(msg)
    number = told.get("format")
    if not isinstance(number, int) or number > FORMAT:
        msg = f"{path} has format {number!r}, this Zoobot reads up to {FORMAT}; "
        msg += "update it: pip install --upgrade zoobot"
        raise CheckpointError(msg)
    return told
