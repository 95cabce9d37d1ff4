"""Options as frozen dataclasses: one list of names, types, defaults and help for Python and the command line.

A field declared by `setting` says what it means and which values can work. A dataclass made of such fields
checks itself when it is made, becomes command-line options by `add_arguments`, and goes to JSON and back.
"""

from __future__ import annotations

import argparse
import ast
import math
import operator
import os
import reprlib
import shlex
import types
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from numbers import Integral, Real
from pathlib import PurePath
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from zoobot.shared.errors import ConfigError
from zoobot.shared.public_names import unknown_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "InMemory",
    "Kind",
    "Options",
    "add_arguments",
    "brief",
    "check_record",
    "kinds_of",
    "refuse",
    "setting",
    "with_default",
]

OptionsType = TypeVar("OptionsType", bound="Options")

_LIMITS = {"at_least": operator.ge, "above": operator.gt, "at_most": operator.le, "below": operator.lt}
#: How shells complete the names of files, in the words of shtab, which writes their completion.
_FILES = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
#: What stands in the help for files and folders.
_PATHS = ("FILE", "FOLDER", "FEATURES", "RESULTS", "SESSION")
_LONGEST_VALUE = 200
_OWN: tuple[type, ...] = (bool, int, float)
_TYPE_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "True or False"}
_RECORD_WORDS = _TYPE_WORDS | {float: "a finite number", bool: "true or false"}


def setting(default: Any, meaning: str, *, metavar: str | None = None, **limits: float) -> Any:
    """A dataclass field that knows its help text and which numbers can work.

    Args:
        default: Value where none is given; `dataclasses.MISSING` makes the option required.
        meaning: One or two lines for a reader who meets the option for the first time.
        metavar: What stands for the value in the help, such as "FILE".
        **limits: Any of at_least, above, at_most and below.

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Sizes(Options):
        ...     image_size_pix: int = setting(224, "side of the image", at_least=1)
        >>> Sizes(image_size_pix=128).to_config()
        {'image_size_pix': 128}
    """
    unknown = set(limits) - set(_LIMITS)
    if unknown:
        raise TypeError(f"limits must be among {list(_LIMITS)}, got {sorted(unknown)}")
    return field(default=default, metadata={"help": meaning, "metavar": metavar, "limits": limits})


def refuse(message: str) -> NoReturn:
    """Raise a ConfigError: for the checks of options."""
    raise ConfigError(message)


def with_default(options: type[Options], name: str, default: Any) -> Any:
    """An option as another class declares it, help and limits, with another default.

    Args:
        options: Where it is declared.
        name: Of the option.
        default: Value where none is given.

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Sizes(Options):
        ...     image_size_pix: int = setting(224, "side of the image", at_least=1)
        >>> @dataclass(frozen=True, kw_only=True)
        ... class SmallSizes(Sizes):
        ...     image_size_pix: int = with_default(Sizes, "image_size_pix", 64)
        >>> SmallSizes().image_size_pix
        64
    """
    (declared,) = (spec for spec in fields(options) if spec.name == name)
    return field(default=default, metadata=declared.metadata)


