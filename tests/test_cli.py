"""The command line, run in this process, once for every engine where one is needed."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from PIL import Image

import zoobot
from zoobot import cli, workflow
from zoobot.cli.parser import COMMANDS
from zoobot.options.demo import DemoOptions
from zoobot.shared import schemas
from zoobot.shared.engine import ENGINES
from zoobot.shared.errors import ConfigError
from zoobot.shared.predictions import read_predictions
from zoobot.shared.settings import kinds_of

TINY = [
    "--encoder", "resnet10t", "--image-size-pix", "32", "--max-epochs", "1", "--batch-size", "8",
    "--num-workers", "1", "--accelerator", "cpu", "--no-progress",
]  # fmt: skip
pytestmark = pytest.mark.usefixtures("all_undrawn")


@pytest.fixture(autouse=True)
def quiet_logger_afterwards():
    yield
    logger = logging.getLogger("zoobot")
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture
def run(capsys):
    """Run a command line; give its exit code, and what it wrote to stdout and stderr."""

    def run_words(*words):
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_words


@pytest.fixture(scope="module")
def runs(tiny_survey, tmp_path_factory):
    """The folder of one finished run for each engine, made when first asked for."""
    made = {}

    def folder_of(engine_name):
        if engine_name not in made:
            made[engine_name] = tmp_path_factory.mktemp("cli") / engine_name
            words = ["--backend", engine_name, "--catalog", tiny_survey, "--labels", "label_name", *TINY]
            assert cli.main(["finetune", *map(str, words), "--save-dir", str(made[engine_name])]) == 0
        return made[engine_name]

    return folder_of


@pytest.fixture
def finished(runs, engine_name):
    return runs(engine_name)


# -- help and errors -------------------------------------------------------------------------------------


def test_without_a_command_it_explains_itself(run):
    code, out, _ = run()
    assert code == 0
    assert "zoobot demo" in out


@pytest.mark.parametrize(
    "command", ["demo", "finetune", "predict", "evaluate", "schemas", "info", "push", "cite"]
)
def test_every_command_has_help(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "==SUPPRESS==" not in out
    assert "None" not in out


def test_help_for_finetune_teaches(run):
    _, out, _ = run("finetune", "--help")
    for words in ("Galaxies:", "Task:", "Augmentation", "examples:", "id_str", "few labels"):
        assert words in out


def test_version(run):
    assert run("--version")[1] == f"zoobot {zoobot.__version__}\n"


def test_an_error_of_ours_is_one_line_and_exit_code_2(run, tmp_path):
    code, out, err = run(
        "finetune", "--catalog", "absent.csv", "--labels", "ring", "--save-dir", tmp_path / "r"
    )
    assert code == 2
    assert out == ""
    assert err.startswith("zoobot: error: ")
    assert "absent.csv" in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["finetune", "--labels", "ring"], "missing: --catalog, --save-dir"),
        (
            ["predict", "m", "--mosaic", "t.fits", "--save-loc", "p.csv"],
            "missing: --catalog (or --detect, wh",
        ),
        (["finetune", "--catalog", "c.csv", "--save-dir", "r"], "nothing to learn yet: give --labels"),
        (["predict", "--catalog", "c.csv", "--save-loc", "p.csv"], "missing: --checkpoint"),
        (["predict", "a", "--checkpoint", "b", "--catalog", "c", "--save-loc", "p.csv"], "given twice: 'a'"),
        (["predict", "absent", "--catalog", "c.csv", "--save-loc", "p.txt"], "must end in one of .parquet"),
        (["predict", "absent", "--catalog", "c.csv", "--save-loc", "p.csv"], "absent does not exist"),
        (["schemas", "gz_decal"], "no schema is called 'gz_decal'"),
        (["schemas", "--legacy", "--yaml", "tree.yaml"], "--legacy is for the trees that come with Zoobot"),
        (["schemas", "--yaml", "absent.yaml"], "absent.yaml"),
        (["info", "absent"], "absent does not exist"),
        (
            ["finetune", "--resume", "--save-dir", "absent"],
            "--resume needs --save-dir with an unfinished run",
        ),
        (["finetune", "--resume"], "--resume needs --save-dir"),
    ],
)
def test_errors_say_what_to_do(run, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*words)
    assert code == 2
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_option_is_refused_by_the_parser(run):
    code, _, err = run("predict", "--catalogue", "x")
    assert code == 2
    assert "--catalogue" in err


def test_an_unknown_engine_names_the_known(run, tiny_survey, tmp_path):
    words = ["--backend", "jax", "--catalog", tiny_survey, "--labels", "ring", "--save-dir", tmp_path / "r"]
    code, _, err = run("finetune", *words)
    assert code == 2
    assert "one of ['pytorch', 'tensorflow'" in err


def test_the_demo_looks_for_the_engine_before_it_simulates(run, tmp_path):
    code, _, err = run("demo", "--backend", "jax", "--save-dir", tmp_path / "demo")
    assert code == 2
    assert "one of ['pytorch', 'tensorflow'" in err
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(("backend", "added"), [("pytorch", ""), ("tensorflow", " --backend tensorflow")])
@pytest.mark.parametrize("work", ["finetune", "train", "demo"])
def test_what_to_do_next_names_the_engine_that_was_used(work, backend, added, run, monkeypatch, tmp_path):
    import pandas as pd

    trained = workflow.TrainingResult(
        save_dir=tmp_path / "run",
        checkpoint=tmp_path / "run" / "checkpoint",
        evaluation=SimpleNamespace(table="the table"),
        failures=pd.DataFrame(columns=["id_str", "file_loc", "reason"]),
        epochs=1,
        seconds=1.0,
        work=work,
        backend=backend,
    )
    made = trained
    if work == "demo":
        predictions = SimpleNamespace(save_loc=tmp_path / "new.parquet", galaxies=60)
        made = workflow.DemoResult(
            save_dir=tmp_path,
            catalog=tmp_path / "c.csv",
            training=trained,
            new_catalog=tmp_path / "new.csv",
            predictions=predictions,
            seconds=1.0,
            backend=backend,
        )
    monkeypatch.setattr(f"zoobot.workflow.{work}", lambda *a, **k: made)
    words = {
        "finetune": ["--catalog", "c.csv", "--labels", "ring"],
        "train": ["--catalog", "c.csv", "--schema", "gz2"],
        "demo": [],
    }
    code, out, _ = run(work, "--save-dir", tmp_path / "run", "--backend", backend, *words[work])
    assert code == 0
    lines = [line for line in out.splitlines() if line.startswith("  zoobot ")]
    assert len(lines) == {"finetune": 1, "train": 2, "demo": 2}[work]
    for line in lines:
        assert added in line
        assert ("--backend" in line) == bool(added)


def test_an_error_that_is_not_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("zoobot.workflow.demo", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["demo"])


def test_an_interruption_says_how_to_go_on(run, monkeypatch, tmp_path):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("zoobot.workflow.finetune", interrupt)
    words = ["--catalog", "c.csv", "--labels", "ring", "--save-dir", tmp_path / "my results"]
    code, _, err = run("finetune", *words)
    assert code == 130
    assert "--resume" not in err  # nothing has begun
    (tmp_path / "my results").mkdir()
    (tmp_path / "my results" / "run.json").write_text("{}")
    assert f"zoobot finetune --resume --save-dir '{tmp_path / 'my results'}'" in run("finetune", *words)[2]


def test_progress_goes_to_the_stderr_of_the_moment(monkeypatch):
    for _ in range(2):
        with io.StringIO() as stderr:  # each is closed before the next command runs
            monkeypatch.setattr(sys, "stderr", stderr)
            cli.main(["schemas", "gz_rings"])
            logging.getLogger("zoobot").info("reading")
            assert stderr.getvalue() == "reading\n"


def test_a_polite_kill_ends_with_its_own_code(run, monkeypatch):
    def end(*arguments, **options):
        raise SystemExit  # as a framework does when a batch system sends SIGTERM

    monkeypatch.setattr("zoobot.workflow.demo", end)
    code, _, err = run("demo")
    assert code == 143
    assert "interrupted" in err


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m zoobot schemas | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_the_module_runs_like_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "zoobot", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("zoobot ")


def test_the_installed_version_is_the_package_s():
    try:
        installed = version("zoobot")
    except PackageNotFoundError:
        pytest.skip("zoobot is not installed")
    assert installed == zoobot.__version__


# -- schemas and info ------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_one_line(run, tiny_survey, engine_name, tmp_path):
    (tmp_path / "file").write_text("in the way")
    words = ["--backend", engine_name, "--catalog", tiny_survey, "--labels", "ring", *TINY]
    code, _, err = run("finetune", *words, "--save-dir", tmp_path / "file" / "run")
    assert code == 2
    assert f"can't write into {tmp_path / 'file' / 'run'}" in err


def test_schemas_are_listed_with_descriptions(run):
    code, out, _ = run("schemas")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == schemas.names()
    assert "10 questions, 34 answers" in out


def test_a_schema_is_drawn(run):
    assert "spiral" in run("schemas", "gz_decals_dr5")[1]
    legacy, corrected = run("schemas", "gz2", "--legacy")[1], run("schemas", "gz2")[1]
    assert legacy != corrected


def test_a_schema_goes_to_a_file_and_back(run, tmp_path):
    code, _, _ = run("schemas", "gz2", "--yaml", tmp_path / "tree.yaml")
    assert code == 0
    assert run("schemas", "--yaml", tmp_path / "tree.yaml")[1] == run("schemas", "gz2")[1]


def test_info_tells_what_a_checkpoint_holds(run, finished, engine_name):
    run("--version")  # what making the run printed is no concern of this test
    code, out, _ = run("info", finished)
    assert code == 0
    for words in ("resnet10t", "classification", "label_name_", "image_size_pix", "32", ENGINES[engine_name]):
        assert words in out
    assert run("info", finished / "checkpoint")[1] == out


# -- the whole job ---------------------------------------------------------------------------------------


def test_finetune_says_what_it_made_and_what_is_next(run, engine_name, tiny_survey, tmp_path):
    words = ["--backend", engine_name, "--catalog", tiny_survey, "--labels", "ring", *TINY]
    code, out, err = run("finetune", *words, "--save-dir", tmp_path / "my run")
    assert code == 0
    assert "accuracy" in out
    assert "checkpoint/" in out
    assert f"zoobot predict '{tmp_path / 'my run'}' --catalog" in out
    assert "What will happen" in err
    assert "classification of ring" in err
    record = json.loads((tmp_path / "my run" / "run.json").read_text())
    assert record["command"].startswith("zoobot finetune --backend")


def test_predict_evaluate_and_their_files(run, finished, engine_name, tiny_survey, tmp_path):
    common = ["--backend", engine_name, "--catalog", tiny_survey, "--no-progress"]
    code, out, _ = run("predict", finished, *common, "--save-loc", tmp_path / "p.h5", "--n-samples", "3")
    assert code == 0
    assert "24 galaxies" in out
    assert len(read_predictions(tmp_path / "p.h5")) == 3 * 24
    code, out, _ = run("evaluate", "--checkpoint", finished, *common, "--save-dir", tmp_path / "e")
    assert code == 0
    assert "24 galaxies of the catalog" in out


def test_an_exported_file_predicts_the_same_without_an_engine(
    run, finished, engine_name, tiny_survey, tmp_path
):
    pytest.importorskip("onnxruntime")
    file = tmp_path / "m.onnx"
    code, out, err = run("export", finished, "--backend", engine_name, "--save-loc", file)
    assert code == 0, err
    assert f"zoobot predict {file} --catalog" in out
    code, _, err = run("export", finished, "--backend", engine_name, "--save-loc", file)
    assert code == 2
    assert "--overwrite" in err
    assert "label_name" in run("info", file)[1]

    common = ["--catalog", tiny_survey, "--no-progress", "--save-loc"]
    code, _, err = run("predict", file, *common, tmp_path / "x.csv", "--no-compile")
    assert code == 2
    assert "leave them out" in err
    run("predict", finished, "--backend", engine_name, *common, tmp_path / "a.csv", "--batch-size", "7")
    words = [str(word) for word in ("predict", file, *common, tmp_path / "b.csv")]
    probe = f"""import sys; from zoobot import cli; code = cli.main({words})
