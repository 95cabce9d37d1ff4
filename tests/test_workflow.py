"""Guided runs on a tiny simulated survey, once for every engine."""

import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot import workflow
from zoobot.certainty.calibration import fit_calibration
from zoobot.options import (
    CalibrateOptions,
    DemoOptions,
    EvaluateOptions,
    FinetuneOptions,
    PredictOptions,
)
from zoobot.shared import schemas
from zoobot.shared.catalog import read_catalog
from zoobot.shared.checkpoint import read_checkpoint
from zoobot.shared.errors import CatalogError, CheckpointError, ConfigError, LabelError, SchemaError
from zoobot.shared.files.locks import lock_file, locked
from zoobot.shared.models.weights import hash_file
from zoobot.shared.predictions import read_predictions
from zoobot.shared.tasks import tree_task
from zoobot.workflow.galaxies import labelled_for, read_galaxies
from zoobot.workflow.pictures import attempt_picture
from zoobot.workflow.run_folder import RUN_FILES, check_run_folder, unfinished_run
from zoobot.workflow.sentences import cited

training = importlib.import_module("zoobot.workflow.finetune")  # the package has a function of that name

TINY = {
    "encoder": "resnet10t",
    "image_size_pix": 32,
    "max_epochs": 1,
    "batch_size": 8,
    "num_workers": 1,
    "accelerator": "cpu",
    "progress": False,
}
PREDICTING = {"batch_size": 8, "num_workers": 1, "progress": False}
ALWAYS = {
    "checkpoint",
    "metrics.csv",
    "evaluation.json",
    "evaluation.txt",
    "predictions.parquet",
    "predictions.png",
    "training_curves.png",
    "run.json",
    "methods.md",
    "references.bib",
}


@pytest.fixture(scope="module")
def runs(tiny_survey, tmp_path_factory):
    """One finished classification run for each engine, made when first asked for."""
    made = {}

    def run(engine_name):
        if engine_name not in made:
            folder = tmp_path_factory.mktemp("runs") / engine_name
            options = FinetuneOptions(
                catalog=tiny_survey, labels="label_name", save_dir=folder, backend=engine_name, **TINY
            )
            made[engine_name] = workflow.finetune(options, command="a test")
        return made[engine_name]

    return run


@pytest.fixture
def finished(runs, engine_name):
    return runs(engine_name)


@pytest.fixture
def finetune(tiny_survey, engine_name, tmp_path, undrawn):
    def run(*, drawn=False, **changes):
        options = {
            "catalog": tiny_survey,
            "labels": "ring",
            "save_dir": tmp_path / "run",
            "backend": engine_name,
        }
        with nullcontext() if drawn else undrawn():
            return workflow.finetune(FinetuneOptions(**TINY | options | changes))

    return run


def record_of(folder):
    return json.loads((folder / "run.json").read_text())


def test_a_run_leaves_its_results(finished):
    files = {path.name for path in finished.save_dir.iterdir()}
    assert ALWAYS | {"confusion_matrix.png", "reliability.png"} <= files
    assert "failures.csv" not in files
    scores = json.loads((finished.save_dir / "evaluation.json").read_text())
    assert scores["task"] == "classification"
    assert scores["part"] == "val"
    assert scores["scores"]["accuracy"] == finished.evaluation.scores["accuracy"]
    assert finished.evaluation.table in (finished.save_dir / "evaluation.txt").read_text()
    assert finished.epochs == 1
    methods = (finished.save_dir / "methods.md").read_text()
    for words in ("19 to train on and 5 to validate on", "for 1 epoch by AdamW", "On 5 validation galaxies"):
        assert words in methods
    assert "records do not say" not in methods
    references = (finished.save_dir / "references.bib").read_text()
    assert references.count("@") == len(cited(methods))
    assert all(f"{{{key},\n" in references for key in cited(methods))
    for name in ("training_curves.png", "predictions.png", "confusion_matrix.png"):
        assert (np.asarray(Image.open(finished.save_dir / name).convert("L")) < 250).mean() > 0.01


def test_a_head_that_is_best_needs_no_epochs(finetune, tmp_path):
    result = finetune(max_epochs=None, drawn=True)
    assert result.epochs == 0
    record = record_of(tmp_path / "run")
    assert record["epochs"] == 0
    assert any("none: the head's best weights are found at once" in line for line in record["told"])
    assert pd.read_csv(tmp_path / "run" / "metrics.csv")["step"].tolist() == [0]
    curves = np.asarray(Image.open(tmp_path / "run" / "training_curves.png").convert("L"))
    assert (curves < 250).mean() > 0.01


