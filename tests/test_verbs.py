"""Every command is a function with the same options, on what is in memory too, in words of Python."""

import ast
import contextlib
import html
import inspect
import io
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from PIL import Image

import zoobot
from zoobot import cli
from zoobot.front import verbs
from zoobot.front.results import Result
from zoobot.options import commands
from zoobot.options.finetune import FinetuneOptions
from zoobot.options.predict import PredictAnywhereOptions
from zoobot.options.similar import SimilarOptions
from zoobot.shared.catalogs.given import as_option
from zoobot.shared.checkpoint import read_checkpoint
from zoobot.shared.counting_bar import CountingBar, tell
from zoobot.shared.engine import load_engine, usual_engine
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.schemas import Schema
from zoobot.shared.settings import InMemory, kinds_of
from zoobot.shared.speech import heard, in_keywords

pytestmark = pytest.mark.usefixtures("all_undrawn")

TINY = {
    "encoder": "resnet10t",
    "image_size_pix": 32,
    "batch_size": 8,
    "num_workers": 1,
    "accelerator": "cpu",
    "progress": False,
}


@pytest.fixture(scope="module")
def table(tiny_survey):
    """The galaxies, with absolute paths, in memory."""
    rows = pd.read_csv(tiny_survey, dtype={"id_str": str})
    return rows.assign(file_loc=[str(tiny_survey.parent / place) for place in rows["file_loc"]])


@pytest.fixture(scope="module")
def runs(table, tmp_path_factory):
    """By engine, a model finetuned on a table in memory, what was said, and where."""
    made = {}

    def run(engine_name):
        if engine_name not in made:
            folder, said = tmp_path_factory.mktemp("run") / engine_name, io.StringIO()
            with contextlib.redirect_stdout(said):
                result = zoobot.finetune(
                    table, labels="label_name", save_dir=folder, backend=engine_name, **TINY
                )
            made[engine_name] = result, said.getvalue()
        return made[engine_name]

    return run


@pytest.fixture
def finished(runs, engine_name):
    return runs(engine_name)


def test_every_command_is_a_function():
    assert set(zoobot._VERBS) == set(commands()) <= set(dir(zoobot)) & set(zoobot.__all__)
    for name, command in commands().items():
        verb = getattr(zoobot, name)
        parameters = inspect.signature(verb).parameters
        kinds = kinds_of(command.options)
        assert set(parameters) == set(kinds)
        for one in kinds.values():
            default = inspect.Parameter.empty if one.required else one.default
            assert parameters[one.name].default == default
            assert f"    {one.name}: " in verb.__doc__
        by_place = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        places = [place[0] for place in (command.place, command.second_place) if place]
        assert by_place == (places or (["catalog"] if "catalog" in kinds else []))
        assert not [one.flag for one in kinds.values() if re.search(rf"{one.flag}\b", verb.__doc__)]


def test_a_function_prints_what_the_command_prints(capsys):
    result = zoobot.schemas("gz_rings")
    by_function = capsys.readouterr()
    assert cli.main(["schemas", "gz_rings"]) == 0
    assert by_function == capsys.readouterr()
    assert by_function.out == f"{result.report()}\n"


def test_a_table_in_memory_is_learned_from(finished, table, engine_name):
    result, said = finished
    record = json.loads((result.save_dir / "run.json").read_text())
    assert record["options"]["catalog"] == str(as_option(table))
    assert record["options"]["catalog"].startswith("<a table in memory of 24 rows, SHA-256 ")
    assert "catalog" not in record["paths"]
    assert record["options"]["labels"] == ["label_name"]
    assert record["command"].startswith("zoobot.finetune(catalog='<a table in memory of 24 rows")
    assert f"backend='{engine_name}'" in record["command"]
    assert result.report() in said
    with pytest.raises(ConfigError, match=r"began with <a table in memory.*give it again, catalog="):
        zoobot.finetune(resume=True, save_dir=result.save_dir)
    with pytest.raises(ConfigError, match="is finished"):
        zoobot.finetune(table, resume=True, save_dir=result.save_dir)


