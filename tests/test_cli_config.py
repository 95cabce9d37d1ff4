"""Options from files, files of options, and completion in shells."""

import json
import subprocess
import sys

import pytest

from zoobot import cli, workflow
from zoobot.cli.config_files import read_config_file, write_config
from zoobot.cli.parser import COMMANDS
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import kinds_of

FINETUNE = COMMANDS["finetune"]
BOMB = (
    "labels: [&a1 [x]" + "".join(f", &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(1, 30)) + "]\n"
)


@pytest.fixture
def taken(monkeypatch):
    """The options that a verb is run with, which does nothing."""
    seen = []
    for name in COMMANDS:
        monkeypatch.setattr(workflow, COMMANDS[name].function or name, seen.append)
    return seen


def config(tmp_path, text, name="my.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_options_come_from_a_file_and_the_command_line_comes_first(tmp_path, taken):
    text = "catalog: rings.csv\nlabels: [ring]\nsave-dir: results/rings\nlearning_rate: 1e-4\nn-blocks: all\n"
    file = config(tmp_path, text + "flip: no\nzoom: [1, 1.5]\nmax-epochs: null\n")
    assert cli.main(["finetune", "--config", file, "--save-dir", "elsewhere"]) == 0
    (options,) = taken
    assert (options.save_dir, options.labels, options.learning_rate) == ("elsewhere", ("ring",), 1e-4)
    assert (options.n_blocks, options.flip, options.zoom, options.max_epochs) == (
        "all",
        False,
        (1, 1.5),
        None,
    )


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_what_is_printed_is_read_back_as_the_same_options(name, tmp_path):
    command = COMMANDS[name]
    needed = {
        k.name: ["a b", "no"] if k.is_list else "1" for k in kinds_of(command.options).values() if k.required
    }
    file = config(tmp_path, write_config(command, needed))
    found = read_config_file(file, command)
    kinds = kinds_of(command.options)
    left_out = {k for k in kinds if k not in found}
    assert all(kinds[k].default in (None, ()) or k in ("resume", "overwrite") for k in left_out)
    assert {k: kinds[k].accept(v) for k, v in found.items()} == {
        k: kinds[k].accept(needed.get(k, kinds[k].default)) for k in found
    }


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_choice_and_text_that_looks_like_nothing_comes_back(name, tmp_path):
    command = COMMANDS[name]
    for kind in kinds_of(command.options).values():
        texts = ["none", "null", "", "~", "no"] if str in kind.types else []
        for value in [*kind.choices, *texts]:
            asked = kind.accept([value] * (kind.length or 1) if kind.is_list else value)
            file = config(tmp_path, write_config(command, {kind.name: asked}))
            if kind.name not in ("resume", "overwrite"):
                assert kind.accept(read_config_file(file, command)[kind.name]) == asked, kind.name


def test_what_is_left_blank_is_what_holds_without(tmp_path):
    file = config(tmp_path, "root:\nmosaic:\nzoom: [1, 2]\nmax-epochs: ~\n")
    assert read_config_file(file, FINETUNE) == {
        "root": None,
        "mosaic": (),
        "zoom": (1.0, 2.0),
        "max_epochs": None,
    }
    assert read_config_file(config(tmp_path, write_config(COMMANDS["info"], {})), COMMANDS["info"]) == {}


def test_errors_and_usage_name_the_command_alone(capsys):
    with pytest.raises(SystemExit):
        cli.main(["finetune", "--batch-size", "many"])
    assert "\nzoobot finetune: error: argument --batch-size" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["demo", "--help"])
    assert capsys.readouterr().out.startswith("usage: zoobot demo [-h]")


def test_a_printed_file_explains_every_option_and_runs_nothing(taken, capsys):
    assert cli.main(["merge", "results/survey", "--partial", "--print-config"]) == 0
    out = capsys.readouterr().out
    assert "folder: results/survey\n" in out
    assert "partial: true\n" in out
    assert "# save-loc: (needed)\n" in out
    assert "# merge the parts that are there, even if some are missing\n" in out
    assert not taken


def test_the_record_of_another_run_is_a_config(tmp_path, taken):
    options = {"catalog": "a.csv", "labels": ["ring"], "save_dir": "old", "n_blocks": 2, "overwrite": True}
    record = config(tmp_path, json.dumps({"work": "finetune", "options": options}), "run.json")
    assert cli.main(["finetune", "--config", record, "--save-dir", "new"]) == 0
    (again,) = taken
    assert (again.catalog, again.n_blocks, again.save_dir, again.overwrite) == ("a.csv", 2, "new", False)