def test_features_known_from_training_are_scored_without_reading_images_again(
    finetune, tiny_survey, engine, engine_name, monkeypatch, tmp_path
):
    own = engine.predict.predict

    def read_again(*arguments, **options):
        raise AssertionError

    monkeypatch.setattr(engine.predict, "predict", read_again)
    result = finetune(max_epochs=None)
    kept = read_predictions(tmp_path / "run" / "predictions.parquet")
    new = own(tiny_survey, result.checkpoint, progress=False).table
    new = new[new["id_str"].isin(kept["id_str"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, new, check_dtype=False, rtol=1e-5, atol=1e-6)


def test_its_record_says_how_it_came_about(finished, tiny_survey, engine_name):
    record = record_of(finished.save_dir)
    assert record["work"] == "finetune"
    assert record["status"] == "finished"
    assert record["command"] == "a test"
    assert record["options"]["catalog"] == str(tiny_survey)
    assert record["options"]["seed"] == 42
    assert record["options"]["backend"] == engine_name
    assert {"python", "numpy", "zoobot"} <= set(record["versions"])
    assert {len(part["fingerprint"]) for part in record["data"].values()} == {64}
    assert record["started"] <= record["ended"]
    assert record["scores"]["accuracy"] == pytest.approx(finished.evaluation.scores["accuracy"])


def test_class_names_come_from_the_labels(finished, tiny_survey):
    names = sorted(set(pd.read_csv(tiny_survey)["label_name"]))
    columns = list(read_predictions(finished.save_dir / "predictions.parquet").columns)
    assert columns == ["id_str", *(f"label_name_{name}_probability" for name in names)]


def test_a_cache_of_decoded_images_changes_no_result(finished, finetune, tmp_path):
    cached = finetune(labels="label_name", cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("*.pixels"))
    plain = read_predictions(finished.save_dir / "predictions.parquet")
    pd.testing.assert_frame_equal(read_predictions(cached.save_dir / "predictions.parquet"), plain)


def test_predictions_are_of_the_validation_galaxies(finished):
    record = record_of(finished.save_dir)
    assert (
        len(read_predictions(finished.save_dir / "predictions.parquet")) == record["data"]["val"]["galaxies"]
    )


@pytest.mark.parametrize(
    ("changes", "picture", "score"),
    [
        (
            {"labels": ("ring", "spiral"), "task": "multi-label"},
            "purity_completeness.png",
            "average_precision",
        ),
        (
            {"labels": ("ra", "dec"), "task": "regression", "loss": "huber"},
            "regression_scatter.png",
            "rmse_dec",
        ),
        ({"labels": (), "task": "tree", "schema": "gz_decals_dr5"}, "fractions_scatter.png", "fraction_rmse"),
    ],
    ids=["multi-label", "regression", "tree"],
)
def test_every_task_has_its_picture_and_scores(finetune, changes, picture, score):
    result = finetune(**changes, drawn=True)
    assert {picture} | ALWAYS <= {path.name for path in result.save_dir.iterdir()}
    assert score in result.evaluation.scores


def test_test_galaxies_are_scored_where_there_are_some(finetune):
    result = finetune(test_fraction=0.25, figures=("pdf", "svg"))
    endings = {path.suffix for path in result.save_dir.iterdir()}
    assert {".pdf", ".svg"} <= endings
    assert ".png" not in endings
    assert "*.pdf, *.svg" in result.report()
    assert record_of(result.save_dir)["data"]["test"]["galaxies"] == result.evaluation.galaxies
    assert "never seen in training" in result.evaluation.table


def test_catalogs_for_each_purpose(finetune, tiny_survey, tmp_path):
    table = pd.read_csv(tiny_survey)
    table["file_loc"] = [str(tiny_survey.parent / name) for name in table["file_loc"]]
    parts = {"catalog": table[:14], "val_catalog": table[14:20], "test_catalog": table[20:]}
    for name, part in parts.items():
        part.to_csv(tmp_path / f"{name}.csv", index=False)
    result = finetune(**{name: tmp_path / f"{name}.csv" for name in parts})
    data = record_of(result.save_dir)["data"]
    assert {name: part["galaxies"] for name, part in data.items()} == {"train": 14, "val": 6, "test": 4}


def test_numbered_classes_get_the_names_given(finetune):
    result = finetune(class_names=("plain", "ringed"))
    assert "recall_ringed" in result.evaluation.scores


def test_a_schema_of_your_own(finetune, tmp_path):
    schemas.get("gz_decals_dr5").to_yaml(tmp_path / "mine.yaml")
    result = finetune(task="tree", labels=(), schema=tmp_path / "mine.yaml")
    assert "accuracy_bar-dr5" in result.evaluation.scores


def test_a_broken_image_is_reported_and_the_run_goes_on(finetune, tiny_survey, tmp_path):
    shutil.copytree(tiny_survey.parent, tmp_path / "survey")
    broken = pd.read_csv(tiny_survey)["file_loc"][3]
    (tmp_path / "survey" / broken).write_bytes(b"no image")
    result = finetune(catalog=tmp_path / "survey" / tiny_survey.name)
    assert len(result.failures) == 1
    failures = pd.read_csv(result.save_dir / "failures.csv")
    assert failures["file_loc"][0].endswith(broken)
    assert failures["reason"][0]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"catalog": "absent.csv"}, CatalogError, "absent.csv"),
        ({"labels": "rign"}, CatalogError, "did you mean 'ring'"),
        ({"labels": "ra", "task": "classification"}, LabelError, "classes must be names or whole numbers"),
        ({"labels": "ra"}, LabelError, "look like measurements, not classes: fractions such as"),
        ({"labels": "count", "catalog": "odd.csv"}, LabelError, "24 different whole numbers, from 0 to 23"),
        ({"labels": "T", "catalog": "odd.csv", "task": "regression"}, LabelError, r"-99 \(2 galaxies\)"),
        ({"labels": "mass", "catalog": "odd.csv", "task": "regression"}, LabelError, "decades"),
        ({"labels": "ring", "select": "ring=9"}, CatalogError, "no galaxy has it"),
        ({"labels": "ring", "catalog": "odd.csv", "test_fraction": 0.2}, ConfigError, "split='random'"),
        ({"labels": ("label_name",), "task": "regression"}, LabelError, "labels must be numbers"),
        ({"labels": (), "task": "tree", "schema": "gz_decal"}, SchemaError, "near names"),
        ({"labels": (), "task": "tree", "schema": "gz2"}, CatalogError, "smooth-or-featured-gz2_smooth"),
        ({"split": "sky", "labels": "ring", "catalog": None}, ConfigError, "catalog must be text"),
        ({"split": "column", "split_column": "part"}, CatalogError, "'part'"),
    ],
)
def test_faults_are_found_before_training_and_leave_nothing(
    finetune, tiny_survey, tmp_path, changes, error, message
):
    if changes.get("catalog") == "odd.csv":
        changes = changes | {"catalog": write_odd(tiny_survey, tmp_path)}
    with pytest.raises(error, match=message):
        finetune(**changes)
    assert not (tmp_path / "run").exists()