class InMemory(str):
    """What stands for something in memory where an option names a file: a text for messages and records.

    Args:
        text: What it is, in angle brackets, which no path begins with.
        thing: The thing itself.

    Example:
        >>> InMemory("<a table in memory of 3 rows>", [1, 2, 3]).thing
        [1, 2, 3]
    """

    thing: Any

    def __new__(cls, text: str, thing: Any) -> InMemory:  # noqa: D102
        new = super().__new__(cls, text)
        new.thing = thing
        return new

    def __getnewargs__(self) -> tuple[str, Any]:  # type: ignore[override]
        return str(self), self.thing


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of all option dataclasses: checks its values when made, and goes to JSON and back.

    A subclass gives a `title`, which heads its own fields in the command line's help; fields inherited from
    other `Options` stay under theirs.
    """

    title: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for kind in kinds_of(type(self)).values():
            object.__setattr__(self, kind.name, kind.accept(getattr(self, kind.name)))
        self.check()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__repr__ = Options.__repr__  # type: ignore[method-assign]  # dataclasses keep what is there

    def __repr__(self) -> str:
        told = {
            kind.name: getattr(self, kind.name)
            for kind in kinds_of(type(self)).values()
            if kind.required or getattr(self, kind.name) != kind.default
        }
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in told.items())})"

    def check(self) -> None:
        """Raise a ConfigError where values can't work together; subclasses say when."""

    def to_config(self) -> dict[str, Any]:
        """The options as JSON-ready values."""
        values = {name: getattr(self, name) for name in kinds_of(type(self))}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    def to_paths(self) -> dict[str, Any]:
        """The absolute paths of those options that name files or folders, JSON-ready; the others are absent.

        What may also be a name (of a model, an encoder, a decision tree) is a path where such a file is.
        """
        found: dict[str, Any] = {}
        for kind in kinds_of(type(self)).values():
            value = getattr(self, kind.name)
            if kind.is_path or (kind.may_be_path and value):
                paths = [_absolute(item, must_exist=not kind.is_path) for item in listed(value)]
                if paths and None not in paths:
                    found[kind.name] = paths if kind.is_list else paths[0]
        return found

    @classmethod
    def missing(cls, config: Mapping[str, Any]) -> list[str]:
        """The flags of options that must be given and are not."""
        return [kind.flag for kind in kinds_of(cls).values() if kind.required and kind.name not in config]

    @classmethod
    def from_config(cls: type[OptionsType], config: Mapping[str, Any]) -> OptionsType:
        """The options back from `to_config`, or from any mapping of names to values.

        Raises:
            ConfigError: If a name is unknown, one without default is missing, or a value can't work.
        """
        kinds = kinds_of(cls)
        for name in config:
            if name not in kinds:
                raise ConfigError(unknown_option(name, kinds))
        missing = cls.missing(config)
        if missing:
            msg = f"missing: {', '.join(missing)}"
            given = {kind.flag: config.get(kind.name) for kind in kinds.values() if kind.is_list}
            took = [flag for flag, got in given.items() if isinstance(got, list | tuple) and len(got) > 1]
            if took:
                msg += f"; {', '.join(took)} took all up to the next option: put the others first"
            raise ConfigError(msg)
        return cls(**config)


def add_arguments(parser: argparse.ArgumentParser, options: type[Options]) -> None:
    """Add one command-line option for each field of an options dataclass, under the title of its class.

    An option that is not given is absent from the parsed namespace, so that
    `options.from_config(vars(namespace))` knows what was asked for and what is a default.

    Args:
        parser: The parser to add to.
        options: The dataclass; its bases' fields come first, each base under its own title.
    """
    groups: dict[str, Any] = {}
    for kind in kinds_of(options).values():
        owner = next(c for c in reversed(options.__mro__) if kind.name in vars(c).get("__annotations__", {}))
        title = getattr(owner, "title", "")
        group = groups.setdefault(title, None) or parser.add_argument_group(title)
        groups[title] = group
        words = [kind.flag] if len(kind.name) > 1 else [f"-{kind.name}", kind.flag]
        action: Any = group.add_argument(*words, dest=kind.name, default=argparse.SUPPRESS, **kind.argument())
        if kind.is_path or kind.may_be_path:
            action.complete = _FILES  # which shtab looks at


def kinds_of(options: type[Options]) -> dict[str, Kind]:
    """What each option is, by its name, in the order of the help."""
    hints = _hints_of(cast("Any", options))  # mypy takes its __hash__ for that of an instance
    return {spec.name: Kind(spec, hints[spec.name]) for spec in fields(options)}


@cache
def _hints_of(options: Any) -> dict[str, Any]:
    """The types of a class's fields, which take Python long to work out."""
    return get_type_hints(options)


