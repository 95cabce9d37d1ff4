"""What is in memory after an import, seen from a clean interpreter."""

import pkgutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

import zoobot
import zoobot.shared
import zoobot.workflow
from zoobot.shared.engine import ENGINES

FRAMEWORKS = {"torch", "torchvision", "timm", "lightning", "pytorch_lightning", "pyro"}
FRAMEWORKS |= {"tensorflow", "tensorflow_probability", "keras", "tf_keras", "jax"}
HELP = "import zoobot.cli\ntry: zoobot.cli.main(['--help'])\nexcept SystemExit: pass"


def modules_of(package):
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [package.__name__, *(module.name for module in found)]


def loaded_after(code):
    """The top-level packages in memory after running `code` in a new interpreter."""
    probe = (
        f"{code}\nimport sys; print('LOADED', *sorted({{name.partition('.')[0] for name in sys.modules}}))"
    )
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    line = next(line for line in run.stdout.splitlines() if line.startswith("LOADED"))
    return set(line.split()[1:])


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import zoobot", id="zoobot"),
        pytest.param(HELP, id="help"),
        pytest.param("\n".join(f"import {name}" for name in modules_of(zoobot.shared)), id="shared"),
        pytest.param("\n".join(f"import {name}" for name in modules_of(zoobot.workflow)), id="workflow"),
    ],
)
def test_no_framework_is_loaded(code):
    assert loaded_after(code) & FRAMEWORKS == set()


@pytest.mark.parametrize("code", ["import zoobot", HELP], ids=["zoobot", "help"])
def test_start_up_loads_no_heavy_package(code):
    assert loaded_after(code) & {"numpy", "pandas", "matplotlib", "sklearn", "cv2", "rich"} == set()


@pytest.mark.parametrize("engine_name", [name for name in ENGINES if find_spec(f"zoobot.{name}")])
def test_an_engine_loads_no_other_framework(engine_name):
    if find_spec(ENGINES[engine_name]) is None:
        pytest.skip(f"{ENGINES[engine_name]} is not installed")
    others = {framework for name, framework in ENGINES.items() if name != engine_name}
    assert loaded_after(f"import zoobot; zoobot.load_engine({engine_name!r})") & others == set()


def test_every_name_of_the_package_is_found_when_it_is_asked_for():
    assert set(zoobot._HOMES) - {"shared", "sklearn"} == set(zoobot.__all__) - {"__version__"}
    for name in zoobot.__all__:
        assert name in dir(zoobot)
        assert getattr(zoobot, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        zoobot.no_such_name  # noqa: B018