def write_odd(survey, folder):
    """The survey with columns as catalogs have them: sentinels, masses, and a split of its own."""
    table = pd.read_csv(survey, dtype={"id_str": str})
    table["file_loc"] = [str(survey.parent / file) for file in table["file_loc"]]
    number = np.arange(len(table))
    table["count"], table["mass"] = number, 10.0 ** (6 + number % 7)
    table["T"] = np.where(number < 2, -99.0, np.where(number < 5, np.nan, number % 9 - 3.0))
    table["split"] = np.where(number < 14, "train", np.where(number < 18, "val", "test"))
    table["good"] = number % 2
    table.to_csv(folder / "odd.csv", index=False)
    return folder / "odd.csv"


def test_targets_a_selection_and_the_catalog_s_own_split(finetune, tiny_survey, tmp_path, caplog):
    odd = write_odd(tiny_survey, tmp_path)
    with caplog.at_level("INFO", logger="zoobot"):
        result = finetune(
            catalog=odd, labels="T", task="regression", missing_values=-99, select="good=1", class_names=None
        )
    assert "Left out 2 of 12 galaxies, which have no value in column 'T'" in caplog.text
    assert "The split is the catalog's own, of column 'split': 7 train, 2 val, 3 test" in caplog.text
    record = json.loads((result.save_dir / "run.json").read_text())
    assert {name: part["galaxies"] for name, part in record["data"].items()} == {
        "train": 5,
        "val": 2,
        "test": 3,
    }
    assert record["data"]["train"]["without_target"] == 2
    engine = record["options"]["backend"]
    options = EvaluateOptions(
        checkpoint=result.save_dir, catalog=odd, save_dir=tmp_path / "again", backend=engine, **PREDICTING
    )
    with pytest.raises(LabelError, match=r"-99 \(2 galaxies\)"):
        workflow.evaluate(options)
    assert workflow.evaluate(replace(options, missing_values=(-99.0,))).galaxies == 19


def test_an_unknown_encoder_leaves_nothing(finetune, tmp_path):
    with pytest.raises(Exception, match="convnext_atoo"):
        finetune(encoder="convnext_atoo")
    assert not (tmp_path / "run").exists()


# -- a folder that is not empty --------------------------------------------------------------------------