class Kind:
    """What one field accepts, read from its type, for the check, the command line and files of options."""

    def __init__(self, spec: Field[Any], hint: Any) -> None:
        self.name = spec.name
        self.default = spec.default
        self.required = spec.default is MISSING
        self.help: str = spec.metadata.get("help", "")
        self.metavar: str | None = spec.metadata.get("metavar")
        self.limits: dict[str, float] = spec.metadata.get("limits", {})
        members = _members(hint)
        self.optional = type(None) in members
        items = next((get_args(m) for m in members if get_origin(m) is tuple), ())
        self.is_list = bool(items)
        self.length = None if Ellipsis in items else len(items)
        members = _members(items[0]) if items else members
        self.choices = tuple(c for m in members if get_origin(m) is Literal for c in get_args(m))
        self.types = tuple(m for m in members if get_origin(m) is None and m is not type(None))

    @property
    def is_path(self) -> bool:
        """Whether it names a file or a folder."""
        return self.metavar in _PATHS

    @property
    def may_be_path(self) -> bool:
        """Whether it is a name, or else a file or folder."""
        return self.metavar == "MODEL" or self.name in ("encoder", "schema")

    @property
    def flag(self) -> str:
        """What it is called on the command line."""
        return "--" + self.name.replace("_", "-")

    def given(self, text: str | None) -> str:
        """How a user gives a value, written as in Python; without one, the flag."""
        if text is None:
            return self.flag
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        if value is None or value is False:
            return f"no {self.flag}" if value is None or not self.default else f"--no-{self.flag[2:]}"
        if value is True:
            return self.flag
        return " ".join([self.flag, *(shlex.quote(str(item)) for item in listed(value))])

    def accept(self, value: Any) -> Any:
        """The value in its own type, lists as tuples and paths as text, or a ConfigError."""
        if value is None and self.optional:
            return None
        if not self.is_list:
            return self._accept_one(value, value)
        items = tuple(self._accept_one(item, value) for item in listed(value))
        if self.length is not None and len(items) != self.length:
            self._refuse(f"{self.length} values", value)
        return items

    def _accept_one(self, item: Any, given: Any) -> Any:
        if isinstance(item, InMemory) and self.metavar == "FILE":
            return item
        if isinstance(item, (str, PurePath)):
            item = str(item)  # a text of NumPy's is one, too
        if isinstance(item, Real) and type(item) not in _OWN:
            item = int(item) if isinstance(item, Integral) else float(item)  # a scalar of NumPy's
        if type(item) is int and int not in self.types and float in self.types:
            item = _as_float(item)
        if isinstance(item, str) and item in self.choices:
            return item
        if type(item) not in self.types:
            self._refuse(self._expected(), given)
        if isinstance(item, (int, float)):
            self._check_limits(item, given)
        return item

    def _check_limits(self, number: float, given: Any) -> None:
        if not all(_LIMITS[word](number, limit) for word, limit in self.limits.items()):
            stated = [f"{word.replace('_', ' ')} {limit:g}" for word, limit in self.limits.items()]
            self._refuse(" and ".join(stated), given)
        if not math.isfinite(_as_float(number)):
            self._refuse("a finite number", given)

    def _expected(self) -> str:
        parts = [repr(choice) for choice in self.choices] + [_TYPE_WORDS[t] for t in self.types]
        return parts[0] if len(parts) == 1 else f"one of {', '.join(parts)}"

    def _refuse(self, expected: str, got: Any) -> NoReturn:
        raise ConfigError(f"{self.name} must be {expected}, got {brief(got)}")

    def argument(self) -> dict[str, Any]:
        """The keyword arguments of argparse's `add_argument`."""
        argument: dict[str, Any] = {"help": f"{self.help}{self._default_words()}".replace("%", "%%")}
        if bool in self.types:
            return argument | {"action": self._flag_action()}
        if self.is_list:
            argument["nargs"] = self.length or "+"
        if self.choices and not self.types:
            return argument | {"choices": self.choices}
        value = self.metavar or ("TEXT" if str in self.types else "N")
        return argument | {"type": self.parse, "metavar": "|".join([*self.choices, value])}

    def _flag_action(self) -> Any:
        """A flag with its contrary, unless that is what holds without it."""
        return argparse.BooleanOptionalAction if self.default or self.optional else "store_true"

    def _default_words(self) -> str:
        if self.required or self.default in (None, False, ()):
            return ""
        if self.default is True:
            return " (default: yes)"
        return f" (default: {' '.join(map(str, listed(self.default)))})"

    def parse(self, text: str) -> Any:
        """One value from the text of the command line, or of a file."""
        if text in self.choices:
            return text
        if bool in self.types and text.lower() in _TRUTHS:
            return _TRUTHS[text.lower()]
        for kind in (int, float):
            if kind in self.types:
                try:
                    return kind(text)
                except ValueError:
                    continue
        if str in self.types:
            return text
        raise argparse.ArgumentTypeError(f"must be {self._expected()}, got {text!r}")


