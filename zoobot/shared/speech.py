"""What runs say, in the words of who listens: options are flags on the command line, keywords in Python."""

from __future__ import annotations

import argparse
import ast
import functools
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TextIO

from zoobot.shared.counting_bar import progress_stream
from zoobot.shared.errors import ZoobotError
from zoobot.shared.settings import Kind, Options, kinds_of, listed

__all__ = ["hear_progress", "heard", "in_flags", "in_keywords", "speak_of", "speaking_python", "spoken"]

#: What functions call by another name than the options of the command line.
_OTHER_NAMES = {
    "mosaics": "mosaic",
    "arcsec": "cutout_arcsec",
    "pix": "cutout_pix",
    "method": "split",
    "column": "split_column",
    "label_cols": "labels",
}

_VALUE = r"""'[^'\n]*'|"[^"\n]*"|\([^()\n]*\)|\[[^][\n]*\]|[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?|\w+"""

#: A flag, with or without a value, followed by itself in brackets.
_SAID_TWICE = re.compile(r"(--[a-z][^()\n]*?) \(\1\)")


def in_flags(message: str, options: type[Options]) -> str:
    """A message in the words of the command line: `--id-col` where Python says `id_col=`.

    Errors and notes come from functions that Python and the command line share, and speak of arguments:
    `split='random'`, `root=`, `image_col`. What stands in quotes (values, files, columns) stays as it is.

    Args:
        message: The message.
        options: The options of the command; names that it does not have stay as they are.

    Example:
        >>> from zoobot.options import SimilarOptions
        >>> in_flags("'a=1' lacks it: choose it with id_col=, or say id_col='name'", SimilarOptions)
        "'a=1' lacks it: choose it with --id-col, or say --id-col name"
    """
    # mypy takes the hash of a dataclass for that of its instances
    pattern, kinds = _spoken_names(options)  # type: ignore[arg-type]

    def say(found: re.Match[str]) -> str:
        name = found["name"] or found["first"] or found["word"]
        return found[0] if name is None else kinds[name].given(found["value"])

    # a message for Python and the command line that names both says the same twice now
    return _SAID_TWICE.sub(r"\1", pattern.sub(say, message))


def in_keywords(message: str, options: type[Options], given: Mapping[str, Any] | None = None) -> str:
    """A message in the words of Python: `id_col=` where the command line says `--id-col`.

    What stands in quotes, and commands to type in a terminal, stay as they are.

    Args:
        message: The message.
        options: The options of the verb; flags that it does not have stay as they are.
        given: What was given, by name: values that messages repeat.

    Example:
        >>> from zoobot.options import SimilarOptions
        >>> in_keywords("choose another --id-col, or give --overwrite", SimilarOptions)
        'choose another id_col=, or give overwrite=True'
    """
    kinds = _kinds(options)  # type: ignore[arg-type]  # mypy takes the hash of a dataclass for its instances'
    given = given or {}

    def say(found: re.Match[str]) -> str:
        if found["flag"] is None:
            return found[0]
        kind = kinds.get(found["flag"].replace("-", "_"))
        no = kind is None and found["flag"].startswith("no-")
        kind = kinds.get(found["flag"][3:].replace("-", "_")) if no else kind
        if kind is None:
            return found[0]
        if bool in kind.types:
            return f"{kind.name}={not no}{found['rest'] or ''}"
        return f"{kind.name}={_value_after(found['rest'] or '', kind, given.get(kind.name))}"

    own = {other: name for other, name in _OTHER_NAMES.items() if name in kinds and other not in kinds}
    said = _FLAGS.sub(say, message)
    if own:
        said = re.sub(rf"(?<![\w.'\"/=-])({'|'.join(own)})=(?!=)", lambda found: f"{own[found[1]]}=", said)
    return _SAID_TWICE_IN_PYTHON.sub(lambda found: found[1] or f"{found['bare']}=", said)


#: A command to type, something quoted, or a flag and the word after it.
_FLAGS = re.compile(
    r"`(?:zoobot|hf) [^`]*`|\b(?:zoobot|hf) [a-z]+ [^;)`\n]*|'[^'\n]*--[^'\n]*'"
    r"|(?<![\w-])--(?P<flag>[a-z][a-z-]*[a-z])(?P<rest> [^\s,;()]+)?"
)
_SAID_TWICE_IN_PYTHON = re.compile(r"\b([a-z_]+=[^\s()]*) \(\1\)|\b(?P<bare>[a-z_]+) \((?P=bare)=\)")