def test_a_finished_run_is_not_overwritten_by_accident(finished, finetune):
    before = (finished.save_dir / "run.json").read_bytes()
    with pytest.raises(ConfigError, match=r"holds a finished run.*--overwrite"):
        finetune(save_dir=finished.save_dir)
    assert (finished.save_dir / "run.json").read_bytes() == before


def test_other_files_are_never_touched(finetune, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("all of it")
    for option in ({}, {"overwrite": True}):
        with pytest.raises(ConfigError, match=r"other files \(thesis.tex\)"):
            finetune(**option)
    assert (tmp_path / "run" / "thesis.tex").read_text() == "all of it"


def test_overwrite_replaces_the_run_and_nothing_else(finetune, tmp_path):
    finetune()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    finetune(overwrite=True, labels=("label_name",), seed=7)
    assert record_of(tmp_path / "run")["options"]["seed"] == 7
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_there_must_be_a_run_to_resume(finetune, finished):
    with pytest.raises(ConfigError, match="no run to resume"):
        finetune(resume=True)
    with pytest.raises(ConfigError, match="is finished"):
        finetune(resume=True, save_dir=finished.save_dir)


class KilledError(Exception):
    """Stands for whatever ends a run from outside."""


@pytest.fixture(scope="module")
def killed_runs(tmp_path_factory):
    """By engine, the folder where the run of `killed` was made, and what was kept of it."""
    return {}, tmp_path_factory.mktemp("killed")


@pytest.fixture
def killed(killed_runs, finetune, engine_name, tmp_path):
    """A run of two epochs that died as it was about to be evaluated: made once, each test has it anew."""

    def die(*arguments, **options):
        raise KilledError

    made, kept = killed_runs[0], killed_runs[1] / engine_name
    run = tmp_path / "run"
    if engine_name not in made:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "evaluate_models", die)
            with pytest.raises(KilledError):
                finetune(max_epochs=2)
        shutil.copytree(run, kept)
        made[engine_name] = run
    else:
        shutil.copytree(kept, run)
        record = (run / "run.json").read_text()
        assert str(made[engine_name]) in record
        (run / "run.json").write_text(record.replace(str(made[engine_name]), str(run)))
    return run


def test_a_killed_run_says_so_and_is_not_started_over_by_accident(killed, finetune):
    record = record_of(killed)
    assert record["status"] == "failed"
    assert record["error"].startswith("KilledError")
    with pytest.raises(ConfigError, match=r"unfinished run: continue it with --resume"):
        finetune(max_epochs=2)


def test_a_killed_run_is_resumed_to_its_end(killed, finetune):
    result = finetune(max_epochs=2, resume=True)
    assert record_of(killed)["status"] == "finished"
    assert "error" not in record_of(killed)
    assert pd.read_csv(killed / "metrics.csv")["epoch"].tolist() == [1, 2]
    assert {path.name for path in result.save_dir.iterdir()} >= ALWAYS


def test_a_resumed_run_keeps_its_options_and_its_data(killed, finetune):
    with pytest.raises(ConfigError, match=r"max_epochs was 2, now 3"):
        finetune(max_epochs=3, resume=True)
    record = record_of(killed)
    record["data"]["train"] |= {"fingerprint": "0" * 64, "contents": "0" * 64}
    (killed / "run.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="train galaxies are not those"):
        finetune(max_epochs=2, resume=True)


def test_a_run_that_was_moved_with_its_galaxies_is_resumed(
    killed, tiny_survey, tmp_path, monkeypatch, caplog, left_by_the_dead
):
    survey, home = tmp_path / "home" / "survey", tmp_path / "home" / "moved"
    shutil.copytree(tiny_survey.parent, survey)
    shutil.move(killed, home)
    assert record_of(home)["paths"] == {"catalog": str(tiny_survey), "save_dir": str(killed)}
    left = [left_by_the_dead(home / name, ".draft") for name in ("run.json", "checkpoint")]
    left[0].touch()
    left[1].mkdir()
    (home / "checkpoint").rename(left_by_the_dead(home / "checkpoint", ".older"))
    monkeypatch.chdir(home.parent)
    given = {"save_dir": "./moved/../moved/", "catalog": "survey/catalog.csv"}
    result = workflow.finetune(workflow.resumed_options("finetune", given))
    assert record_of(home)["status"] == "finished"
    assert record_of(home)["paths"]["catalog"] == str(survey / "catalog.csv")
    assert record_of(home)["options"]["catalog"] == str(tiny_survey)
    assert "are read from" in caplog.text
    assert result.epochs == 2
    assert [path.name for path in home.iterdir() if path.name.startswith(".")] == []


def test_resumed_places_are_found_from_another_folder(killed, tmp_path, monkeypatch):
    record = record_of(killed)
    record["options"]["catalog"] = "survey/catalog.csv"
    (killed / "run.json").write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path)
    options = workflow.resumed_options("finetune", {"save_dir": "run"})
    assert options.catalog == record["paths"]["catalog"]


