"""What README and the pages of docs/ tell people to type exists, and runs."""

import ast
import importlib
import inspect
import os
import re
import shlex
import shutil
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from zoobot import cli
from zoobot.cli.parser import COMMANDS, build_parser
from zoobot.shared.engine import ENGINES
from zoobot.shared.settings import kinds_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").exists() else ""
pytestmark = pytest.mark.skipif(not README, reason="the tests were moved away from the README")

#: README and the site's own pages, by their paths.
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if path.exists() and "made" not in path.parts
}
#: A block, after a comment that says why it is not run, if it isn't.
BLOCK = re.compile(
    r"(?:<!-- (?:not run: (?P<why>[^>]+?)|(?P<marked>\w+) command|[\w ]+) -->\n)?"
    r"```(?P<language>\w+)\n(?P<text>.*?)```",
    re.DOTALL,
)


def blocks(language):
    """The text of every block of a language."""
    found = [block for page in PAGES.values() for block in BLOCK.finditer(page)]
    return [block["text"] for block in found if block["language"] == language]


def commands(text):
    """The `zoobot …` lines of a text, without what comes before or after them in a shell line."""
    whole = text.replace("\\\n", " ")
    lines = [part.strip() for line in whole.splitlines() for part in line.split("&&")]
    lines = [re.sub(r"^(\S*/|srun )zoobot ", "zoobot ", line) for line in lines]
    return [line for line in lines if re.match(r"zoobot [a-z]", line)]


README_COMMANDS = [command for text in blocks("bash") for command in commands(text)]
HELP_COMMANDS = commands(
    "\n".join([build_parser().epilog, *(command.epilog for command in COMMANDS.values())])
)


def check(command):
    """Parse a command as the shell would hand it over, and check its options together."""
    words = shlex.split(command, comments=True)[1:]
    given = vars(build_parser().parse_args(words))
    command = COMMANDS[given["command"]]
    given = command.read(given)
    kept = command.completed_by and "catalog" not in given  # the others stand in the campaign's folder
    if not (given.get("resume") or given.get("config") or kept):
        known = kinds_of(command.options)
        command.options.from_config({name: value for name, value in given.items() if name in known})


def test_there_are_commands_to_check():
    assert len(README_COMMANDS) > 10
    assert len(HELP_COMMANDS) > 10


@pytest.mark.parametrize("command", sorted({*README_COMMANDS, *HELP_COMMANDS} - {"zoobot schemas gz2"}))
def test_every_command_parses(command):
    check(re.split(r"  +(?=[a-z])", command)[0])  # a help text explains some in a second column


def test_a_wrong_command_would_be_found():
    with pytest.raises(SystemExit):
        check("zoobot finetune --catalog rings.csv --labels ring --save-dir r --no-such-option")


@pytest.mark.parametrize("marker", ["demo", "test"])
def test_the_marked_commands_are_one_line_from_nothing(marker):
    (command,) = re.findall(rf"<!-- {marker} command -->\n```bash\n(.*?)\n```", README, flags=re.DOTALL)
    assert "\n" not in command
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -e ")
    extras = re.search(r"\[(.*?)\]", command)[1].split(",")
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    for extra in extras:
        assert re.search(rf"^{extra} =$", setup, flags=re.MULTILINE), extra


def test_the_full_check_finds_the_test_command():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "<!-- test command -->" in script


