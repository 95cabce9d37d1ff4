"""What the README tells people to type exists."""

import ast
import importlib
import inspect
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from zoobot.cli.parser import COMMANDS, build_parser
from zoobot.shared.engine import ENGINES
from zoobot.shared.settings import kinds_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").exists() else ""
pytestmark = pytest.mark.skipif(not README, reason="the tests were moved away from the README")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands(text):
    """The `zoobot …` lines of a text, without what comes before or after them in a shell line."""
    lines = [part.strip() for line in text.splitlines() for part in line.split("&&")]
    return [
        re.sub(r"^\S*/zoobot ", "zoobot ", line) for line in lines if re.match(r"(\S*/)?zoobot [a-z]", line)
    ]


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


@pytest.mark.parametrize("block", blocks("python"))
def test_every_import_and_call_of_a_python_block_exists(block):
    for name, framework in ENGINES.items():
        if f"zoobot.{name}" in block and find_spec(framework) is None:
            pytest.skip(f"{framework} is not installed")
    names = {}
    calls = 0
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
        if function is not None:
            inspect.signature(function).bind(*node.args, **{k.arg: k.value for k in node.keywords})
            calls += 1
    assert calls


def test_the_extras_named_in_the_readme_exist():
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    named = re.search(r"^Extras: (.*?)\n\n", README, flags=re.MULTILINE | re.DOTALL)[1]
    for extra in re.findall(r"`(\w+)`", named):
        assert re.search(rf"^{extra} =$", setup, flags=re.MULTILINE), extra


def test_every_file_in_the_table_of_results_is_one_that_runs_leave():
    from zoobot.workflow import run_folder

    table = re.search(r"\| file \| what it holds \|.*?\n\n", README, flags=re.DOTALL)[0]
    named = re.findall(r"`([\w.]+\.(?:txt|json|parquet|png|csv))`", table)
    assert set(named) <= set(run_folder.RUN_FILES)
    assert len(named) > 6
