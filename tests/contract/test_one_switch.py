"""Engines are told apart in one place."""

import ast
from pathlib import Path

import pytest

import zoobot
from zoobot.shared.engine import ENGINES

ROOT = Path(zoobot.__file__).parent
SOURCES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "shared" / "engine.py")


def comparisons_with_an_engine(source):
    """Line numbers where code compares with, matches or looks up the name of an engine.

    An engine and its framework may share a name: asking whether a module is loaded, or recording its version,
    is no choice of an engine.
    """
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Dict) and not all(is_version(value) for value in node.values):
            parts = [key for key in node.keys if key is not None]
        else:
            continue
        if set(ENGINES) & {text for part in parts for text in compared_texts(part)}:
            lines.append(node.lineno)
    return lines


def compared_texts(part):
    """The texts of an operand: itself, or the members of a tuple, list or set; not a call's arguments."""
    members = part.elts if isinstance(part, ast.Tuple | ast.List | ast.Set) else [part]
    return [m.value for m in members if isinstance(m, ast.Constant) and isinstance(m.value, str)]


def is_version(value):
    return isinstance(value, ast.Attribute) and value.attr == "__version__"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_branches_on_the_engine(path):
    assert comparisons_with_an_engine(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "if backend == 'pytorch': pass",
        "if name in ('pytorch', 'tensorflow'): pass",
        "match backend:\n    case 'tensorflow': pass",
        "makers = {'pytorch': int}",
    ],
)
def test_a_planted_branch_is_found(source):
    assert comparisons_with_an_engine(source)