def test_a_resumed_run_keeps_the_weights_it_was_started_from(finished, killed, tmp_path):
    other = shutil.copytree(finished.checkpoint, tmp_path / "other")
    record = record_of(killed)
    record |= {"encoder_sha256": hash_file(other / "model.safetensors")}
    record["options"]["encoder"] = "gone/elsewhere"
    (killed / "run.json").write_text(json.dumps(record))
    options = workflow.resumed_options("finetune", {"save_dir": str(killed), "encoder": str(other)})
    assert unfinished_run("finetune", options, killed).content["status"] == "failed"
    (other / "model.safetensors").write_bytes(b"others")
    with pytest.raises(ConfigError, match="other weights"):
        unfinished_run("finetune", options, killed)


def test_of_two_runs_in_one_folder_the_second_is_told_of_the_first(finished):
    folder = finished.save_dir
    with locked(lock_file(folder)):
        check = (
            "from pathlib import Path; from zoobot.workflow.run_folder import check_run_folder; "
            f"check_run_folder(Path({str(folder)!r}), 'finetune', overwrite=True)"
        )
        second = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert f"BusyError: process {os.getpid()} on" in second.stderr, second.stderr
    assert f"works in {folder}" in second.stderr
    check_run_folder(folder, "finetune", overwrite=True)


def test_resumed_options_come_from_the_record(killed):
    options = workflow.resumed_options("finetune", {"save_dir": str(killed), "num_workers": 0})
    assert (options.resume, options.max_epochs, options.num_workers) == (True, 2, 0)
    assert options.labels == ("ring",)
    with pytest.raises(ConfigError, match="--resume needs --save-dir"):
        workflow.resumed_options("finetune", {})


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_is_recorded_as_such(finetune, monkeypatch, tmp_path, ending):
    def interrupt(*arguments, **options):
        raise ending

    monkeypatch.setattr(training, "evaluate_models", interrupt)
    with pytest.raises(ending):
        finetune()
    assert record_of(tmp_path / "run")["status"] == "interrupted"


# -- predict and evaluate --------------------------------------------------------------------------------


def test_predicting_gives_every_galaxy_in_order(finished, tiny_survey, engine_name, tmp_path):
    options = PredictOptions(
        checkpoint=finished.save_dir,
        catalog=tiny_survey,
        save_loc=tmp_path / "new.csv",
        backend=engine_name,
        **PREDICTING,
    )
    result = workflow.predict(options)
    table = read_predictions(result.save_loc)
    assert table["id_str"].tolist() == pd.read_csv(tiny_survey)["id_str"].tolist()
    assert list(table.columns[1:]) == result.columns
    record = json.loads((tmp_path / "new.run.json").read_text())
    assert (record["work"], record["status"], record["data"]["catalog"]["galaxies"]) == (
        "predict",
        "finished",
        24,
    )
    with pytest.raises(ConfigError, match=r"new.csv exists.*--overwrite"):
        workflow.predict(options)


def test_predicting_one_galaxy_of_a_folder_with_a_broken_file(finished, tiny_survey, engine_name, tmp_path):
    folder = tmp_path / "images" / "deep"
    folder.mkdir(parents=True)
    image = next((tiny_survey.parent / "images").iterdir())
    shutil.copy(image, folder / "One.JPG")
    (tmp_path / "images" / "two.fits.gz").write_bytes(b"no image")
    (tmp_path / "images" / "notes.txt").write_text("not an image")
    options = {"checkpoint": finished.checkpoint, "backend": engine_name, **PREDICTING}
    result = workflow.predict(
        PredictOptions(catalog=tmp_path / "images", save_loc=tmp_path / "p.parquet", **options)
    )
    assert read_predictions(result.save_loc)["id_str"].tolist() == ["deep/One"]
    assert result.galaxies == 1
    assert pd.read_csv(tmp_path / "p.failures.csv")["id_str"].tolist() == ["two"]


