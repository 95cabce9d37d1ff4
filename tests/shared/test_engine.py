import sys
from importlib.metadata import EntryPoint

import pytest

import zoobot
from zoobot.options.export import ExportOptions
from zoobot.options.groups import EngineOptions
from zoobot.shared import engine as engines
from zoobot.shared.engine import MIRRORED, choose_engine, engine_names, load_engine, usual_engine
from zoobot.shared.errors import EngineNotInstalledError, UnknownEngineError, ZoobotError


def test_an_unknown_engine_is_named_with_the_known():
    with pytest.raises(UnknownEngineError, match=r"one of \['pytorch', 'tensorflow'.*got 'jax'") as caught:
        load_engine("jax")
    assert isinstance(caught.value, ZoobotError)
    assert isinstance(caught.value, ValueError)


def test_zoobot_offers_it():
    assert zoobot.load_engine is load_engine


def test_an_engine_has_every_mirrored_module(engine):
    for name in MIRRORED:
        assert getattr(engine, name).__all__


def make_package(folder, name, modules, code=""):
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)
    for module in modules:
        (folder / name / f"{module}.py").write_text("__all__ = []")


@pytest.fixture
def announce(monkeypatch, tmp_path):
    """Let a package in tmp_path announce itself as an engine."""
    monkeypatch.syspath_prepend(str(tmp_path))
    points = {}
    monkeypatch.setattr(engines, "_announced", lambda: points)

    def add(name, package):
        points[name] = EntryPoint(name, package, engines.ENTRY_POINT_GROUP)

    yield add
    for package in [name for name in sys.modules if name.startswith("fake_engine")]:
        del sys.modules[package]


def test_another_package_can_bring_an_engine(announce, tmp_path):
    make_package(tmp_path, "fake_engine_whole", MIRRORED)
    announce("fake", "fake_engine_whole")
    assert engine_names() == ["pytorch", "tensorflow", "fake"]
    assert load_engine("fake").losses.__name__ == "fake_engine_whole.losses"


def test_a_missing_framework_says_what_to_install(announce, tmp_path):
    make_package(tmp_path, "fake_engine_bare", MIRRORED, "import no_such_framework")
    announce("fake", "fake_engine_bare")
    with pytest.raises(
        EngineNotInstalledError, match=r"the fake engine needs 'no_such_framework'.*pip install"
    ):
        load_engine("fake")


def test_our_own_engine_says_which_extra_to_install(monkeypatch):
    def import_module(name):
        raise ModuleNotFoundError(name="timm")

    monkeypatch.setattr(engines, "import_module", import_module)
    with pytest.raises(EngineNotInstalledError, match=r"needs 'timm'.*pip install 'zoobot\[pytorch\]'"):
        load_engine("pytorch")


def test_a_fault_inside_an_engine_is_not_called_a_missing_framework(announce, tmp_path):
    make_package(tmp_path, "fake_engine_torn", MIRRORED[1:])
    announce("fake", "fake_engine_torn")
    with pytest.raises(ModuleNotFoundError) as caught:
        load_engine("fake")
    assert not isinstance(caught.value, ZoobotError)


@pytest.mark.parametrize(
    ("asked", "installed", "chosen", "why"),
    [
        (None, {"torch", "tensorflow"}, "pytorch", ""),
        (None, {"tensorflow"}, "tensorflow", "the one that is installed"),
        (None, set(), "pytorch", ""),
        (" tensorflow ", {"torch"}, "tensorflow", "as the environment variable ZOOBOT_BACKEND says"),
        ("", {"torch"}, "pytorch", ""),
    ],
)
def test_the_usual_engine_is_the_environments_or_the_one_that_is_there(
    asked, installed, chosen, why, monkeypatch, caplog
):
    monkeypatch.delenv("ZOOBOT_BACKEND", raising=False)
    if asked is not None:
        monkeypatch.setenv("ZOOBOT_BACKEND", asked)
    monkeypatch.setattr(engines, "find_spec", lambda name: name in installed)
    assert usual_engine() == (chosen, why)
    with caplog.at_level("INFO", "zoobot"):
        assert (
            choose_engine() == EngineOptions().backend == ExportOptions(checkpoint="a", save_loc="b").backend
        )
    assert (f"Engine: {chosen}, {why}" in caplog.messages) == bool(why)
    assert choose_engine("pytorch") == EngineOptions(backend="pytorch").backend == "pytorch"


def test_an_engine_that_the_environment_makes_up_is_refused(monkeypatch):
    monkeypatch.setenv("ZOOBOT_BACKEND", "jax")
    for choose in (load_engine, EngineOptions):
        with pytest.raises(UnknownEngineError, match=r"ZOOBOT_BACKEND must be one of .*got 'jax'"):
            choose()
