import argparse
import ast
import re
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest

from zoobot import options as config
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Options, add_arguments, check_record, setting
from zoobot.shared.speech import in_flags


@dataclass(frozen=True, kw_only=True)
class Place(Options):
    title: ClassVar[str] = "Where"

    folder: str = setting(MISSING, "where things go", metavar="FOLDER")


@dataclass(frozen=True, kw_only=True)
class Everything(Place):
    title: ClassVar[str] = "What"

    count: int = setting(3, "how many", at_least=1, below=10)
    rate: float = setting(0.5, "how fast", above=0)
    hdu: int | str | None = setting(None, "which extension")
    blocks: int | Literal["all"] = setting(0, "which blocks", at_least=0)
    names: tuple[str, ...] = setting((), "called what")
    span: tuple[float, float] = setting((1.0, 2.0), "from, to; 50% of it")
    weights: tuple[float | Literal["balanced"], ...] | None = setting(None, "weights")
    kind: Literal["a", "b"] | None = setting(None, "which kind")
    on: bool = setting(True, "do it")
    force: bool = setting(False, "do it anyway")


def parse(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser, Everything)
    return vars(parser.parse_args(list(words)))


def test_only_what_is_given_is_parsed():
    assert parse() == {}
    assert parse("--folder", "x", "--count", "4") == {"folder": "x", "count": 4}


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--hdu", "1"], "hdu", 1),
        (["--hdu", "SCI"], "hdu", "SCI"),
        (["--blocks", "all"], "blocks", "all"),
        (["--blocks", "2"], "blocks", 2),
        (["--names", "ring"], "names", ("ring",)),
        (["--names", "a", "b", "c"], "names", ("a", "b", "c")),
        (["--span", "1", "1.5"], "span", (1.0, 1.5)),
        (["--weights", "balanced"], "weights", ("balanced",)),
        (["--weights", "1", "2.5"], "weights", (1.0, 2.5)),
        (["--kind", "b"], "kind", "b"),
        (["--no-on"], "on", False),
        (["--force"], "force", True),
    ],
)
def test_words_become_typed_values(words, name, value):
    options = Everything.from_config(parse("--folder", "x", *words))
    assert getattr(options, name) == value
    assert type(getattr(options, name)) is type(value)


@pytest.mark.parametrize(
    "words",
    [["--count", "many"], ["--kind", "c"], ["--span", "1"], ["--blocks", "some"], ["--weights", "heavy"]],
)
def test_words_of_the_wrong_kind_end_the_parser(words, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*words)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "count must be at least 1 and below 10, got 0"),
        ({"count": 2.5}, "count must be a whole number, got 2.5"),
        ({"count": True}, "count must be a whole number, got True"),
        ({"rate": "fast"}, "rate must be a number, got 'fast'"),
        ({"rate": 0}, "rate must be above 0, got 0"),
        ({"rate": float("nan")}, "rate must be above 0, got nan"),
        ({"blocks": "some"}, "blocks must be one of 'all', a whole number, got 'some'"),
        ({"blocks": -1}, "blocks must be at least 0, got -1"),
        ({"kind": "c"}, "kind must be one of 'a', 'b', got 'c'"),
        ({"span": (1.0,)}, "span must be 2 values"),
        ({"names": ("a", 1)}, "names must be text"),
        ({"on": "yes"}, "on must be True or False, got 'yes'"),
        ({"on": None}, "on must be True or False, got None"),
    ],
)
def test_values_that_cannot_work_are_refused(values, message):
    with pytest.raises(ConfigError) as caught:
        Everything(folder="x", **values)
    assert message in str(caught.value)


def test_python_values_are_taken_kindly():
    options = Everything(folder=Path("results") / "x", rate=1, names="ring", span=[1, 2])
    assert options.folder == str(Path("results") / "x")
    assert (options.rate, options.names, options.span) == (1.0, ("ring",), (1.0, 2.0))


def test_json_and_back():
    options = Everything(folder="x", names=("a", "b"), weights=("balanced",), hdu="SCI")
    config = options.to_config()
    assert config["names"] == ["a", "b"]
    assert Everything.from_config(config) == options


def test_an_unknown_name_says_which_is_near():
    with pytest.raises(ConfigError, match="unknown option 'cuont': did you mean 'count'"):
        Everything.from_config({"folder": "x", "cuont": 3})


def test_a_missing_name_is_said_as_on_the_command_line():
    with pytest.raises(ConfigError, match="missing: --folder"):
        Everything.from_config({})


def test_help_groups_options_and_shows_defaults():
    parser = argparse.ArgumentParser()
    add_arguments(parser, Everything)
    text = parser.format_help().partition("options:")[2]
    assert text.index("Where:") < text.index("--folder") < text.index("What:") < text.index("--count")
    assert "how many (default: 3)" in text
    assert "50% of it (default: 1.0 2.0)" in text
    assert "--force, --no-force" not in text
    assert "SUPPRESS" not in text
    assert "None" not in text