def resolve(node, names):
    """What a dotted name in a block stands for; None for what only exists at run time."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(resolve(node.value, names), node.attr, None)
    return None


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if "```python" in text])
def test_every_import_and_call_of_the_python_blocks_of_a_page_exists(page):
    found = [match["text"] for match in BLOCK.finditer(PAGES[page]) if match["language"] == "python"]
    block = "\n".join(found)  # one goes on with what another made
    for name, framework in ENGINES.items():
        if f"zoobot.{name}" in block and find_spec(framework) is None:
            pytest.skip(f"{framework} is not installed")
    names = {}
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Import):
            names |= {alias.name: importlib.import_module(alias.name) for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                try:
                    names[alias.name] = importlib.import_module(f"{node.module}.{alias.name}")
                except ModuleNotFoundError:
                    names[alias.name] = getattr(importlib.import_module(node.module), alias.name)
    for node in ast.walk(ast.parse(block)):
        function = resolve(node.func, names) if isinstance(node, ast.Call) else None
        if getattr(function, "__module__", None) and function.__module__.startswith("zoobot"):
            given = {word.arg: word.value for word in node.keywords if word.arg}
            signature = inspect.signature(function)
            (signature.bind if len(given) == len(node.keywords) else signature.bind_partial)(
                *node.args, **given
            )


def test_the_extras_named_in_the_readme_exist():
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    page = PAGES["docs/start/installation.md"]
    named = re.search(r"^Extras: (.*?)\n(\n|\Z)", page, flags=re.MULTILINE | re.DOTALL)[1]
    for extra in re.findall(r"`(\w+)`", named):
        assert re.search(rf"^{extra} =$", setup, flags=re.MULTILINE), extra


def test_every_file_in_the_table_of_results_is_one_that_runs_leave():
    from zoobot.workflow import run_folder

    page = PAGES["docs/reference/formats.md"]
    table = re.search(r"\| file \| what it holds \|.*?\n\n", page, flags=re.DOTALL)[0]
    named = re.findall(r"`([\w.]+\.(?:txt|json|parquet|png|csv))`", table)
    assert set(named) <= set(run_folder.RUN_FILES)
    assert len(named) > 6


def test_the_readme_is_short():
    assert README.count("\n") <= 250
    for marker, language in (("five commands", "bash"), ("five lines", "python")):
        (block,) = re.findall(rf"<!-- {marker} -->\n```{language}\n(.*?)```", README, flags=re.DOTALL)
        assert len([line for line in block.splitlines() if line]) <= 5


def zoobot(command, more=""):
    """Run a command of the command line in this process."""
    words = [*shlex.split(command, comments=True), *more.split()]
    assert cli.main([*words[words[0] == "zoobot" :]]) == 0, command


@pytest.fixture(scope="module")
def world(tmp_path_factory, all_undrawn):
    """A folder with what the pages take as given."""
    for package in ("torch", "astropy"):
        pytest.importorskip(package)
    spec = spec_from_file_location("page_world", Path(__file__).with_name("page_world.py"))
    page_world = module_from_spec(spec)
    spec.loader.exec_module(page_world)
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        page_world.make_world(folder, zoobot)
    return folder


def runs(page):
    """The blocks of a page that are run, in their order."""
    found = [*BLOCK.finditer(PAGES[page])]
    return [
        block
        for block in found
        if block["language"] in ("bash", "python") and not (block["why"] or block["marked"])
    ]


#: The others are run by tests/test_pages_run.py, or are notebooks.
RUN_HERE = re.compile(r"README\.md|docs/(start|guides)/")
#: What is added to commands, so that they take a second: a tiny network, and one pass.
QUICK = {
    "finetune": " --encoder resnet10t --image-size-pix 32 --max-epochs 1",
    "loop": " --encoder resnet10t --image-size-pix 32 --start 4 --per-round 4 --rounds 1 --seeds 1",
    "explain": " --steps 2",
}


def clear_for(text):
    """Remove what a command, or a call, would find of an earlier one, and refuse to replace."""
    for place in re.findall(r"(?:--save-(?:dir|loc) |save_(?:dir|loc)=\")([\w./]+)", text):
        if "--resume" not in text:
            shutil.rmtree(place) if Path(place).is_dir() else Path(place).unlink(missing_ok=True)


def link_weights(source, target):
    """Copy, but for weights, which are large and never written into."""
    return (os.link if source.endswith(".safetensors") else shutil.copy2)(source, target)


@pytest.mark.parametrize("page", [page for page in PAGES if RUN_HERE.match(page) and runs(page)])
def test_what_a_page_tells_to_type_runs(page, world, tmp_path, monkeypatch):
    here = shutil.copytree(world, tmp_path / "here", copy_function=link_weights)
    monkeypatch.chdir(here)
    images = sorted(map(str, Path("decals/images").iterdir()))
    names = {"paths": images[:16], "classes": ["ring", "other"] * 8, "new_paths": images[16:20]}
    for block in runs(page):
        if block["language"] == "python":
            clear_for(block["text"])
            exec(block["text"].replace("max_epochs=50", "max_epochs=1"), names)
        for command in commands(block["text"]) if block["language"] == "bash" else ():
            clear_for(command)
            zoobot(command, QUICK.get(command.split()[1], ""))


def test_what_is_not_run_says_why():
    every = [
        block for page in PAGES.values() for block in BLOCK.finditer(page) if block["language"] == "bash"
    ]
    silent = [b["text"] for b in every if not (commands(b["text"]) or b["why"] or b["marked"])]
    assert silent == [], "these blocks run nothing; say why in a comment before them: <!-- not run: … -->"
    assert all(len(block["why"].split()) > 2 for block in every if block["why"])
