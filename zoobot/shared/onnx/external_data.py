"""Whether an ONNX file says that its weights lie in other files, found without the package `onnx`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["names_other_files"]

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
        msg = f"its graphs lie more than {_MOST_DEEP} deep in each other"
        raise ValueError(msg)
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
            msg = f"it has a field of the unknown form {form}"
            raise ValueError(msg)
        if place > len(message):
            msg = "it ends too early"
            raise ValueError(msg)
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
    msg = "it ends within a number, or has one of more than 64 bits"
    raise ValueError(msg)
