"""Read what `torch.save` wrote, without torch and without running what the file says.

A pickle is a small program. This reader lets it make dictionaries, lists, numbers and tensors, and refuses
everything else before it happens. Both of torch's layouts are known: a zip archive (`pytorch_model.bin`,
Lightning's `.ckpt`), and the older row of pickles before the raw numbers (until torch 1.6).

What a file claims is held against its size first, and nothing is copied as often as a pickle says: a small
file can't ask for much memory.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoobot.shared.errors import CheckpointError
from zoobot.shared.files.tensors import refuse_pointer

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_BFLOAT16 = "BFloat16Storage"
_TYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    _BFLOAT16: "u2",  # NumPy has no such type: the upper half of a float32
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}
_ENCRYPTED = 1  # a zip member's flag

#: Bytes, and steps, that name 25,000 tensors; the largest networks and their optimisers have a few thousand.
_LARGEST_PICKLE = 4 * 2**20
_MOST_STEPS = 1_200_000
#: The zip's list of members, of which each tensor has one.
_LARGEST_DIRECTORY = 16 * 2**20
_MOST_AXES = 32
_CHUNK = 2**24


class InertObject:
    """What stands for an object of a class that may be named but not made: its attributes, and no behaviour.

    Attributes are those of the pickled object; `args` holds what it was to be called with, `items` what was
    put into it by key. The class is named as the one it stands for.
    """

    args: tuple[Any, ...]
    items: dict[Any, Any]

    def __new__(cls, *args: Any) -> InertObject:
        """An object that keeps its arguments, whatever they are."""
        made = super().__new__(cls)
        made.args, made.items = args, {}
        return made

    def __init__(self, *_args: Any) -> None:
        """Take whatever arguments a pickle gives: `__new__` keeps them."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            msg = f"the state of a {type(self).__name__} must be a dictionary, got {type(state).__name__}"
            raise pickle.UnpicklingError(msg)
        args, items = self.args, self.items
        self.__dict__ = state  # not a copy: a pickle may give one state a million times
        self.__dict__.setdefault("args", args)
        self.__dict__.setdefault("items", items)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value


class _Kind(NamedTuple):
    """What a storage holds."""

    name: str


class _Storage(NamedTuple):
    """A run of numbers that lies elsewhere in the file."""

    key: str
    kind: str
    numbers: int


