"""Whether values that came from a file have the types that a dataclass declares."""

from __future__ import annotations

import math
import reprlib
import types
from collections.abc import Iterable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from zoobot.shared.errors import ConfigError

__all__ = ["check_field_types"]

_WORDS = {
    int: "a whole number",
    float: "a finite number",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


def check_field_types(record: Any) -> None:
    """Raise unless every field of a frozen dataclass has its declared type; lists become the tuples declared.

    Numbers of NumPy count as numbers, true and false do not, and a number must be finite.

    Args:
        record: A dataclass whose fields are numbers, text, tuples, literals, classes, or unions of them.

    Raises:
        ConfigError: Naming the field, what it may be, and what came.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Size:
        ...     side_pix: int
        >>> check_field_types(Size("64"))
        Traceback (most recent call last):
        zoobot.shared.errors.ConfigError: side_pix must be a whole number, got '64'
    """
    hints = get_type_hints(type(record))
    for name in (field.name for field in fields(record)):
        value = getattr(record, name)
        if any(get_origin(member) is tuple for member in _members(hints[name])) and _is_list(value):
            value = tuple(value)
            object.__setattr__(record, name, value)
        if not _fits(value, hints[name]):
            msg = f"{name} must be {_describe(hints[name])}, got {reprlib.repr(value)}"
            raise ConfigError(msg)


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))


def _members(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union; any other type is its own only alternative."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    return any(_fits_one(value, member) for member in _members(hint))


def _fits_one(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) is tuple:
        items = get_args(hint)
        expected = [items[0]] * len(value) if Ellipsis in items and isinstance(value, tuple) else items
        return isinstance(value, tuple) and len(value) == len(expected) and all(map(_fits, value, expected))
    if hint is float:
        return isinstance(value, Real) and not isinstance(value, bool) and _is_finite(value)
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    return isinstance(value, hint)


def _is_finite(number: Any) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _describe(hint: Any) -> str:
    return " or ".join(_describe_one(member) for member in _members(hint))


def _describe_one(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {get_args(hint)}"
    if get_origin(hint) is tuple:
        items = get_args(hint)
        if Ellipsis in items:
            return f"a list, each item {_describe(items[0])}"
        return f"a list of {len(items)}, each item {_describe(items[0])}"
    return _WORDS.get(hint) or f"a {hint.__name__}"