print(code, {{'torch', 'tensorflow', 'keras', 'onnx'}} & set(sys.modules))"""
    alone = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert alone.stdout.splitlines()[-1] == "0 set()", alone.stderr
    first, second = (read_predictions(tmp_path / name) for name in ("a.csv", "b.csv"))
    pd.testing.assert_frame_equal(first, second, rtol=1e-4, atol=1e-4)


def test_cite_prints_what_the_run_left(run, finished):
    code, out, err = run("cite", finished)
    assert code == 0, err
    assert out.endswith((finished / "references.bib").read_text())
    assert (finished / "methods.md").read_text() in out
    assert run("cite", finished, "--bibtex")[1] == (finished / "references.bib").read_text()
    code, _, err = run("cite", finished / "metrics.csv")
    assert code == 2
    assert "nothing tells how" in err


def test_push_shows_what_it_would_send(run, finished, engine_name):
    code, out, err = run("push", finished, "me/shapes", "--dry-run")
    assert code == 0, err
    for words in ("Nothing was sent", "model.safetensors", "library_name: zoobot", "# shapes", "## Scores"):
        assert words in out
    assert str(finished) not in out.partition("Nothing was sent")[2]
    code, _, err = run("push", finished, "shapes", "--dry-run")
    assert code == 2
    assert "owner/name" in err
    assert "given twice" in run("push", finished, "me/shapes", "--to", "me/rings")[2]


def test_one_galaxy_and_a_broken_one(run, finished, engine_name, tiny_survey, tmp_path):
    table = pd.read_csv(tiny_survey)
    good = tiny_survey.parent / table["file_loc"][0]
    (tmp_path / "broken.jpg").write_bytes(good.read_bytes()[:500])
    new = pd.DataFrame({"id_str": ["007", "broken"], "file_loc": [str(good), "broken.jpg"]})
    new.to_csv(tmp_path / "new.csv", index=False)
    words = ["--backend", engine_name, "--catalog", tmp_path / "new.csv", "--no-progress"]
    code, out, _ = run("predict", finished, *words, "--save-loc", tmp_path / "p.parquet")
    assert code == 0
    assert "1 image could not be read" in out
    assert read_predictions(tmp_path / "p.parquet")["id_str"].tolist() == ["007"]


def test_an_image_unlike_the_training_images_is_refused_by_name(run, finished, engine_name, tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"")
    pd.DataFrame({"id_str": ["a"], "file_loc": ["a.png"]}).to_csv(tmp_path / "new.csv", index=False)
    words = ["--backend", engine_name, "--catalog", tmp_path / "new.csv", "--no-progress"]
    code, _, err = run("predict", finished, *words, "--save-loc", tmp_path / "p.parquet")
    assert code == 2
    assert "not one of 1 images could be read" in err
    assert not (tmp_path / "p.parquet").exists()


def interrupt_when(process, has_begun, has_heard):
    """Ctrl-C, once there is something to interrupt, until it is heard: one may be lost on the way."""
    deadline = time.monotonic() + 240
    wait_until(has_begun, process, seconds=180)
    while process.poll() is None and not has_heard() and time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)
        wait_until(has_heard, process, seconds=5)
    return process.communicate(timeout=120)


def wait_until(true, process, *, seconds):
    deadline = time.monotonic() + seconds
    while not true() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_run_interrupted_while_training_is_resumed(engine_name, run, start_zoobot, tiny_survey, tmp_path):
    folder = tmp_path / "run"
    words = ["--backend", engine_name, "--catalog", tiny_survey, "--labels", "ring", *TINY]
    words += ["--max-epochs", "60", "--patience", "60", "--save-dir", folder]
    process = start_zoobot(engine_name, ["finetune", *words])

    def is_recorded():
        return '"status": "interrupted"' in (folder / "run.json").read_text()

    _, err = interrupt_when(process, (folder / "last.ckpt").exists, is_recorded)
    assert process.returncode == 130, err
    assert f"zoobot finetune --resume --save-dir {folder}" in err
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    before = pd.read_csv(folder / "metrics.csv")
    assert 1 <= len(before) < 60

    code, _, err = run("finetune", "--catalog", tiny_survey, "--labels", "ring", "--save-dir", folder)
    assert code == 2
    assert "continue it with --resume" in err

    code, _, err = run("finetune", "--resume", "--save-dir", folder)
    assert code == 0, err
    after = pd.read_csv(folder / "metrics.csv")
    assert after["epoch"].tolist() == list(range(1, 61))
    pd.testing.assert_frame_equal(after[: len(before) - 1], before[:-1])  # the last epoch may be done again


# -- messages speak in flags ----------------------------------------------------------------------------


@pytest.fixture
def brought(tiny_survey, tmp_path):
    """Tables as users bring them, each with a fault that an option mends."""
    table = pd.read_csv(tiny_survey, dtype={"id_str": str})
    table["file_loc"] = [str(tiny_survey.parent / file) for file in table["file_loc"]]
    table["T"] = [-99.0, *range(len(table) - 1)]
    table["mass"] = [10.0 ** (row % 9) for row in range(len(table))]
    table.to_csv(tmp_path / "good.csv", index=False)
    table.rename(columns={"id_str": "name"}).to_csv(tmp_path / "names.csv", index=False)
    table.rename(columns={"file_loc": "path"}).to_csv(tmp_path / "paths.csv", index=False)
    table.assign(file_loc="gone/" + table["id_str"] + ".jpg").to_csv(tmp_path / "gone.csv", index=False)
    parts = ["train", "val"] * (len(table) // 2)
    table.assign(split=parts).to_csv(tmp_path / "parts.csv", index=False)
    images = [Path(file).read_bytes() for file in table["file_loc"][:2]]
    pd.DataFrame({"image": images, "mask": images}).to_parquet(tmp_path / "two.parquet")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told", "never"),
    [
        (["--catalog", "names.csv", "--labels", "ring"], "(choose it with --id-col)", "id_col"),
        (["--catalog", "paths.csv", "--labels", "ring"], "(choose it with --file-col)", "file_col"),
        (["--catalog", "gone.csv", "--labels", "ring"], "give another folder with --root.", "root="),
        (["--catalog", "two.parquet", "--labels", "ring"], "choose it with --image-col", "image_col"),
        (["--catalog", "good.csv", "--labels", "ra"], "say --task regression to", "task="),
        (
            ["--catalog", "good.csv", "--labels", "T", "--task", "regression"],
            "with --missing-values -99, or that all are meant with --suspect-targets keep",
            "missing_values",
        ),
        (
            ["--catalog", "good.csv", "--labels", "mass", "--task", "regression"],
            "with --missing-values, or learn them as they are with --suspect-targets keep",
            "suspect_targets",
        ),
        (
            ["--catalog", "parts.csv", "--labels", "ring", "--test-fraction", "0.1"],
            "but --test-fraction 0.1 asks for another part: leave it out, or say --split random to",
            "test_fraction",
        ),
        (
            ["--catalog", "good.csv", "--labels", "ring", "--batch-size", "0"],
            "--batch-size must be",
            "batch_size",
        ),
    ],
)
def test_messages_speak_in_flags(brought, run, words, told, never, monkeypatch):
    monkeypatch.chdir(brought)
    code, _, err = run("finetune", *words, "--save-dir", "run")
    assert code == 2
    assert told in err
    assert never not in err


@pytest.mark.parametrize("command", ["predict", "represent", "evaluate", "prioritise"])
def test_messages_of_every_verb_speak_in_flags(brought, run, command, monkeypatch):
    monkeypatch.chdir(brought)
    place = ("--save-dir", "out") if command == "evaluate" else ("--save-loc", "out.csv")
    code, _, err = run(command, "zoobot-mini", "--catalog", "names.csv", *place)
    assert code == 2
    assert "(choose it with --id-col)" in err


TALK = r"""
import logging, sys
from zoobot import cli, workflow
from zoobot.shared.counting_bar import CountingBar
from zoobot.shared.errors import CatalogError
from zoobot.plots.style import new_figure, save_figure

