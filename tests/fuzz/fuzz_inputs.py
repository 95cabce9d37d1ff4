"""Hostile inputs, and what may come of them: a right answer, or an error of ours that people can read.

`fuzz` makes a test of a check and of strategies for its arguments. pytest runs few examples, the same every
time; `benchmarks/fuzz.py` runs the same checks for as long as it is told, from any seed.
"""

from __future__ import annotations

import atexit
import copy
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoobot.shared.errors import ZoobotError

LONGEST_MESSAGE = 20_000
"""Characters: a longer message means that an input was repeated in full, or many times."""

_FOLDER = Path(tempfile.mkdtemp(prefix="zoobot-fuzz-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


def fuzz(examples: int, **strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """A test of a check, whose arguments are drawn from the strategies."""

    def make_test(check: Callable[..., None]) -> Any:
        often = settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        test = often(given(**strategies)(check))
        test.check, test.strategies = check, strategies
        return test

    return make_test


def attempt(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What the function returns, or its error if it is one of ours; any other error is a defect."""
    try:
        return function(*args, **options)
    except ZoobotError as error:
        _check_error(error)
        return error


def _check_error(error: ZoobotError) -> None:
    message = str(error)
    assert type(error) is not ZoobotError
    assert message.strip()
    assert len(message) < LONGEST_MESSAGE, f"a message of {len(message):,} characters: {message[:300]}"


def refused(outcome: Any) -> bool:
    return isinstance(outcome, ZoobotError)


def fresh_folder() -> Path:
    """An empty folder, the same one for every input, so that a long run leaves little on the disk."""
    folder = _FOLDER / "input"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write(name: str, content: bytes) -> Path:
    path = fresh_folder() / name
    path.write_bytes(content)
    return path


#: Text as strangers type it: separators, quotes, line ends, NUL, what pandas takes for missing, emoji.
hostile_text = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "",
            " ",
            "NA",
            "nan",
            "null",
            "None",
            "\ufeff",
            '"',
            '""',
            "'",
            ",",
            ";",
            "\t",
            "\r",
            "\n",
            "\r\n",
            "\0",
        ]
    ),
    st.sampled_from(
        ["🌀", "日本", "a,b", 'a"b', "a\nb", "a b", "007", "1e5", "1.0", "-", "--5", "²", "١", "#", "=1"]
    ),
    st.integers(10**15, 10**21).map(str),
)

#: Numbers at the ends of what can be written down.
extreme_numbers = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, 5e-324, 1e-308, 1e308, 1.7976931348623157e308, -1.0, 1e16, 0.5, 1.0]),
)

json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 300),
        st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**400]),
        st.floats(),
        hostile_text.filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)

_EXTREMES = [b"\0", b"\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"]


@st.composite
def mutated(draw: Any, seeds: list[bytes]) -> bytes:
    """The bytes of a good file with a few faults: bits flipped, parts lost, doubled or overwritten."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        kind = draw(st.sampled_from(["flip", "overwrite", "cut", "drop", "double", "insert"]))
        if kind == "flip" and content:
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "overwrite":
            new = draw(st.one_of(st.sampled_from(_EXTREMES), st.binary(min_size=1, max_size=8)))
            content[place : place + len(new)] = new
        elif kind == "cut":
            del content[place:]
        elif kind == "drop":
            del content[place : place + draw(st.integers(1, 64))]
        elif kind == "double":
            content[place:place] = content[place : place + draw(st.integers(1, 64))]
        else:
            content[place:place] = draw(st.binary(min_size=1, max_size=16))
    return bytes(content)


@st.composite
def mutated_config(draw: Any, configs: list[Any]) -> Any:
    """A good configuration in which one to three entries, at any depth, are dropped, replaced or renamed."""
    config = copy.deepcopy(draw(st.sampled_from(configs)))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(config))
        if not places:
            break
        owner, key = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(["drop", "replace", "replace", "replace", "rename", "nest"]))
        if kind == "drop":
            del owner[key]
        elif kind == "replace":
            owner[key] = draw(json_values)
        elif kind == "nest":
            owner[key] = draw(st.sampled_from([[owner[key]], {"value": owner[key]}]))
        elif isinstance(owner, dict):
            owner[draw(st.text(max_size=8))] = owner.pop(key)
    return config


def _places(value: Any) -> Any:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for key in keys:
        yield value, key
        yield from _places(value[key])