def test_a_wrong_limit_is_a_programming_error():
    with pytest.raises(TypeError, match="limits must be among"):
        setting(1, "x", atleast=1)


# -- messages in the words of the command line ----------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("lacks 'id_str' (choose it with id_col=). Its", "lacks 'id_str' (choose it with --id-col). Its"),
        ("give another folder with root=. Mend", "give another folder with --root. Mend"),
        ("choose it with image_col", "choose it with --image-col"),
        ("drop them, or give more with mosaics=", "drop them, or give more with --mosaic"),
        ("split with method='random'", "split with --split random"),
        ("or colour='to-grey' with channels=1", "or --colour to-grey with --channels 1"),
        ("bands=(0, 1) asks", "--bands 0 1 asks"),
        ("missing_values=(-999.0, -99.0), or", "--missing-values -999.0 -99.0, or"),
        ("got val_fraction=1.5, test_fraction=0.0", "got --val-fraction 1.5, --test-fraction 0.0"),
        ("augment=False, or overwrite=True.", "--no-augment, or --overwrite."),
        ("set activation_views=0, which", "set --activation-views 0, which"),
        ("begin with a lower learning_rate, from", "begin with a lower --learning-rate, from"),
        ("precision must be text, got 3", "--precision must be text, got 3"),
        ("labels must be numbers, but column 'a'", "labels must be numbers, but column 'a'"),
        ("colour='to-rgb' (--colour to-rgb) repeats", "--colour to-rgb repeats"),
        ("with bands=('g', 'r') (--bands g r) or bands (--bands)", "with --bands g r or bands (--bands)"),
        # what is a user's own stays as it is
        ("its columns are 'id_col', 'val_fraction'", "its columns are 'id_col', 'val_fraction'"),
        ("can't read '/a b/root=1/save_dir.csv'", "can't read '/a b/root=1/save_dir.csv'"),
        ("can't read results/save_dir/x or a.save_dir", "can't read results/save_dir/x or a.save_dir"),
        ("--val-fraction and --id-col", "--val-fraction and --id-col"),
        ("pandas: dtype={'id_col': str}", "pandas: dtype={'id_col': str}"),
    ],
)
def test_messages_in_flags(message, said):
    assert in_flags(message, config.FinetuneOptions) == said


def test_names_that_a_command_does_not_have_stay():
    assert in_flags("colour='to-rgb' or root=", config.MergeOptions) == "colour='to-rgb' or root="


def test_every_message_of_the_library_that_names_an_option_can_be_said_in_flags():
    commands = [getattr(config, name) for name in dir(config) if name.endswith("Options")]
    found = 0
    for path in sorted((Path(config.__file__).parents[1]).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Raise | ast.Assign) and _is_message(node)):
                continue
            text = "".join(
                n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
            )
            for options in commands:
                names = "|".join(f.name for f in fields(options) if "_" in f.name)
                if names and re.search(rf"(?<![\w'\"/-])({names})=", text):
                    found += 1
                    left = re.search(rf"(?<![\w'\"/-])({names})=", in_flags(text, options))
                    assert left is None, f"{path.name}: {text}"
    assert found > 20


def _is_message(node):
    return isinstance(node, ast.Raise) or any(isinstance(t, ast.Name) and t.id == "msg" for t in node.targets)


@dataclass(frozen=True)
class Record:
    """As a checkpoint has it."""

    side_pix: int = 1
    scale: float | None = None
    kind: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ()
    limits: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self):
        check_record(self)


def test_a_record_keeps_its_values_as_they_are():
    record = Record(scale=2, names=["ring"], limits=np.array([0.0, 2.0]))
    assert (record.names, record.limits) == (("ring",), (0.0, 2.0))
    assert isinstance(record.scale, int)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"side_pix": "64"}, "side_pix must be a whole number, got '64'"),
        ({"side_pix": True}, "side_pix must be a whole number, got True"),
        ({"scale": float("nan")}, "scale must be a finite number or null, got nan"),
        ({"scale": 10**400}, "scale must be a finite number or null, got 1000"),
        ({"kind": "c"}, r"kind must be one of \('a', 'b'\), got 'c'"),
        ({"names": "ring"}, "names must be a list, each item text, got 'ring'"),
        ({"names": None}, "names must be a list, each item text, got None"),
        ({"names": [Path("ring")]}, "names must be a list, each item text, got"),
        ({"limits": [1, 2, 3]}, "limits must be a list of 2, each item a finite number, got"),
        ({"limits": {"low": 1, "high": 2}}, "limits must be a list of 2"),
    ],
)
def test_a_record_takes_nothing_for_something_else(values, words):
    with pytest.raises(ConfigError, match=words):
        Record(**values)