def _value_after(rest: str, kind: Kind, given: Any) -> str:
    """The value that follows a flag as Python writes it; other words follow an empty place."""
    word = rest.strip()
    end = word[len(word.rstrip(".:")) :]
    word = word.rstrip(".:")
    if word.isupper() and word.isalpha():  # FILE, N: to be filled in
        return word + end
    known = [str(one) for one in (*kind.choices, *listed(given))]
    if word in known or (kind.metavar in ("FILE", "FOLDER") and "." in word):
        try:
            return repr(kind.parse(word)) + end
        except argparse.ArgumentTypeError:
            return repr(word) + end
    try:
        number = ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return rest
    return f"{number}{end}" if isinstance(number, (int, float)) else rest


class _Voice(NamedTuple):
    options: type[Options]
    in_python: bool
    given: Mapping[str, Any]


_VOICE: _Voice | None = None


def speak_of(options: type[Options] | None) -> None:
    """Let `spoken` name the options of a command by its flags from now on; of None, as they are written."""
    global _VOICE  # noqa: PLW0603  one command runs at a time
    _VOICE = None if options is None else _Voice(options, False, {})


@contextmanager
def speaking_python(options: type[Options], given: Mapping[str, Any]) -> Iterator[None]:
    """Let `spoken` name the options of a verb as the keywords of its function, and its errors too.

    Args:
        options: The options of the verb.
        given: What was given, by name.
    """
    global _VOICE  # noqa: PLW0603
    before, _VOICE = _VOICE, _Voice(options, True, given)
    try:
        yield
    except ZoobotError as error:
        if len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (spoken(error.args[0]),)
        raise
    finally:
        _VOICE = before


def spoken(message: str) -> str:
    """A message as the user reads it: where a command runs, `--id-col` and not `id_col=`."""
    if _VOICE is None:
        return message
    if _VOICE.in_python:
        return in_keywords(message, _VOICE.options, _VOICE.given)
    return in_flags(message, _VOICE.options)


_kinds = functools.lru_cache(kinds_of)


@functools.lru_cache
def _spoken_names(options: type[Options]) -> tuple[re.Pattern[str], dict[str, Kind]]:
    """What finds the names of options in a message, and the option of each name."""
    own = kinds_of(options)
    known = {**{other: own[name] for other, name in _OTHER_NAMES.items() if name in own}, **own}
    names = "|".join(sorted(known, key=len, reverse=True))
    words = "|".join(sorted((name for name in known if "_" in name), key=len, reverse=True)) or "(?!)"
    pattern = (
        rf"(?<![\w.'\"/=-])(?P<name>{names})=(?!=)(?P<value>{_VALUE})?"  # with its value, or alone
        r"|(?<!\w)(?:'[^'\n]*'|\"[^\"\n]*\")"  # quoted: not ours
        rf"|^(?P<first>{names})(?= must be [^:]*, got )"
        rf"|(?<![\w.'\"/=-])(?P<word>{words})(?![\w'\"/=(-]|\.\w)"
    )
    return re.compile(pattern), known


def hear_progress() -> logging.Handler | None:
    """Let what the library logs appear, plainly; None where somebody listens to it already.

    Returns:
        What was added to the logger "zoobot".
    """
    logger = logging.getLogger("zoobot")
    handler = None
    if not logger.handlers:
        handler = _Plainly()
        handler.setFormatter(_PlainFormatter())
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(logging.INFO)
    return handler


@contextmanager
def heard() -> Iterator[None]:
    """Let what the library logs appear inside, unless somebody listens to it already."""
    logger = logging.getLogger("zoobot")
    if logger.isEnabledFor(logging.INFO) and logger.hasHandlers():
        yield
        return
    before = logger.level, logger.propagate
    handler = hear_progress()
    try:
        yield
    finally:
        if handler is not None:
            logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Plainly(logging.StreamHandler[TextIO]):
    """Writes to what stderr is by then: notebooks and tests replace it, and close the former one."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = progress_stream()
        super().emit(record)


class _PlainFormatter(logging.Formatter):
    """Progress as it is; anything worse with its level in front."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return f"{prefix}{spoken(record.getMessage())}"