class _Tensor(NamedTuple):
    """A view of a storage: all that a pickled tensor says."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Dictionary(dict):
    """A dictionary whose attributes (torch's `_metadata`) are passed over."""

    def __setstate__(self, _state: Any) -> None:
        pass


def read_torch_pickle(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a state dict saved by torch, by name, in the order of the file.

    Numbers of half precision stay so; bfloat16, which NumPy lacks, becomes float32 without loss. Arrays that
    share a storage in the file share their memory.

    Args:
        path: A file of tensors, as `torch.save(model.state_dict(), path)` writes it.

    Raises:
        CheckpointError: If the file is missing, damaged, of another layout, or holds anything but tensors.

    Example:
        >>> read_torch_pickle("pytorch_model.bin")["stem.0.weight"].shape  # doctest: +SKIP
        (80, 3, 4, 4)
    """
    arrays = read_torch_object(path)
    if not isinstance(arrays, dict) or not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise CheckpointError(f"{path} must hold one tensor for each name and nothing else")
    if not all(isinstance(name, str) for name in arrays):
        raise CheckpointError(f"{path} must name each tensor by a text")
    return arrays


def read_torch_object(
    path: str | Path, *, inert: Collection[str] = (), keys: Collection[str] | None = None
) -> Any:
    """What torch saved (dictionaries, lists, numbers, text), with NumPy arrays for its tensors.

    Args:
        path: A file that `torch.save` wrote, in either layout.
        inert: Classes that the file may name, such as "zoobot.shared.schemas.Schema": an `InertObject` is
            made of each object of theirs, and their code stays out of it.
        keys: Where the file holds a dictionary, the entries to keep; the numbers of others (an optimiser's)
            are not read. By default all.

    Raises:
        CheckpointError: If the file is missing, damaged, or asks for anything that is not allowed.

    Example:
        >>> saved = read_torch_object("last.ckpt", keys=["state_dict"])  # doctest: +SKIP
        >>> saved["state_dict"]["encoder.stem.0.weight"].shape  # doctest: +SKIP
        (80, 3, 4, 4)
    """
    path = Path(path)
    try:
        with _opened(path, frozenset(inert)) as (saved, read_storage):
            return _Resolver(read_storage).resolve(_with_keys(saved, keys))
    except OSError as error:
        raise CheckpointError(f"can't read {path}: {error}") from error
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way that a small program can
        said = str(error)[:500] or type(error).__name__
        raise CheckpointError(
            f"{path} is damaged or not a file of tensors that torch saved ({said}); copy or download it again"
        ) from error


def _with_keys(saved: Any, keys: Collection[str] | None) -> Any:
    if keys is None or not isinstance(saved, dict):
        return saved
    return {key: value for key, value in saved.items() if key in keys}


@contextmanager
def _opened(path: Path, inert: Collection[str]) -> Iterator[tuple[Any, Callable[[_Storage], np.ndarray]]]:
    """What the pickle says, and how to read the numbers behind it."""
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04":
        with _open_zip(path) as archive:
            members = _Members(archive, path)
            yield _load(io.BytesIO(members.read_pickle()), inert), members.read_storage
    else:
        yield _read_old_layout(io.BytesIO(path.read_bytes()), path, inert)


# ---------------------------------------------------------------------------------------------- zip layout


class _ModestReader(io.FileIO):
    """A file that refuses to give very much at once: the list of members must not fill the memory."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > max(_LARGEST_DIRECTORY, _CHUNK):
            msg = f"its list of members takes {size} bytes, no honest one more than {_LARGEST_DIRECTORY}"
            raise zipfile.BadZipFile(msg)
        return super().read(-1 if size is None else size)


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    with _ModestReader(str(path)) as file, zipfile.ZipFile(file) as archive:
        yield archive


class _Members:
    """The members of torch's zip: a pickle, and one run of numbers for each storage."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self.archive = archive
        infos = archive.infolist()
        self.infos = {info.filename: info for info in infos}
        if len(self.infos) != len(infos):
            raise zipfile.BadZipFile("two of its members have one name")
        declared, size = sum(info.file_size for info in infos), path.stat().st_size
        if declared > size:
            raise zipfile.BadZipFile(f"its members claim {declared} bytes, in a file of {size}")
        pickles = [name for name in self.infos if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise zipfile.BadZipFile("it is a zip archive without the one data.pkl that torch.save writes")
        self.root = pickles[0].removesuffix("/data.pkl")
        if f"{self.root}/constants.pkl" in self.infos:
            msg = "it is a TorchScript program, not a file of tensors; save the model's state_dict instead"
            raise zipfile.BadZipFile(msg)
        self.order = self._byte_order()

    def read_pickle(self) -> bytes:
        return self._read_small("data.pkl", _LARGEST_PICKLE)

    def read_storage(self, storage: _Storage) -> np.ndarray:
        info = self._info(f"data/{storage.key}")
        dtype = np.dtype(self.order + _TYPES[storage.kind])
        if info.file_size != storage.numbers * dtype.itemsize:
            msg = f"expected {storage.numbers} numbers of {dtype.itemsize} bytes, got {info.file_size} bytes"
            raise ValueError(msg)
        numbers = np.empty(storage.numbers, dtype)
        place = numbers.view(np.uint8)
        with self.archive.open(info) as member:
            for start in range(0, len(place), _CHUNK):
                piece = member.read(_CHUNK)  # the last one compares the checksum
                place[start : start + _CHUNK] = np.frombuffer(piece, np.uint8)
        return _in_numpy(numbers, storage.kind)

    def _byte_order(self) -> str:
        if f"{self.root}/byteorder" not in self.infos:
            return "<"
        said = self._read_small("byteorder", 16)
        if said not in (b"little", b"big"):
            raise zipfile.BadZipFile(f"its byte order must be little or big, got {said!r}")
        return "<" if said == b"little" else ">"

    def _read_small(self, name: str, most: int) -> bytes:
        info = self._info(name)
        if info.file_size > most:
            msg = f"{info.filename} takes {info.file_size} bytes, no honest one more than {most}"
            raise zipfile.BadZipFile(msg)
        return self.archive.read(info)

    def _info(self, name: str) -> zipfile.ZipInfo:
        info = self.infos.get(f"{self.root}/{name}")
        if info is None:
            raise zipfile.BadZipFile(f"it has no {name}, which its pickle names")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
            raise zipfile.BadZipFile(f"{info.filename} is compressed or encrypted, as torch never writes it")
        return info


# ---------------------------------------------------------------------------------------------- old layout


def _read_old_layout(
    stream: io.BytesIO, path: Path, inert: Collection[str]
) -> tuple[Any, Callable[[_Storage], np.ndarray]]:
    refuse_pointer(path, bytes(stream.getbuffer()[:8]))
    magic, protocol = (_load(stream, ()) for _ in range(2))
    if (magic, protocol) != (_MAGIC, _PROTOCOL):
        raise CheckpointError(f"{path} does not start like a file that torch saved")
    _load(stream, ())  # sizes of the writer's integers
    named: dict[str, str] = {}
    saved = _load(stream, inert, named)
    keys = _load(stream, ())
    storages = {key: _next_storage(stream, named[key]) for key in keys}
    return saved, lambda storage: storages[storage.key]


def _next_storage(stream: io.BytesIO, kind: str) -> np.ndarray:
    dtype = np.dtype(_TYPES[kind]).newbyteorder("<")
    (count,) = struct.unpack("<q", stream.read(8))
    raw = stream.read(max(count, 0) * dtype.itemsize)
    if count < 0 or len(raw) != count * dtype.itemsize:
        msg = f"expected {count} numbers of {dtype.itemsize} bytes, the file ends after {len(raw)} bytes"
        raise ValueError(msg)
    return _in_numpy(np.frombuffer(bytearray(raw), dtype), kind)


# ------------------------------------------------------------------------------------- pickles and tensors


def _load(stream: io.BytesIO, inert: Collection[str], named: dict[str, str] | None = None) -> Any:
    """One pickle, once found to ask for no memory that its own size can't explain."""
    start, size = stream.tell(), len(stream.getbuffer())
    for steps, (opcode, argument, place) in enumerate(pickletools.genops(stream)):
        if "PUT" in opcode.name and argument is not None and argument > size:
            raise pickle.UnpicklingError(f"it numbers an object {argument}, in a file of {size} bytes")
        if steps > _MOST_STEPS or (place is not None and place - start > _LARGEST_PICKLE):
            most = f"{_LARGEST_PICKLE} bytes or {_MOST_STEPS} steps"
            raise pickle.UnpicklingError(f"its pickle takes more than {most}, no honest one does")
    length = stream.tell() - start
    stream.seek(start)
    return _TensorUnpickler(stream, length, inert, named).load()


class _TensorUnpickler(pickle.Unpickler):
    """Knows three things a pickle may name: an ordered dictionary, a tensor, and a kind of number.

    What it hands to a pickle can't be changed by it, nor does it outlive the pickle.
    """

    def __init__(
        self, stream: io.BytesIO, length: int, inert: Collection[str], named: dict[str, str] | None
    ) -> None:
        super().__init__(stream)
        self.to_copy = length
        self.inert = inert
        self.made: dict[str, type[InertObject]] = {}
        self.named = {} if named is None else named

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full == "collections.OrderedDict":
            return self._make_dictionary
        if full == "torch._utils._rebuild_tensor_v2":
            return _Call(_make_tensor)
        if full == "torch._utils._rebuild_parameter":
            return _Call(_make_parameter)
        if module == "torch" and name in _TYPES:
            return _Kind(name)
        if full in self.inert:
            return self.made.setdefault(full, type(name, (InertObject,), {"__module__": module}))
        raise pickle.UnpicklingError(f"it asks for {full}, which is not allowed: only tensors are read")

    def persistent_load(self, pid: Any) -> _Storage:
        plain = isinstance(pid, tuple) and 5 <= len(pid) <= 6 and pid[5:] in ((), (None,))
        if plain:
            word, kind, key, _place, count = pid[:5]
            plain = word == "storage" and type(kind) is _Kind and type(key) is str and type(count) is int
        if not plain or count < 0:
            raise pickle.UnpicklingError("it holds something that is no plain storage")
        if self.named.setdefault(key, kind.name) != kind.name:
            raise pickle.UnpicklingError(f"storage {key[:100]!r} is said to hold two kinds of numbers")
        return _Storage(key, kind.name, count)

    @property
    def _make_dictionary(self) -> _Call:
        def make(pairs: Any = ()) -> _Dictionary:
            # Written with its content by Python 2, empty since. A pickle can have one content copied often.
            self.to_copy -= len(pairs)
            if not isinstance(pairs, (list, tuple, dict)) or self.to_copy < 0:
                msg = "an ordered dictionary must be made of pairs, each of them in the file"
                raise pickle.UnpicklingError(msg)
            return _Dictionary(pairs)

        return _Call(make)


class _Call:
    """A function that a pickle may call, and can do nothing else with."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, _state: Any) -> None:
        raise pickle.UnpicklingError("it tries to change a function")


def _make_tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_unused: Any) -> _Tensor:
    if type(storage) is not _Storage:
        raise pickle.UnpicklingError(f"a tensor must be made of a storage, got {type(storage).__name__}")
    whole = all(type(axes) is tuple and len(axes) <= _MOST_AXES for axes in (shape, strides))
    if not whole or not all(type(n) is int for n in (offset, *shape, *strides)):
        msg = f"a tensor must have an offset, and up to {_MOST_AXES} sizes and steps, in whole numbers"
        raise pickle.UnpicklingError(msg)
    return _Tensor(storage, offset, shape, strides)


def _make_parameter(tensor: _Tensor, *_unused: Any) -> _Tensor:
    if type(tensor) is not _Tensor:
        raise pickle.UnpicklingError(f"a parameter must be made of a tensor, got {type(tensor).__name__}")
    return tensor


class _Resolver:
    """Puts arrays in the place of tensors; each object and each storage is done once, however often named."""

    def __init__(self, read_storage: Callable[[_Storage], np.ndarray]) -> None:
        self.read_storage = read_storage
        self.storages: dict[_Storage, np.ndarray] = {}
        self.done: dict[int, Any] = {}
        self.kept: list[Any] = []  # what an id in `done` belongs to must live as long as that

    def resolve(self, value: Any) -> Any:
        if not isinstance(value, (_Tensor, _Storage, _Kind, _Call, InertObject, dict, list, tuple)):
            return value
        if id(value) not in self.done:
            self.kept.append(value)
            self.done[id(value)] = self._resolve_new(value)
        return self.done[id(value)]

    def _resolve_new(self, value: Any) -> Any:
        if isinstance(value, _Tensor):
            return self._view(value)
        if isinstance(value, (_Storage, _Kind, _Call)):
            raise pickle.UnpicklingError(
                f"it holds a bare {type(value).__name__.strip('_').lower()} where tensors and settings belong"
            )
        if isinstance(value, InertObject):
            self.done[id(value)] = value  # before its content, which may hold the object itself
            value.__dict__ = self.resolve(value.__dict__)
            return value
        if isinstance(value, dict):
            made = self.done[id(value)] = {}
            made.update((key, self.resolve(item)) for key, item in value.items())
            return made
        if isinstance(value, list):
            items = self.done[id(value)] = []
            items.extend(self.resolve(item) for item in value)
            return items
        return tuple(self.resolve(item) for item in value)

    def _view(self, tensor: _Tensor) -> np.ndarray:
        if tensor.storage not in self.storages:
            self.storages[tensor.storage] = self.read_storage(tensor.storage)
        storage = self.storages[tensor.storage]
        last = tensor.offset + sum(
            (n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True)
        )
        if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0 or last >= max(storage.size, 1):
            raise ValueError(f"a tensor of shape {tensor.shape} reaches outside its {storage.size} numbers")
        if math.prod(tensor.shape) > storage.size:
            raise ValueError(f"a tensor of shape {tensor.shape} repeats its {storage.size} numbers")
        strides = tuple(step * storage.itemsize for step in tensor.strides)
        return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides)


def _in_numpy(numbers: np.ndarray, kind: str) -> np.ndarray:
    """In the machine's own byte order, and in a type that NumPy has."""
    native = numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
    return (native.astype("u4") << 16).view("f4") if kind == _BFLOAT16 else native
