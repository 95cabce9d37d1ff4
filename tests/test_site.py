"""The site in docs/ is built without a network and without a warning; its tutorials run while it is."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import zoobot
from zoobot.options import commands
from zoobot.shared import errors, schemas
from zoobot.shared.settings import kinds_of

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the tests were moved away from the site")


def build(docs, site, *options):
    """Build as Read the Docs does, where no network is."""
    for package in ("sphinx", "myst_nb", "torch"):
        pytest.importorskip(package)
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", *options, docs, site]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site, from a copy of its sources, since pages are made among them."""
    copy = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, copy / "docs", ignore=shutil.ignore_patterns("made", "build"))
    shutil.copytree(ROOT / "benchmarks", copy / "benchmarks")
    for included in [*ROOT.glob("*.md"), *ROOT.glob("zoobot/bundled/*/README.md")]:
        place = copy / included.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(included, place)
    built = build(copy / "docs", copy / "built")
    assert built.returncode == 0, built.stdout + built.stderr
    return copy / "built"


def test_every_link_option_and_tutorial_of_the_site_holds(site):
    assert (site / "index.html").exists()
    for tutorial in (DOCS / "tutorials").glob("*.md"):
        page = (site / "tutorials" / f"{tutorial.stem}.html").read_text(encoding="utf-8")
        is_notebook = "```{code-cell}" in tutorial.read_text(encoding="utf-8")
        assert is_notebook == ("cell_input" in page and "cell_output" in page)


def test_the_reference_has_all_that_the_code_has(site):
    made = site / "reference" / "made"
    pages = {page.relative_to(made).as_posix(): page.read_text("utf-8") for page in made.rglob("*.html")}
    front = pages["python/front.html"]
    verbs = commands()
    assert {name for name in verbs if f'id="zoobot.{name}"' in front} == set(verbs)
    for name, command in verbs.items():
        page = pages[f"commands/{name}.html"]
        places = [
            f'id="cmdoption-zoobot-{name}-{kind.flag[2:]}"' for kind in kinds_of(command.options).values()
        ]
        assert [place for place in places if place not in page] == []
    assert [
        name for name in vars(errors) if name.endswith("Error") and name not in pages["errors.html"]
    ] == []
    assert [name for name in schemas.names() if f"<h2>{name}" not in pages["trees.html"]] == []
    assert [name for name in zoobot.models().names if name not in pages["models.html"]] == []


def test_a_wrong_link_option_or_name_would_be_found(tmp_path):
    planted = tmp_path / "docs"
    planted.mkdir()
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    for name in ("made_from_code.py", "drawn_trees.py"):
        shutil.copy(DOCS / name, planted)
    without_engine = "\nimport made_from_code\nmade_from_code.PYTHON = {}\n"
    (planted / "conf.py").write_text((DOCS / "conf.py").read_text() + without_engine)
    (planted / "_static").mkdir()
    links = "[page](nowhere.md) [place](#no-heading)"
    (planted / "index.md").write_text(
        f"# Planted\n\n{links} {{option}}`zoobot --no-such` {{func}}`zoobot.fine`"
    )
    built = build(planted, tmp_path / "site", "-D", "exclude_patterns=reference", "-D", "html_css_files=")
    assert built.returncode != 0
    for wrong in ("nowhere.md", "no-heading", "--no-such", "zoobot.fine"):
        assert wrong in built.stderr