def test_what_is_in_memory_gives_what_a_file_gives(finished, table, tiny_survey, tmp_path, engine_name):
    checkpoint = finished[0].save_dir
    given = {"file": tiny_survey, "table": Table.from_pandas(table), "paths": table["file_loc"].tolist()}
    how = {"batch_size": 8, "num_workers": 1, "progress": False, "backend": engine_name}
    for name, catalog in given.items():
        zoobot.predict(checkpoint, catalog=catalog, save_loc=tmp_path / f"{name}.csv", **how)
    file, memory, paths = (pd.read_csv(tmp_path / f"{name}.csv") for name in given)
    pd.testing.assert_frame_equal(file, memory)
    np.testing.assert_array_equal(file.iloc[:, 1:], paths.iloc[:, 1:])
    record = json.loads((tmp_path / "table.run.json").read_text())
    assert record["options"]["catalog"] == str(as_option(table))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"split": "group", "labels": "ring"}, "split='group' needs split_column="),
        ({"lables": "ring"}, "unknown option 'lables': did you mean 'labels'?"),
        ({"labels": "ring", "n_blocks": -1}, "n_blocks must be at least 0, got -1"),
        ({"labels": "ring", "task": "sorting"}, "task must be one of"),
        ({"labels": "ring", "mosaic": "a.fits"}, "mosaic= needs either cutout_arcsec= or cutout_pix="),
        ({"resume": True}, "resume=True needs save_dir= with an unfinished run, got"),
        ({"labels": "ring", "id_col": "name"}, "choose it with id_col="),
        ({"labels": "rong"}, "lacks 'rong' (did you mean 'ring'?)"),
    ],
)
def test_refusals_name_keywords(table, tmp_path, given, said):
    with pytest.raises((ConfigError, CatalogError)) as refused:
        zoobot.finetune(table, save_dir=tmp_path / "run", **given)
    assert said in str(refused.value)
    assert "--" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_what_is_missing_is_named_as_a_keyword():
    with pytest.raises(ConfigError, match=r"^missing: catalog=, save_loc=$"):
        zoobot.predict("zoobot-mini")
    with pytest.raises(ConfigError, match="predict takes checkpoint by place, and the rest by name; got 'b'"):
        zoobot.predict("zoobot-mini", "b")
    with pytest.raises(ConfigError, match="checkpoint was given twice: 'a' and checkpoint='b'"):
        zoobot.predict("a", checkpoint="b")
    with pytest.raises(ConfigError, match="push takes checkpoint and to by place, and the rest by name"):
        zoobot.push("a", "me/b", "c")
    with pytest.raises(ConfigError, match="to was given twice: 'me/b' and to='me/c'"):
        zoobot.push("a", "me/b", to="me/c")
    with pytest.raises(ConfigError, match="demo takes all options by name"):
        zoobot.demo("results")
    image = np.zeros((400, 400, 3), np.uint8)
    for ask in (
        lambda: zoobot.predict("a", image, save_loc="b.csv"),
        lambda: zoobot.similar("a", like=image, save_loc="b.csv"),
        lambda: zoobot.load(image),
    ):
        with pytest.raises(ConfigError, match=r"got array\(\[\[\[0, 0\.\.\.") as refused:
            ask()
        assert len(str(refused.value)) < 200


def test_workers_elsewhere_have_no_table_in_memory(table, tmp_path):
    place = tmp_path / "parts"
    with pytest.raises(ConfigError, match=r"can't read <a table in memory of 24 rows.*write it to a file"):
        zoobot.predict("zoobot-mini", catalog=table, save_loc=place, cluster="local", workers=2)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "choose another --save-dir, or replace it with --overwrite",
            "choose another save_dir=, or replace it with overwrite=True",
        ),
        ("--no-augment, or --overwrite.", "augment=False, or overwrite=True."),
        ("--split group needs --split-column", "split='group' needs split_column="),
        ("--n-blocks 0; thousands", "n_blocks=0; thousands"),
        ("--max-epochs N trains on", "max_epochs=N trains on"),
        ("With --save-dir a.csv they", "With save_dir='a.csv' they"),
        ("choose it with --id-col (--id-col). Its", "choose it with id_col=. Its"),
        ("split with method='random'", "split with split='random'"),
        ("as in `zoobot finetune --resume`, or", "as in `zoobot finetune --resume`, or"),
        ("next:\n  zoobot predict a --catalog b", "next:\n  zoobot predict a --catalog b"),
        ("it: calibrate it (zoobot calibrate MODEL --catalog FILE), and", None),
        ("hf download a/b --root x; then --root y", "hf download a/b --root x; then root= y"),
        ("red first, with bands (--bands), or", "red first, with bands=, or"),
        ("its column '--id-col'", "its column '--id-col'"),
        ("an option --not-ours", "an option --not-ours"),
        ("of --encoder old.pt", "of encoder='old.pt'"),
    ],
)
def test_messages_in_keywords(message, said):
    assert in_keywords(message, FinetuneOptions, {"encoder": "old.pt"}) == (said or message)