def test_evaluating_chosen_galaxies(finished, tiny_survey, engine_name, tmp_path):
    options = {"checkpoint": finished.save_dir, "catalog": tiny_survey, "backend": engine_name, **PREDICTING}
    result = workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "e", select="ring=0", **options))
    assert result.galaxies == int((pd.read_csv(tiny_survey)["ring"] == 0).sum())
    assert {"evaluation.json", "predictions.png", "confusion_matrix.png", "run.json"} <= {
        path.name for path in (tmp_path / "e").iterdir()
    }
    methods = (tmp_path / "e" / "methods.md").read_text()
    for words in (
        f"The model is `{finished.save_dir.name}`",
        f"{result.galaxies} galaxies came from",
        "trained",
    ):
        assert words in methods
    with pytest.raises(ConfigError, match="holds a finished run"):
        workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "e", **options))
    with pytest.raises(ConfigError, match=r"holds a run of `finetune`"):
        workflow.evaluate(EvaluateOptions(save_dir=finished.save_dir, overwrite=True, **options))


def test_evaluating_the_same_galaxies_gives_the_same_scores(finished, tiny_survey, engine_name, tmp_path):
    table = pd.read_csv(tiny_survey, dtype={"id_str": str})
    scored = read_predictions(finished.save_dir / "predictions.parquet")["id_str"]
    table[table["id_str"].isin(scored)].to_csv(tiny_survey.parent / "scored.csv", index=False)
    options = EvaluateOptions(
        checkpoint=finished.save_dir,
        catalog=tiny_survey.parent / "scored.csv",
        save_dir=tmp_path / "e",
        backend=engine_name,
        **PREDICTING,
    )
    scores = workflow.evaluate(options).scores
    assert scores["log_loss"] == pytest.approx(finished.evaluation.scores["log_loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("select", "error", "message"),
    [
        ("ring", ConfigError, "must be COLUMN=VALUE"),
        ("rings=1", CatalogError, "no column 'rings'"),
        ("ring=7", CatalogError, "no galaxy has it"),
    ],
)
def test_a_choice_of_galaxies_that_cannot_work(finished, tiny_survey, tmp_path, select, error, message):
    options = PredictOptions(
        checkpoint=finished.save_dir, catalog=tiny_survey, save_loc=tmp_path / "p.csv", select=select
    )
    with pytest.raises(error, match=message):
        workflow.predict(options)


def test_what_a_column_with_empty_cells_holds_is_told():
    from zoobot.workflow.galaxies import select_galaxies

    table = pd.DataFrame({"id_str": ["a", "b"], "file_loc": "a.jpg", "kind": ["ring", None]})
    with pytest.raises(CatalogError, match=r"no galaxy has it; column 'kind' holds \['(None|nan)', 'ring'\]"):
        select_galaxies(read_catalog(table, check_files=False), "kind=spiral")


def test_what_is_no_checkpoint_is_said(tiny_survey, tmp_path):
    for folder, message in (
        (tmp_path / "absent", "does not exist; .*: zoobot-mini$"),
        (tmp_path, "has no config.json"),
    ):
        options = PredictOptions(checkpoint=folder, catalog=tiny_survey, save_loc=tmp_path / "p.csv")
        with pytest.raises(CheckpointError, match=message):
            workflow.predict(options)


# -- trees: calibration, summaries, ensembles ----------------------------------------------------------------


@pytest.fixture(scope="module")
def tree_runs(tiny_survey, tmp_path_factory, undrawn):
    """One finished run on votes for each engine."""
    made = {}

    def run(engine_name):
        if engine_name not in made:
            folder = tmp_path_factory.mktemp("trees") / engine_name
            options = FinetuneOptions(
                catalog=tiny_survey,
                task="tree",
                schema="gz_decals_dr5",
                save_dir=folder,
                backend=engine_name,
                val_fraction=0.5,
                **TINY,
            )
            with undrawn():
                made[engine_name] = workflow.finetune(options)
        return made[engine_name]

    return run


@pytest.fixture
def tree_run(tree_runs, engine_name):
    return tree_runs(engine_name)


def test_a_tree_is_calibrated_and_says_how_sure_it_is(tree_run):
    files = {path.name for path in tree_run.save_dir.iterdir()}
    assert {"reliability.png", "coverage.png", "question_confusions.png"} <= files <= set(RUN_FILES)
    record = record_of(tree_run.save_dir)["calibration"]
    assert record == read_checkpoint(tree_run.checkpoint).training["calibration"]
    assert set(record["factors"].values()) == {1.0}  # twelve galaxies are too few to fit a factor to
    assert "Share of votes inside predicted intervals" in tree_run.evaluation.table
    assert "more than 80% of the volunteers agree" in tree_run.evaluation.table
    scores = tree_run.evaluation.scores
    assert {"ece", "coverage_90_bar-dr5", "precision_bar-dr5", "f1_confident_bar-dr5"} <= set(scores)
    tables = json.loads((tree_run.save_dir / "evaluation.json").read_text())["tables"]
    assert {"question", "level", "n", "votes", "votes_plain"} <= set(tables["coverage"][0])


def test_calibrating_a_checkpoint_changes_its_certainty_alone(
    tree_run, tiny_survey, engine_name, tmp_path, monkeypatch
):
    few = functools.partial(fit_calibration, min_galaxies=5)
    monkeypatch.setattr(importlib.import_module("zoobot.workflow.calibrate"), "fit_calibration", few)
    monkeypatch.setattr("zoobot.certainty.calibration.foretells_better", lambda _: True)
    shutil.copytree(tree_run.save_dir, tmp_path / "model")
    told = (tmp_path / "model" / "methods.md").read_text()
    common = {"catalog": tiny_survey, "backend": engine_name, **PREDICTING}
    before = workflow.predict(
        PredictOptions(checkpoint=tmp_path / "model", save_loc=tmp_path / "a.parquet", **common)
    )
    result = workflow.calibrate(
        CalibrateOptions(checkpoint=tmp_path / "model", objective="likelihood", **common)
    )
    factors = result.calibration.factors
    assert (factors != 1).any()
    assert "before" in result.table
    assert told != (tmp_path / "model" / "methods.md").read_text()
    after = workflow.predict(
        PredictOptions(checkpoint=tmp_path / "model", save_loc=tmp_path / "b.parquet", **common)
    )
    first, second = (read_predictions(r.save_loc).iloc[:, 1:].to_numpy() for r in (before, after))
    np.testing.assert_allclose(second, first * factors, rtol=1e-4)
    again = workflow.calibrate(
        CalibrateOptions(checkpoint=tmp_path / "model", objective="likelihood", **common)
    )
    np.testing.assert_allclose(again.calibration.factors, factors, rtol=1e-3)  # replaced, not multiplied


def test_a_folder_that_can_not_be_written_anew_is_not_calibrated():
    """Before its galaxies are even looked for."""
    with pytest.raises(CheckpointError, match=r"holds other files \(README\.md\)"):
        workflow.calibrate(CalibrateOptions(checkpoint="zoobot-mini", catalog="absent.csv"))


def test_validation_galaxies_are_scored_by_the_calibration_of_the_others(
    finetune, tiny_survey, monkeypatch, engine
):
    few = functools.partial(fit_calibration, min_galaxies=5)
    monkeypatch.setattr(importlib.import_module("zoobot.workflow.calibrate"), "fit_calibration", few)
    monkeypatch.setattr("zoobot.certainty.calibration.foretells_better", lambda _: True)
    options = {"val_fraction": 0.5, "test_fraction": 0.0, "calibration_objective": "likelihood"}
    result = finetune(task="tree", labels=(), schema="gz_decals_dr5", **options)
    assert "each is scored by the calibration of the others" in result.evaluation.table
    factors = engine.checkpoint.load(result.checkpoint).head.get_calibration()
    assert (factors != 1).any()
    table = read_predictions(result.save_dir / "predictions.parquet").set_index("id_str")
    asked = PredictOptions(catalog=tiny_survey, checkpoint="unused", save_loc="unused.csv")
    task = tree_task(schemas.get("gz_decals_dr5"))
    galaxies = labelled_for(task, read_galaxies(str(tiny_survey), asked))
    galaxies = galaxies.select([k for k, galaxy in enumerate(galaxies.ids) if galaxy in table.index])
    own = task.metrics(table.loc[list(galaxies.ids), task.output_columns].to_numpy(), galaxies.labels)
    scores = result.evaluation.scores
    assert scores["fraction_rmse"] == pytest.approx(own["fraction_rmse"], rel=1e-4)  # fractions stay
    assert abs(scores["nll"] - own["nll"]) > 1e-4  # what is written is calibrated by all


def test_an_ensemble_with_a_summary(tree_run, tiny_survey, engine_name, tmp_path):
    options = {
        "checkpoint": tree_run.save_dir,
        "catalog": tiny_survey,
        "save_loc": tmp_path / "p.csv",
        "backend": engine_name,
        **PREDICTING,
    }
    result = workflow.predict(
        PredictOptions(
            ensemble=(str(tree_run.save_dir),),
            summary=tmp_path / "s.csv",
            full_table=tmp_path / "f.parquet",
            interval="highest-density",
            **options,
        )
    )
    assert sorted(set(read_predictions(result.save_loc)["sample"])) == [0, 1]
    assert [path.name for path in result.tables] == ["s.csv", "f.parquet"]
    summary, full = (read_predictions(path) for path in result.tables)
    assert len(summary) == len(full) == 24
    assert summary["smooth-or-featured-dr5_smooth_fraction"].notna().all()
    assert full.notna().all(axis=None)
    with pytest.raises(ConfigError, match=r"s.csv exists: choose another --summary"):
        workflow.predict(
            PredictOptions(**(options | {"save_loc": tmp_path / "q.csv", "summary": tmp_path / "s.csv"}))
        )
    with pytest.raises(ConfigError, match="must be different files"):
        workflow.predict(PredictOptions(**options, summary=tmp_path / "p.csv", overwrite=True))


def test_only_trees_are_summarised_and_covered(finished, tiny_survey, engine_name, tmp_path):
    common = {"checkpoint": finished.save_dir, "catalog": tiny_survey, "backend": engine_name, **PREDICTING}
    with pytest.raises(ConfigError, match="of a classification task"):
        workflow.predict(PredictOptions(save_loc=tmp_path / "p.csv", summary=tmp_path / "s.csv", **common))
    with pytest.raises(ConfigError, match="coverage is for trees; this model is of a classification task"):
        workflow.calibrate(CalibrateOptions(objective="coverage", **common))
    record = record_of(finished.save_dir)["calibration"]
    assert record["factors"] == {"most likely class": 1.0}  # too few galaxies to fit one to
    assert record == read_checkpoint(finished.checkpoint).training["calibration"]


def test_a_catalog_of_one_campaign_is_enough_for_a_joined_tree(tiny_survey):
    both = schemas.join([schemas.get("gz_decals_dr5"), schemas.get("gz_rings")])
    options = PredictOptions(catalog=tiny_survey, checkpoint="unused", save_loc="unused.csv")
    labelled = labelled_for(tree_task(both), read_galaxies(str(tiny_survey), options))
    assert np.isnan(labelled.labels[:, both.get_question("ring").slice]).all()
    assert np.isfinite(labelled.labels[:, 0]).all()


def test_a_run_may_stay_as_it_was_trained(finetune):
    result = finetune(task="tree", labels=(), schema="gz_decals_dr5", calibrate=False)
    assert "calibration" not in record_of(result.save_dir)
    assert "calibration" not in read_checkpoint(result.checkpoint).training


def test_the_demo_does_the_whole_job_twice(engine_name, tmp_path, undrawn):
    options = DemoOptions(
        backend=engine_name,
        save_dir=tmp_path / "demo",
        n_galaxies=30,
        image_size_pix=32,
        encoder="resnet10t",
        max_epochs=1,
        progress=False,
    )
    with undrawn():
        workflow.demo(options)
        result = workflow.demo(options)
    assert result.predictions.galaxies == 60
    assert (result.save_dir / "training" / "fractions_scatter.png").exists()
    assert record_of(result.save_dir / "training")["data"].keys() == {"train", "val", "test"}


def few_votes(tiny_survey, name, votes):
    """The tiny survey with so many votes for each galaxy, all on the first question's answers in turn."""
    table = pd.read_csv(tiny_survey)
    schema = schemas.get("gz_decals_dr5")
    table[list(schema.label_cols)] = 0
    columns = schema.label_cols[schema.questions[0].slice]
    for vote in range(votes):
        for row in range(len(table)):
            table.loc[row, columns[(row + vote * (row % 2)) % len(columns)]] += 1
    path = tiny_survey.parent / f"{name}.csv"
    table.to_csv(path, index=False)
    return path


def test_three_votes_a_galaxy_and_one_validation_galaxy_are_enough_to_finish(finetune, tiny_survey, caplog):
    catalog = few_votes(tiny_survey, "three-votes", 3)
    table = pd.read_csv(catalog)
    table["split"] = ["train"] * (len(table) - 1) + ["val"]
    table.to_csv(catalog, index=False)
    options = {"catalog": catalog, "split": "column", "split_column": "split"}
    result = finetune(task="tree", labels=(), schema="gz_decals_dr5", **options)
    assert result.evaluation.galaxies == 1
    assert "The picture of fractions scatter is left out: no question of" in caplog.text
    assert not (result.save_dir / "fractions_scatter.png").exists()
    assert (result.save_dir / "predictions.png").exists()


def test_galaxies_without_any_vote_are_refused_before_training(finetune, tiny_survey, tmp_path):
    catalog = few_votes(tiny_survey, "no-votes", 0)
    with pytest.raises(LabelError, match=r"not one of the \d+ train galaxies has a vote"):
        finetune(task="tree", labels=(), schema="gz_decals_dr5", catalog=catalog)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("fault", [ValueError("no such colour"), OSError(28, "No space left on device")])
def test_a_picture_that_can_not_be_drawn_is_a_warning(tmp_path, caplog, fault):
    def draw_curves():
        raise fault

    assert attempt_picture(tmp_path / "loss_curves", ["png"], draw_curves) is None
    assert "The picture of loss curves is left out" in caplog.text
    assert str(fault) in caplog.text
