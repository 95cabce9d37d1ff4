"""The examples in docstrings do what they say, in every module of the package."""

import doctest
import importlib
import pkgutil
from importlib.util import find_spec

import pytest

import zoobot
from zoobot.shared.engine import ENGINES

MODULES = [
    module.name
    for module in pkgutil.walk_packages(zoobot.__path__, "zoobot.", onerror=lambda name: None)
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    for engine, framework in ENGINES.items():
        if name.startswith(f"zoobot.{engine}") and find_spec(framework) is None:
            pytest.skip(f"{framework} is not installed")
    monkeypatch.chdir(tmp_path)  # some examples write files
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples_to_run():
    finder = doctest.DocTestFinder()
    found = finder.find(importlib.import_module("zoobot.shared.trees.tree"))
    assert sum(len(test.examples) for test in found) > 2
    assert len(MODULES) > 200


def test_a_wrong_example_would_be_found():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "planted", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test, out=lambda text: None).failed == 1
