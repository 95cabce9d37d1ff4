"""What CONTRIBUTING and the architecture page say of the files is true."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[1]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
pytestmark = pytest.mark.skipif(
    not CONTRIBUTING.exists(), reason="the tests were moved away from the documents"
)

#: A place in the repository, as both documents write it.
PLACE = re.compile(r"`((?:zoobot|tests|benchmarks|docs|\.ci)/[^\s`]*|\.?[\w-]+\.(?:md|cfg|toml|yaml))`")
SEARCH = re.compile(r"`git grep -lE '(.+)' -- 'zoobot/\*\.py'`")


def read(path):
    return path.read_text(encoding="utf-8") if path.exists() else ""


def guides():
    """The sections of CONTRIBUTING that list the files to open: heading, text."""
    sections = [
        section.partition("\n") for section in re.split(r"^## ", read(CONTRIBUTING), flags=re.MULTILINE)
    ]
    return [(heading, text) for heading, _, text in sections if heading.startswith("To add ")]


def files_with(pattern):
    """The files of the library in which a line fits, as `git grep -lE` finds them."""
    files = sorted((ROOT / "zoobot").rglob("*.py"))
    return [file.relative_to(ROOT).as_posix() for file in files if re.search(pattern, read(file))]


@pytest.mark.parametrize("document", [CONTRIBUTING, ARCHITECTURE], ids=lambda path: path.name)
def test_every_place_that_is_named_exists(document):
    named = PLACE.findall(read(document))
    assert len(named) > 20
    assert [place for place in named if not (ROOT / place).exists()] == []


@pytest.mark.parametrize(
    "document",
    ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md"],
)
def test_every_link_into_the_repository_leads_somewhere(document):
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", read(ROOT / document))
    assert links
    assert [link for link in links if not (ROOT / document).parent.joinpath(link).exists()] == []


def test_what_is_added_now_and_then_has_its_list():
    subjects = " ".join(heading for heading, _ in guides())
    for subject in ("survey", "task", "verb", "encoders", "container", "trainer", "acquisition score"):
        assert subject in subjects


@pytest.mark.parametrize(("heading", "text"), guides(), ids=lambda value: value.partition("\n")[0])
def test_a_list_of_files_to_open_is_whole(heading, text):
    """What exists of its kind is wired in no file that the list keeps to itself."""
    (pattern,) = SEARCH.findall(text)
    wired = files_with(pattern)
    listed = set(PLACE.findall(text))
    assert wired, f"{heading}: nothing fits {pattern!r} any more; follow another example"
    assert [file for file in wired if file not in listed] == [], f"{heading}: list these in CONTRIBUTING.md"


@pytest.mark.parametrize(
    ("option", "engines_do_it"),
    [("checkpoint_minutes", False), ("ema_decay", True)],
    ids=["decided without tensors", "done with tensors"],
)
def test_an_option_of_the_trainer_is_declared_in_one_file_and_done_in_one_of_each_engine(
    option, engines_do_it
):
    wired = set(files_with(rf"\b{option}\b"))
    engines = {"zoobot/pytorch/trainer.py", "zoobot/tensorflow/trainer.py"} if engines_do_it else set()
    assert wired == {"zoobot/shared/training/finetune_settings.py"} | engines


@pytest.mark.parametrize(("subject", "most"), [("survey", 1), ("task", 8), ("acquisition score", 3)])
def test_what_is_added_now_and_then_is_added_in_few_files(subject, most):
    (text,) = (text for heading, text in guides() if heading.endswith(f" {subject}"))
    opened = [place for place in PLACE.findall(text) if place.startswith("zoobot/")]
    assert 1 <= len(opened) <= most


def test_every_room_is_on_the_architecture_page():
    rooms = {file.parent for file in (ROOT / "zoobot").glob("*/__init__.py")}
    rooms |= {file.parent for file in (ROOT / "zoobot" / "shared").glob("*/__init__.py")}
    named = set(PLACE.findall(read(ARCHITECTURE)))
    assert [
        room.name
        for room in sorted(rooms)
        if f"zoobot/{room.relative_to(ROOT / 'zoobot').as_posix()}/" not in named
    ] == []


def test_the_picture_is_text_that_runs_nothing_and_shows_every_room():
    picture = ROOT / "docs" / "architecture.svg"
    tags = {element.tag.rpartition("}")[2] for element in ET.parse(picture).iter()}
    assert tags <= {"svg", "title", "desc", "g", "rect", "text", "path"}
    words = read(picture)
    rooms = [file.parent.name for file in (ROOT / "zoobot" / "shared").glob("*/__init__.py")]
    assert [room for room in rooms if not re.search(rf"\b{room}\b", words)] == []


def test_commits_are_checked_by_what_the_extra_dev_installs():
    hooks = read(ROOT / ".pre-commit-config.yaml")
    assert re.findall(r"repo: (.*)", hooks) == ["local"]
    script = read(ROOT / ".ci" / "run")
    for entry in re.findall(r"entry: (.*)", hooks):
        assert entry.replace(" --force-exclude", "") in script