def talk(options):
    logging.getLogger("zoobot").info("Zoé – \u2192 \U0001f30c")
    sys.stdout.write("Zoé – \u2192 \udce9\n")
    with CountingBar("Zoé \u2192 \U0001f30c", 2, unit="galaxies", shown=True) as bar:
        bar.advance()
    import matplotlib.pyplot
    save_figure(new_figure(1, 1), place)
    raise CatalogError("Zoé – \u2192 \udce9")

workflow.schemas = talk
place, sys.argv = sys.argv[1], ["zoobot", "schemas"]
cli.main_exit()
"""


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "utf-8"])
def test_any_terminal_and_a_notebooks_backend_will_do(encoding, tmp_path):
    told = {"PYTHONIOENCODING": encoding, "MPLBACKEND": "module://no_such_package.backend_inline"}
    told["FORCE_COLOR"] = "1"  # so that the bar is drawn, as on a terminal
    words = [sys.executable, "-c", TALK, str(tmp_path / "a.png")]
    done = subprocess.run(words, env=os.environ | told, capture_output=True, check=False)
    assert done.returncode == 2, done.stderr.decode(encoding)
    assert "Traceback" not in done.stderr.decode(encoding)
    assert "zoobot: error: Zo" in done.stderr.decode(encoding)
    assert "1/2" in done.stdout.decode(encoding)
    assert (tmp_path / "a.png").exists()


def test_a_polite_kill_ends_any_command_as_ctrl_c_does(monkeypatch, capsys):
    def work(*_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            done.append("taken back")

    done = []
    monkeypatch.setattr(workflow, "schemas", work)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        assert cli.main(["schemas"]) == 143
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done == ["taken back"]
    assert "interrupted" in capsys.readouterr().err


def test_every_verb_that_draws_says_as_what():
    draws = {name for name, command in COMMANDS.items() if "figures" in kinds_of(command.options)}
    assert draws >= {"finetune", "train", "evaluate", "explain", "loop", "prioritise", "similar", "anomalies"}
    assert {name for name, c in COMMANDS.items() if "picture" in kinds_of(c.options)} <= draws
    with pytest.raises(ConfigError, match=r"--figures must be one or more, all different"):
        DemoOptions(figures=("png", "png"))
    with pytest.raises(ConfigError, match="figures must be one of 'png', 'pdf', 'svg', got 'jpg'"):
        DemoOptions(figures="jpg")
