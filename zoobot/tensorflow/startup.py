"""Import TensorFlow and Keras as the rest of this engine needs them, or say why that can't be."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from zoobot.shared.errors import ConfigError
from zoobot.shared.imports import must_load_triton

#: What Keras calls the backend that this engine is written for.
_BACKEND = "tensorflow"

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"

#: What TensorFlow tells everybody: how it was compiled, and that a machine without GPU has none.
_SMALL_TALK = re.compile(
    r"WARNING: All log messages before absl|[IW]\d{4} \d|E\d{4} .*cuInit|To enable the following instructions"
)


def import_keras() -> None:
    """Import triton (where installed), TensorFlow and Keras, in the order in which they can live together.

    Raises:
        ConfigError: If Keras is set to another backend.
    """
    _check_backend(os.environ.get("KERAS_BACKEND") or _BACKEND)
    if must_load_triton():
        import_module("triton")
    if sys.modules.get("tensorflow") is None:
        with _without_small_talk():
            import_module("tensorflow").config.list_physical_devices()
    _check_backend(import_module("keras").config.backend())


def _check_backend(name: str) -> None:
    if name != _BACKEND:
        raise ConfigError(
            f"the TensorFlow engine needs Keras with its TensorFlow backend, but Keras is set to {name!r}: "
            f"set the environment variable KERAS_BACKEND={_BACKEND} before Keras is imported, or unset it"
        )


@contextmanager
def _without_small_talk() -> Iterator[None]:
    """Hold back what TensorFlow says at start; errors still come through, and all of it if a user asks.

    A user asks by setting TF_CPP_MIN_LOG_LEVEL to 0. TensorFlow reads the variable once, and writes its first
    messages past Python, so they are caught where it writes them.
    """
    if os.environ.get(_LOG_LEVEL) == "0":
        yield
        return
    is_set = _LOG_LEVEL in os.environ
    os.environ.setdefault(_LOG_LEVEL, "1")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            if not is_set:
                del os.environ[_LOG_LEVEL]
            caught.seek(0)
            kept = [line for line in caught if not _SMALL_TALK.match(line.decode(errors="replace"))]
            os.write(2, b"".join(line for line in kept if line.strip()))
