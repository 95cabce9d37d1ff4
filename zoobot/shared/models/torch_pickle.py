"""Read the tensors of a file written by `torch.save`, without torch and without running what the file says.

A pickle is a small program. This reader lets it make ordered dictionaries and tensors, and refuses everything
else before it happens. It knows torch's older layout (a row of pickles, then the raw numbers), in which
weights published before 2020 are found.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoobot.shared.errors import CheckpointError

__all__ = ["read_torch_pickle"]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}


class _Storage(NamedTuple):
    """A run of numbers that comes later in the file."""

    key: str
    dtype: np.dtype


class _Tensor(NamedTuple):
    """A view of a storage: all that a pickled tensor says."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_pickle(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a state dict saved by torch in its older layout, by name, in the order of the file.

    Args:
        path: A file of tensors, as `torch.save(model.state_dict(), path)` wrote it before torch 1.6.

    Raises:
        CheckpointError: If the file is missing, damaged, of another layout, or holds anything but tensors.

    Example:
        >>> read_torch_pickle("efficientnet-lite0.pth")["_conv_stem.weight"].shape  # doctest: +SKIP
        (32, 3, 3, 3)
    """
    path = Path(path)
    try:
        stream = io.BytesIO(path.read_bytes())
        return _read(stream, path)
    except OSError as error:
        msg = f"can't read {path}: {error}"
        raise CheckpointError(msg) from error
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way that a small program can
        msg = f"{path} is damaged or not a file of tensors in torch's older layout: {error}"
        raise CheckpointError(msg) from error


def _read(stream: io.BytesIO, path: Path) -> dict[str, np.ndarray]:
    magic, protocol = (_load(stream) for _ in range(2))
    if (magic, protocol) != (_MAGIC, _PROTOCOL):
        msg = f"{path} does not start like a file of torch's older layout"
        raise CheckpointError(msg)
    _load(stream)  # sizes of the writer's integers
    tensors = _load(stream)
    if not isinstance(tensors, dict) or not all(isinstance(t, _Tensor) for t in tensors.values()):
        msg = f"{path} must hold one tensor for each name and nothing else"
        raise CheckpointError(msg)
    keys = _load(stream)
    types = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    storages = {key: _read_storage(stream, types[key]) for key in keys}
    return {name: _view(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _load(stream: io.BytesIO) -> Any:
    """One pickle, once found to ask for no memory that its own size can't explain."""
    start, size = stream.tell(), len(stream.getbuffer())
    for opcode, argument, _ in pickletools.genops(stream):
        if "PUT" in opcode.name and argument is not None and argument > size:
            msg = f"it numbers an object {argument}, in a file of {size} bytes"
            raise pickle.UnpicklingError(msg)
    stream.seek(start)
    return _TensorUnpickler(stream).load()


def _read_storage(stream: io.BytesIO, dtype: np.dtype) -> np.ndarray:
    (count,) = struct.unpack("<q", stream.read(8))
    raw = stream.read(max(count, 0) * dtype.itemsize)
    if count < 0 or len(raw) != count * dtype.itemsize:
        msg = f"expected {count} numbers of {dtype.itemsize} bytes, the file ends after {len(raw)} bytes"
        raise ValueError(msg)
    return np.frombuffer(raw, dtype)


def _view(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0 or last >= max(storage.size, 1):
        msg = f"a tensor of shape {tensor.shape} reaches outside its {storage.size} numbers"
        raise ValueError(msg)
    if math.prod(tensor.shape) > storage.size:
        msg = f"a tensor of shape {tensor.shape} repeats its {storage.size} numbers"
        raise ValueError(msg)
    strides = tuple(step * storage.itemsize for step in tensor.strides)
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides).copy()


def _make_tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_unused: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        msg = f"a tensor must be made of a storage, got {type(storage).__name__}"
        raise pickle.UnpicklingError(msg)
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


class _TensorUnpickler(pickle.Unpickler):
    """Knows three things a pickle may name: an ordered dictionary, a tensor, and a kind of number."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _make_tensor
        if module == "torch" and name in _TYPES:
            return np.dtype(_TYPES[name])
        msg = f"it asks for {module}.{name}, which is not allowed: only tensors are read"
        raise pickle.UnpicklingError(msg)

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, *_rest = pid
        view = _rest[2] if len(_rest) > 2 else None
        if kind != "storage" or not isinstance(dtype, np.dtype) or view is not None:
            msg = "it holds something that is no plain storage"
            raise pickle.UnpicklingError(msg)
        return _Storage(str(key), dtype)
