"""Engines are told apart in one place."""

import ast
from pathlib import Path

import pytest

import zoobot
from zoobot.shared.engine import ENGINES

ROOT = Path(zoobot.__file__).parent
SOURCES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "shared" / "engine.py")


def comparisons_with_an_engine(source):
    """Line numbers where code compares with, matches or looks up the name of an engine."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        else:
            continue
        constants = [
            part.value for tree in parts for part in ast.walk(tree) if isinstance(part, ast.Constant)
        ]
        if set(ENGINES) & {value for value in constants if isinstance(value, str)}:
            lines.append(node.lineno)
    return lines


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