@pytest.mark.parametrize(
    ("text", "name", "match"),
    [
        ("n_bloks: 2\n", "a.yaml", "a.yaml: unknown option 'n_bloks': did you mean 'n_blocks'"),
        ("layer_decay: 0.5\n", "a.yaml", "it is lr_decay= here"),
        ("n-blocks: 2\nn_blocks: 3\n", "a.yaml", "says --n-blocks twice"),
        ("n-blocks: some\n", "a.yaml", "--n-blocks must be one of 'all', a whole number, got 'some'"),
        ("flip: perhaps\n", "a.yaml", "--flip must be True or False, got 'perhaps'"),
        ("progress: [true]\n", "a.yaml", "a.yaml: progress must be True or False, got"),
        ("patience:\n", "a.yaml", "a.yaml: patience must be a whole number, got None"),
        ("limits: [0, nan]\n", "a.yaml", "a.yaml: limits must be a finite number"),
        ("zoom: {low: 1}\n", "a.yaml", "--zoom must be a value or a list"),
        ("labels: [{a: 1}]\n", "a.yaml", "--labels must be a value or a list"),
        (BOMB, "a.yaml", "--labels must be a value or a list of values$"),
        ("- 1\n", "a.yaml", "must hold options by their names"),
        ("a: [\n", "a.yaml", "not valid YAML"),
        ("[" * 100_000, "a.json", "not valid JSON|nested"),
        ('{"work": "train", "options": {}}', "run.json", "is of a run of `zoobot train`"),
        ('{"work": 3, "options": {}}', "run.json", "is of a run of `zoobot 3`"),
        ("{", "run.json", "not valid JSON"),
        ("\udcff", "a.yaml", "not valid YAML"),
    ],
)
def test_a_file_that_cant_work_is_refused(text, name, match, tmp_path):
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=match):
        read_config_file(str(path), FINETUNE)


@pytest.mark.parametrize("name", ["no.yaml", "no.json"])
def test_a_file_that_is_not_there_is_said(name, tmp_path, capsys):
    assert cli.main(["finetune", "--config", str(tmp_path / name)]) == 2
    assert f"can't read the config file {tmp_path / name}: No such file" in capsys.readouterr().err


def test_an_option_with_a_wrong_value_is_refused_where_it_is_printed_too(capsys):
    assert cli.main(["finetune", "--print-config", "--zoom", "1", "-2"]) == 2
    assert "zoom must be above 0" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_shells_can_complete_commands_options_and_files(shell, capsys):
    assert cli.main(["--print-completion", shell]) == 0
    out = capsys.readouterr().out
    assert "finetune" in out
    assert "--n-blocks" in out or "n-blocks" in out


def test_bash_completes(tmp_path):
    script = subprocess.run(
        [sys.executable, "-m", "zoobot", "--print-completion", "bash"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (tmp_path / "z.sh").write_text(script)
    ask = (
        "source z.sh; COMP_WORDS=(zoobot fine); COMP_CWORD=1; _shtab_zoobot; echo ${COMPREPLY[@]};"
        "COMP_WORDS=(zoobot finetune --n-bl); COMP_CWORD=2; _shtab_zoobot; echo ${COMPREPLY[@]}"
    )
    said = subprocess.run(
        ["bash", "-c", ask], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    assert said.split() == ["finetune", "--n-blocks"]


def test_public_modules_are_found_under_their_former_names():
    code = (
        "import warnings; warnings.simplefilter('ignore'); from zoobot.shared.config import FinetuneOptions; "
        "import zoobot.shared.simulate.drawing as old; import zoobot.simulate.drawing as new; "
        "from zoobot.shared.options.engine import EngineOptions; "
        "from zoobot.shared.config import *; LoopOptions; "
        "from zoobot.shared import similarity; from zoobot.options.finetune import FinetuneOptions as same; "
        "assert old is new and new.__spec__.name == 'zoobot.simulate.drawing'; "
        "assert same is FinetuneOptions; "
        "warnings.simplefilter('error');\n"
        "try:\n    import zoobot.shared.rating\nexcept DeprecationWarning as said:\n    print(said)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "zoobot.shared.rating is zoobot.rating now\n"
