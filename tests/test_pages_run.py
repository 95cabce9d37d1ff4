"""What the pages of concepts and how-to show runs, and prints what they say it prints.

A page's blocks of Python and of the shell run one after another in a folder of their own; those of how-to
begin in the folder that `docs/howto/index.md` leaves. Comments before a block say otherwise:
`<!-- not run: why -->`, and `<!-- fails -->` of what must end with an error. A block of text holds lines that
the block before it printed; … stands for what was left out. Numbers may differ where something was trained,
since processors round differently.
"""

import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from zoobot.cli import main

DOCS = Path(__file__).parents[1] / "docs"
BASE = DOCS / "howto" / "index.md"
pytestmark = pytest.mark.skipif(not BASE.exists(), reason="the tests were moved away from the pages")

BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^>]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
NEEDS = {
    "engines": ["tensorflow"],
    "export": ["onnx", "onnxscript", "onnxruntime"],
    "containers": ["datasets"],
}


def is_notebook(page):
    """Whether the site runs it, and shows what came out."""
    return page.read_text(encoding="utf-8").startswith("---\nfile_format: mystnb")


PAGES = [page for folder in ("concepts", "howto", ".") for page in sorted((DOCS / folder).glob("*.md"))]
PAGES = [
    page for page in PAGES if page != BASE and not is_notebook(page) and BLOCK.search(page.read_text("utf-8"))
]


def run(block, names):
    """Whether all went well; what is printed goes where it goes."""
    if block["language"] == "python":
        exec(compile(block["text"], "a page", "exec"), names)
        return True
    done = True
    for line in block["text"].splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["zoobot"]:
            done &= main(words[1:]) == 0
        elif words:
            shell = subprocess.run(line, shell=True, check=False, capture_output=True, text=True)
            sys.stdout.write(shell.stdout + shell.stderr)
            done &= shell.returncode == 0
    return done


def flat(text, *, numbers):
    """Without line ends and columns; and without numbers, where they may differ."""
    return " ".join(text.split() if numbers else re.sub(r"\d+(\.\d+)?", "0", text).split())


def run_page(page, capsys):
    names, printed = {"__name__": "__main__"}, ""
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        mark, told = block["mark"] or "", {"numbers": page.parent.name == "concepts"}
        if block["language"] == "text" and not mark.startswith("not output"):
            pieces = [piece for line in block["text"].splitlines() for piece in line.split("…")]
            missing = [piece for piece in pieces if flat(piece, **told) not in flat(printed, **told)]
            assert missing == [], f"not among what is printed:\n{printed}"
        if block["language"] in ("python", "bash") and not mark.startswith("not run"):
            assert run(block, names) != (mark == "fails"), block["text"] + "".join(capsys.readouterr())
            printed = "".join(capsys.readouterr())


@pytest.fixture(scope="module")
def beginning(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def start(beginning, tmp_path, monkeypatch, capsys):
    """A function that goes to the folder in which a page begins."""

    def go(page):
        monkeypatch.setenv("COLUMNS", "120")
        if page.parent.name != "howto":
            monkeypatch.chdir(tmp_path)
            return
        if not any(beginning.iterdir()):
            monkeypatch.chdir(beginning)
            run_page(BASE, capsys)
        shutil.copytree(beginning, tmp_path / "own")
        monkeypatch.chdir(tmp_path / "own")

    return go


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_page_runs_and_prints_what_it_says(page, start, capsys):
    missing = [name for name in ["torch", *NEEDS.get(page.stem, [])] if find_spec(name) is None]
    if missing:
        pytest.skip(f"{missing} not installed")
    start(page)
    run_page(page, capsys)


def test_a_page_that_lies_is_found(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("```python\nprint('so')\n```\n\n```text\nso … not\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="not among what is printed"):
        run_page(page, capsys)
    page.write_text("```bash\nzoobot schemas nowhere\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="zoobot schemas nowhere"):
        run_page(page, capsys)