def check_record(record: Any) -> None:
    """Raise unless each field of a frozen dataclass that may come from a file has its type.

    Lists become tuples; unlike an option's, a value stays what it is, and one alone is no list of one.

    Args:
        record: A dataclass whose fields are numbers, text, tuples, literals, classes, or unions of them.

    Raises:
        ConfigError: Naming the field, what it may be, and what came.

    Example:
        >>> @dataclass(frozen=True)
        ... class Size:
        ...     side_pix: int
        >>> check_record(Size("64"))
        Traceback (most recent call last):
        zoobot.shared.errors.ConfigError: side_pix must be a whole number, got '64'
    """
    hints = get_type_hints(type(record))
    for spec in fields(record):
        value = _KindOfRecord(spec, hints[spec.name]).accept(getattr(record, spec.name))
        object.__setattr__(record, spec.name, value)


class _KindOfRecord(Kind):
    """What one field of a record accepts."""

    def accept(self, value: Any) -> Any:
        """The value, a list as a tuple, or a ConfigError."""
        if self.is_list and not (value is None and self.optional):
            if not hasattr(value, "__iter__") or isinstance(value, (str, bytes, dict)):
                self._refuse("a list", value)
            value = tuple(value)
        super().accept(value)
        return value

    def _accept_one(self, item: Any, given: Any) -> Any:
        if isinstance(item, tuple(kind for kind in self.types if kind not in _TYPE_WORDS)):
            return item  # a schema, or a class derived from it
        return self._refuse("text", given) if isinstance(item, PurePath) else super()._accept_one(item, given)

    def _check_limits(self, number: float, given: Any) -> None:
        if isinstance(number, float):  # the record has its own limits of whole numbers
            super()._check_limits(number, given)

    def _expected(self) -> str:
        kinds = [_RECORD_WORDS.get(kind, f"a {kind.__name__}") for kind in self.types]
        one = " or ".join([f"one of {self.choices}", *kinds] if self.choices else kinds)
        several = "a list" if self.length is None else f"a list of {self.length}"
        null = " or null" if self.optional else ""
        return f"{several}, each item {one}{null}" if self.is_list else f"{one}{null}"

    def _refuse(self, expected: str, got: Any) -> NoReturn:
        # cut short: a damaged file may hold any
        raise ConfigError(f"{self.name} must be {self._expected()}, got {reprlib.repr(got)}")


def _absolute(place: str, *, must_exist: bool) -> str | None:
    """A path from the root; None of what is none."""
    if isinstance(place, InMemory):
        return None
    path = os.path.abspath(os.path.expanduser(place))
    return None if "://" in place or (must_exist and not os.path.exists(path)) else path


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # more than 308 digits; it is refused like any other infinite number
        return math.inf


def _members(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union; any other type is its own only alternative."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def brief(value: object) -> str:
    """A value as Python writes it; of what is long, such as an array of pixels, a beginning and an end.

    Example:
        >>> brief("a.csv"), brief(list(range(1000)))
        ("'a.csv'", '[0, 1, 2, 3, 4, 5, ...]')
    """
    whole = repr(value)
    return whole if len(whole) <= _LONGEST_VALUE else " ".join(reprlib.repr(value).split())


def listed(value: Any) -> Iterable[Any]:
    """A single value stands for a list of one."""
    if value is None or value is MISSING:
        return ()
    return (value,) if isinstance(value, str) or not hasattr(value, "__iter__") else value