def test_a_value_that_was_given_is_known_again():
    assert in_keywords("--cluster pbs:x needs --workers", PredictAnywhereOptions, {"cluster": "pbs:x"}) == (
        "cluster='pbs:x' needs workers="
    )


def test_what_stands_for_a_table_differs_with_it():
    frame = pd.DataFrame({"id_str": ["a", "b"], "ring": [0, 1]})
    texts = {str(as_option(one)) for one in (frame, frame[::-1], frame.assign(ring=0), frame[["id_str"]])}
    assert len(texts) == 4
    assert as_option(frame) == as_option(Table.from_pandas(frame))
    assert as_option(Path("a.csv")) == "a.csv"
    assert not isinstance(as_option("a.csv"), InMemory)
    lists = pd.DataFrame({"id_str": ["a"], "box": [[1, 2]]})
    assert as_option(lists).startswith("<a table in memory of 1 row,")
    assert as_option(np.zeros((2, 8, 8, 3), np.uint8)).startswith("<2 galaxies in memory, SHA-256 ")


def test_who_listens_to_the_log_hears_it_once(table, tmp_path, capsys):
    logger = logging.getLogger("zoobot")
    before = logger.handlers[:], logger.level, logger.propagate
    with pytest.raises(ConfigError):
        zoobot.finetune(table, labels="ring")
    assert (logger.handlers, logger.level, logger.propagate) == before


