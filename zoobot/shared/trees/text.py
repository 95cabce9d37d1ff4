"""A schema as text: plain values for JSON, a YAML file to read and edit, a tree drawn for the terminal."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared.errors import SchemaError, ZoobotError
from zoobot.shared.html import escape

if TYPE_CHECKING:
    from zoobot.shared.trees.questions import Question

# A few lines of YAML aliases can stand for gigabytes of text, so messages show the beginning of a value only.
_NULL = "tag:yaml.org,2002:null"
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxstring = _SHORT.maxother = 200
_shown = _SHORT.repr


def size(questions: Sequence[Question]) -> str:
    """The size of a tree in words: '10 questions, 34 answers'."""
    answers = sum(len(question.answers) for question in questions)
    return f"{_count(len(questions), 'question')}, {_count(answers, 'answer')}"


def to_config(name: str, questions: Sequence[Question]) -> dict[str, Any]:
    """The schema as JSON-ready values: its name, and a list of questions with answers and parents."""
    entries = []
    for question in questions:
        entry: dict[str, Any] = {
            "question": question.text,
            # reading leaves out one leading underscore
            "answers": ["_" * answer.text.startswith("_") + answer.text for answer in question.answers],
        }
        if question.parents:
            entry["parents"] = list(question.parents)
        if question.campaign:
            entry["campaign"] = question.campaign
        entries.append(entry)
    return {"name": name, "questions": entries}


def pairs_from_config(
    config: Mapping[str, Any],
) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, str]]:
    """The answers, the parents and the campaign of each question, checked, from what `to_config` gave.

    Raises:
        SchemaError: If an entry is missing, unknown or of the wrong kind, or a question is repeated.
    """
    _check_entry(config, "the schema", required=("name", "questions"))
    _text(config["name"], "'name'")
    if not isinstance(config["questions"], list):
        raise SchemaError(f"'questions' must be a list of questions, got {_shown(config['questions'])}")
    answers: dict[str, list[str]] = {}
    parents: dict[str, list[str]] = {}
    campaigns: dict[str, str] = {}
    for place, entry in enumerate(config["questions"], start=1):
        what = f"question {place}"
        _check_entry(entry, what, required=("question", "answers"), optional=("parents", "campaign"))
        text = _text(entry["question"], f"{what}: 'question'")
        if text in answers:
            raise SchemaError(f"{what}: question {text!r} given more than once")
        answers[text] = _texts(entry["answers"], f"{what} ({text!r}): 'answers'")
        parents[text] = _texts(entry.get("parents") or [], f"{what} ({text!r}): 'parents'")
        campaigns[text] = _text(entry.get("campaign") or "", f"{what} ({text!r}): 'campaign'")
    return answers, parents, campaigns


def write_yaml(config: Mapping[str, Any], path: str | Path) -> None:
    """Write plain values to a YAML file."""
    import yaml  # late, as below: help is quicker without

    style = {"sort_keys": False, "default_flow_style": None, "width": 110}
    text = yaml.safe_dump(dict(config), allow_unicode=True, **style)
    if any(rare_break in text for rare_break in "\x85\u2028\u2029"):
        text = yaml.safe_dump(dict(config), **style)  # escaped: PyYAML reads these back as other breaks
    Path(path).write_text(text, encoding="utf-8")


def read_yaml(
    path: str | Path,
    *,
    what: str = "schema",
    holds: str = "'name' and 'questions'",
    error_class: type[ZoobotError] = SchemaError,
    nulls: bool = False,
) -> dict[str, Any]:
    """The plain values in a YAML file, every scalar as the text it was written with.

    YAML would else read the answers `yes`, `no` and `1` as True, False and a number.

    Args:
        path: The file.
        what: What it should be, for messages.
        holds: What it should hold, for messages.
        error_class: What is raised.
        nulls: Whether nothing, `~` and `null` without quotes are None, and a file without any value is empty.

    Raises:
        SchemaError: If the file is missing, not UTF-8, not YAML, repeats a key, or is not a mapping; or the
            class that was asked for.
    """
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
        config = yaml.load(text, Loader=_loader(nulls=nulls))  # safe: it makes only str, list and dict
    except OSError as error:
        raise error_class(f"can't read the {what} file {path}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise error_class(f"{path} is not valid YAML: {error}") from error
    except RecursionError as error:
        raise error_class(f"{path} is nested too deeply to be a {what}") from error
    if nulls and not config:
        return {}
    if not isinstance(config, dict):
        raise error_class(f"{path} must hold {holds}, got {_shown(config)}")
    return config


def draw(name: str, questions: Sequence[Question]) -> str:
    """The tree as text: questions marked ▸ under the answer that leads to them.

    A question that nothing follows stands on one line with its answers; one with several parents is drawn
    in full under the first, and by name under the others.
    """
    children: dict[str, list[Question]] = {}
    for question in questions:
        for parent in question.parents:
            children.setdefault(parent, []).append(question)
    lines = [f"{name} ({size(questions)})"]
    drawn: set[str] = set()
    waiting: list[tuple[str, str | Question]] = [("", q) for q in reversed(questions) if not q.parents]
    while waiting:  # a stack and not recursion: a tree may be deeper than Python's limit
        indent, piece = waiting.pop()
        if isinstance(piece, str):
            lines.append(indent + piece)
        else:
            waiting += reversed(_pieces(piece, indent, children, drawn))
    return "\n".join(lines)


def _pieces(
    question: Question, indent: str, children: dict[str, list[Question]], drawn: set[str]
) -> list[tuple[str, str | Question]]:
    """A question as its lines, and the questions that its answers lead to, each with its indentation."""
    if question.text in drawn:
        return [(indent, f"▸ {question.text} (as above)")]
    drawn.add(question.text)
    if not any(answer.label_col in children for answer in question.answers):
        return [(indent, f"▸ {question.text}: " + " · ".join(answer.text for answer in question.answers))]
    pieces: list[tuple[str, str | Question]] = [(indent, f"▸ {question.text}")]
    for answer in question.answers:
        last = answer is question.answers[-1]
        pieces.append((indent, ("└─ " if last else "├─ ") + answer.text))
        below = indent + ("   " if last else "│  ")
        pieces += [(below, child) for child in children.get(answer.label_col, [])]
    return pieces


def draw_html(name: str, questions: Sequence[Question]) -> str:
    """The same tree as nested lists for a notebook, whose branches fold."""
    children: dict[str, list[Question]] = {}
    for question in questions:
        for parent in question.parents:
            children.setdefault(parent, []).append(question)
    parts = [f"<b>{escape(name)}</b> ({size(questions)})<ul>"]
    drawn: set[str] = set()
    waiting: list[str | Question] = ["</ul>", *(q for q in reversed(questions) if not q.parents)]
    while waiting:
        piece = waiting.pop()
        if isinstance(piece, str):
            parts.append(piece)
        else:
            waiting += reversed(_html_pieces(piece, children, drawn))
    return "".join(parts)


def _html_pieces(
    question: Question, children: dict[str, list[Question]], drawn: set[str]
) -> list[str | Question]:
    asked = f"<b>{escape(question.text)}</b>"
    if question.text in drawn:
        return [f"<li>{asked} (as above)</li>"]
    drawn.add(question.text)
    if not any(answer.label_col in children for answer in question.answers):
        return [f"<li>{asked}: {' · '.join(escape(answer.text) for answer in question.answers)}</li>"]
    pieces: list[str | Question] = [f"<li><details open><summary>{asked}</summary><ul>"]
    for answer in question.answers:
        below = children.get(answer.label_col, [])
        pieces.append(f"<li>{escape(answer.text)}")
        if below:
            pieces += ["<ul>", *below, "</ul>"]
        pieces.append("</li>")
    return [*pieces, "</ul></details></li>"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _check_entry(entry: Any, what: str, *, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    if not isinstance(entry, Mapping):
        raise SchemaError(f"{what} must hold {list(required)}, got {_shown(entry)}")
    missing = [key for key in required if key not in entry]
    unknown = [key for key in entry if key not in required + optional]
    if missing or unknown:
        msg = f"{what} must hold {list(required)} (and may hold {list(optional)}), got {_shown(list(entry))}"
        raise SchemaError(msg)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise SchemaError(f"{what} must be text, got {_shown(value)}")
    return value


def _texts(value: Any, what: str) -> list[str]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise SchemaError(f"{what} must be a list of texts, got {_shown(value)}")
    return value


def _loader(*, nulls: bool) -> Any:
    """PyYAML's reader of text, lists and dicts, which refuses a key given twice instead of dropping one."""
    import yaml

    class Loader(yaml.BaseLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            mapping = super().construct_mapping(node, deep)
            if len(mapping) < len(node.value):
                keys = _shown([key.value for key, _ in node.value])
                words = f"a key is given more than once; the keys are {keys}"
                raise yaml.constructor.ConstructorError(None, None, words, node.start_mark)
            return mapping

    if nulls:
        Loader.add_implicit_resolver(_NULL, re.compile(r"~|null|Null|NULL|\Z"), ["~", "n", "N", ""])
        Loader.add_constructor(_NULL, lambda loader, node: None)
    return Loader