def test_the_front_is_light():
    code = (
        "import sys, zoobot; zoobot.finetune.__doc__\n"
        "heavy = {'pandas', 'torch', 'tensorflow', 'matplotlib', 'zoobot.workflow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert verbs.finetune is zoobot.finetune


class Notebook(ModuleType):
    """Stands for IPython in a notebook without ipywidgets."""

    def __init__(self):
        super().__init__("IPython")
        self.display = ModuleType("IPython.display")
        self.display.display = self.show
        self.shown = []

    def get_ipython(self):
        return SimpleNamespace(kernel=object())

    def show(self, what, *, display_id):
        assert display_id
        self.update(what)
        return self

    def update(self, what):
        self.shown.append((what._repr_html_(), repr(what)))


@pytest.fixture
def notebook(monkeypatch):
    stands = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", stands)
    monkeypatch.setitem(sys.modules, "IPython.display", stands.display)
    return stands


def test_a_bar_in_a_notebook_is_html_that_is_redrawn(notebook, capsys, recwarn):
    with CountingBar("Predicting <galaxies>", 3, unit="galaxies", shown=True) as bar:
        assert bar.draws
        for _ in range(3):
            bar.advance()
        bar.begin("more", 2, done=1)
        bar.reach(2)
    first, last = notebook.shown[0], notebook.shown[-1]
    assert first == (
        '<progress value="0" max="3"></progress> Predicting &lt;galaxies&gt; 0/3',
        "Predicting <galaxies> 0/3",
    )
    assert last[1] == "more 2/2"
    assert capsys.readouterr() == ("", "")
    assert not recwarn.list


def test_what_runs_say_in_a_notebook_is_no_error(notebook, capsys):
    with heard():
        tell("Epoch 1 of 3")
    tell("Epoch 2 of 3")
    assert capsys.readouterr() == ("Epoch 1 of 3\nEpoch 2 of 3\n", "")


def test_bars_of_others_do_not_ask_for_widgets_in_a_notebook():
    code = (
        "import sys, warnings; from types import ModuleType, SimpleNamespace\n"
        "warnings.simplefilter('error')\n"
        "ipython = sys.modules['IPython'] = ModuleType('IPython')\n"
        "sys.modules['ipykernel.zmqshell'] = ModuleType('ipykernel.zmqshell')\n"
        "ipython.get_ipython = lambda: SimpleNamespace(kernel=1)\n"
        "from zoobot.shared.counting_bar import quieten_other_bars\n"
        "quieten_other_bars()\n"
        "import tqdm.auto, tqdm.std, tqdm.notebook\n"
        "assert tqdm.notebook.IProgress is None\n"
        "assert issubclass(tqdm.auto.tqdm, tqdm.std.tqdm)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_result_holds_what_there_is_to_look_at(finished, engine_name):
    result, _ = finished
    assert {"model", "evaluation", "table", "plot", "save_dir", "report", "failures"} <= set(dir(result))
    assert repr(result).startswith("<zoobot.finetune: ")
    assert "\n" not in repr(result) + repr(result.made) + repr(result.evaluation)
    assert result.table["id_str"].is_unique
    assert len(result.table) == result.evaluation.galaxies
    assert {"calibration", "confusion", "curves", "examples"} <= set(dir(result.plot))
    assert repr(result.plot).startswith("<figures: calibration(), confusion(), curves(), examples()")
    for name in dir(result.plot):
        assert isinstance(getattr(result.plot, name)(), Figure)
    mine = Figure()
    assert result.plot.confusion(ax=mine.add_subplot()) is mine
    assert len(result.plot.confusion_matrix().axes) == 1
    with pytest.raises(
        AttributeError, match=r"no figure 'redshift' of this result; there are: calibration\(\), conf"
    ):
        result.plot.redshift  # noqa: B018
    with pytest.raises(ConfigError, match="examples is a figure of several panels"):
        result.plot.examples(ax=mine.add_subplot())
    with pytest.raises(
        AttributeError, match=r"zoobot\.finetune makes no 'ranking'; its result has \['backend', "
    ):
        result.ranking  # noqa: B018


def test_a_notebook_shows_a_result(finished):
    shown = finished[0]._repr_html_()
    assert html.escape(finished[0].evaluation.table) in shown
    assert shown.count("data:image/png;base64,") == 2


def test_figures_of_an_evaluation_are_those_of_its_folder(runs, table, tmp_path):
    engine_name = usual_engine()[0]
    finished = runs(engine_name)
    result = zoobot.evaluate(
        finished[0].save_dir,
        catalog=table,
        save_dir=tmp_path / "e",
        degrade="noise",
        degrade_steps=2,
        compare=str(finished[0].save_dir),
        bootstrap=10,
        backend=engine_name,
        batch_size=8,
        progress=False,
    )
    drawn = {path.stem for path in result.save_dir.glob("*.png")}
    assert drawn == set(result.evaluation.pictures)
    assert {"degradation", "comparison", "calibration", "confusion", "examples"} <= set(dir(result.plot))
    assert result.evaluation is result.made
    assert "--" not in repr(result)


def test_results_speak_as_their_functions_did(capsys):
    sent = zoobot.push("zoobot-mini", "me/rings", dry_run=True)
    assert capsys.readouterr().out == f"{sent.report()}\n"
    for said in (sent.report(), repr(sent), html.unescape(sent._repr_html_())):
        assert "Without dry_run=True me/rings" in said


def test_other_results_have_a_table_and_no_scores(capsys):
    result = zoobot.schemas("gz_rings")
    assert not {"model", "evaluation", "table"} & set(dir(result))
    with pytest.raises(AttributeError, match=r"zoobot\.schemas makes no 'model'"):
        result.model  # noqa: B018
    assert "▸ ring: yes" in result._repr_html_()
    assert repr(result) == "<zoobot.schemas: gz_rings (1 question, 2 answers)>"
    assert not hasattr(result, "evaluation")


@pytest.mark.parametrize(("ending", "shown"), [("png", 1), ("pdf", 0), (None, 0)])
def test_a_list_is_shown_with_its_picture(tmp_path, ending, shown):
    picture = ending and tmp_path / f"like <it>.{ending}"
    if picture:
        Image.new("L", (4, 4)).save(picture)
    made = SimpleNamespace(table=pd.DataFrame({"id_str": ["a"]}), picture=picture)
    text = Result("similar", SimilarOptions(features="f", like=("a",)), made)._repr_html_()
    assert text.count('<img src="data:image/png;base64,') == shown
    assert text.count('alt="the galaxies of like &lt;it&gt;.png"') == shown


def test_a_table_of_predictions_is_shown_escaped(finished, table, tmp_path, engine_name):
    named = table[:3].assign(id_str=["<b>a</b>", "b", "c"])
    result = zoobot.predict(
        finished[0].save_dir, catalog=named, save_loc=tmp_path / "p.csv", backend=engine_name, progress=False
    )
    assert result.table["id_str"].tolist() == named["id_str"].tolist()
    assert "&lt;b&gt;a&lt;/b&gt;" in result._repr_html_()
    assert "<b>a</b>" not in result._repr_html_()
    assert "3 rows, " in result._repr_html_()
    assert repr(result).startswith("<zoobot.predict: 3 galaxies, ")


def test_trees_and_data_show_in_notebooks(tiny_survey, engine_name):
    tree = Schema.from_pairs(
        {"a<b": ["x", "y"], "c": ["1", "2"], "d": ["3", "4"]}, {"c": "a<b_x", "d": ["a<b_x", "c_1"]}
    )
    shown = tree._repr_html_()
    assert repr(tree) == f"<Schema {tree.name}: 3 questions, 6 answers>"
    assert "a&lt;b" in shown
    assert "(as above)" in shown
    ends = re.findall(r"</?(ul|li|details|summary|b)>", shown.replace(" open", ""))
    assert all(ends.count(tag) % 2 == 0 for tag in set(ends))
    data = load_engine(engine_name).data.GalaxyDataModule(tiny_survey, label_cols=["ring"], batch_size=8)
    assert repr(data) == str(data) == "<GalaxyDataModule: not read yet>"
    page = data._repr_html_()
    assert page.count("data:image/jpeg;base64,") == 6
    assert "ring" in page
    assert re.fullmatch(r"<GalaxyDataModule: 19 train, 5 val of .*>", repr(data))
    assert "nowhere.csv" in load_engine(engine_name).data.GalaxyDataModule("nowhere.csv")._repr_html_()


def test_finetune_predict_and_look_in_ten_lines(engine_name, tiny_survey, tmp_path, monkeypatch, capsys):
    page = Path(__file__).parents[1] / "docs" / "guides" / "python.md"
    if not page.exists():
        pytest.skip("the tests were moved away from the documents")
    (block,) = re.findall(r"<!-- ten lines -->\n```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    lines = [line for line in block.splitlines() if line]
    assert len(lines) <= 10
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOOBOT_BACKEND", engine_name)
    table = pd.read_csv(tiny_survey, dtype={"id_str": str})
    places = [str(tiny_survey.parent / place) for place in table["file_loc"]]
    table.assign(file_loc=places).to_csv("rings.csv", index=False)
    table.assign(file_loc=places)[:4].to_csv("new.csv", index=False)
    shown = {}
    exec("\n".join(lines), shown)
    assert shown["result"].backend == engine_name
    assert Path("results/confusion.pdf").exists()
    again = shown["result"].model.predict("new.csv").table.select_dtypes("number")
    np.testing.assert_allclose(shown["new"].table[list(again)], again, atol=1e-6)
    assert "Next: predict new galaxies" in capsys.readouterr().out
    assert isinstance(shown["result"].plot.examples(), Figure)


def test_every_message_of_the_library_that_names_a_flag_can_be_said_in_keywords():
    every = [(command.options, kinds_of(command.options).values()) for command in commands().values()]
    left, found = re.compile(r"`(?:zoobot|hf) [^`]*`|\b(?:zoobot|hf) [a-z]+ [^;)`\n]*"), 0
    for text in messages_of_library():
        for options, kinds in every if "--" in text else ():
            if not any(one.flag in text for one in kinds):
                continue
            said = left.sub("", in_keywords(text, options))
            found += said != left.sub("", text)
            named = [one.flag for one in kinds if re.search(rf"(?<![\w'-]){one.flag}(?![\w-])", said)]
            assert not named, f"{text} => {said}"
    assert found > 100


def messages_of_library():
    for path in Path(zoobot.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Raise) or (
                isinstance(node, ast.Call) and "refuse" in ast.dump(node.func)
            ):
                texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
                yield "".join(text if isinstance(text, str) else "0" for text in texts)


def test_options_and_checkpoints_are_one_line():
    options = FinetuneOptions(catalog="a.csv", labels="ring", save_dir="b", n_blocks=2)
    start = "FinetuneOptions(catalog='a.csv', labels=('ring',), save_dir='b', n_blocks=2"
    assert repr(options).startswith(start)
    read = repr(read_checkpoint(find_checkpoint("zoobot-mini")))
    assert read == "<NeutralCheckpoint: tree, tf_efficientnet_lite0, 1,280 features>"
