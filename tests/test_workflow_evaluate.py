"""Scoring and calibrating models, and the equal mixtures that they make, once for every engine."""

import functools
import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zoobot import workflow
from zoobot.certainty.temperature import fit_temperature
from zoobot.options import CalibrateOptions, EvaluateOptions, FinetuneOptions, PredictOptions
from zoobot.shared.checkpoint import read_checkpoint
from zoobot.shared.errors import CatalogError, CheckpointError, ConfigError
from zoobot.shared.pixels.degraded import Degradation
from zoobot.shared.predictions import read_predictions, read_samples
from zoobot.shared.schemas import Schema

_spec = importlib.util.spec_from_file_location("galaxies", Path(__file__).parent / "engines" / "galaxies.py")
galaxies = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(galaxies)

SCHEMA = Schema.from_pairs(
    {"shape": ["edge-on", "round"], "bar": ["yes", "no"]}, {"bar": "shape_round"}, name="tiny"
)
COMMON = {"batch_size": 8, "num_workers": 1, "progress": False}
pytestmark = pytest.mark.usefixtures("all_undrawn")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return galaxies.write_galaxies(tmp_path_factory.mktemp("survey"), n_galaxies=20)


@pytest.fixture
def make_checkpoint(engine, set_linear, tmp_path):
    """The folder of a small model whose head has weights drawn from a seed."""

    def make(kind, seed):
        small = {"name": "test_resnet", "preprocessing": {"image_size_pix": 32}, "dropout_prob": 0.5}
        if kind == "tree":
            model = engine.finetune.FinetuneableZoobotTree(schema=SCHEMA, **small)
        else:
            model = engine.finetune.FinetuneableZoobotClassifier(
                class_names=["round", "edge-on"], label_cols=["edge_on"], **small
            )
        shape = (model.task.num_outputs, model.encoder.num_features)
        weight = np.random.default_rng(seed).normal(0, 0.2, shape).astype("float32")
        set_linear(model.head.linear, weight, np.zeros(len(weight), "float32"))
        return engine.checkpoint.save(model, tmp_path / f"{kind}-{seed}")

    return make


@pytest.mark.parametrize("kind", ["tree", "classification"])
def test_an_ensemble_with_dropout_is_scored_as_the_mixture_that_predict_gives(
    kind, make_checkpoint, engine, engine_name, catalog, tmp_path
):
    first, second = make_checkpoint(kind, 1), make_checkpoint(kind, 2)
    asked = {"catalog": catalog, "checkpoint": first, "ensemble": (second,), "n_samples": 2}
    asked |= {"backend": engine_name, **COMMON}
    found = workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "e", **asked))
    assert "by the equal mixture of 2 models with 2 dropout samples each" in found.table
    table = workflow.predict(PredictOptions(save_loc=tmp_path / "p.parquet", **asked)).save_loc
    task = engine.checkpoint.load(first).task
    for predictions in (table, tmp_path / "e" / "predictions.parquet"):
        blocks = list(read_samples(predictions, task.output_columns))
        samples = np.concatenate([values for _, values in blocks], axis=1)
        assert samples.shape == (4, 20, task.num_outputs)
        assert (samples.std(axis=0) > 0).any()
        edge_on = np.arange(20) % 2
        if kind == "classification":
            scores = task.metrics(samples.mean(axis=0), edge_on[:, None].astype(float))
            name = "log_loss"
        else:
            votes = [[18, 2, 0, 0] if edge else [1, 19, 5, 14] for edge in edge_on]
            scores, name = task.metrics(samples, np.array(votes, float)), "nll"
        assert found.scores[name] == pytest.approx(scores[name], rel=1e-4)
    assert {"ece", name} <= set(json.loads((tmp_path / "e" / "evaluation.json").read_text())["scores"])
    assert (tmp_path / "e" / "predictions.png").exists()
    if kind == "tree":
        assert "Share of votes inside predicted intervals" in found.table


def test_scores_have_intervals_of_galaxies_or_of_groups(make_checkpoint, engine_name, catalog, tmp_path):
    table = pd.read_csv(catalog).assign(field=np.arange(20) // 4, empty=[None, *range(19)])
    table["file_loc"] = [str(catalog.parent / name) for name in table["file_loc"]]
    table.to_csv(tmp_path / "fields.csv", index=False)
    asked = {"catalog": tmp_path / "fields.csv", "backend": engine_name, **COMMON}
    asked["checkpoint"] = make_checkpoint("classification", 1)
    found = workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "e", interval=68, **asked))
    ends = found.intervals.ends["log_loss"]
    assert ends.low < found.scores["log_loss"] < ends.high
    assert f"{found.scores['log_loss']:.3f}  ({ends.low:.3f}–{ends.high:.3f})" in found.table
    assert "In brackets: 68% intervals, from 1,000 resamples of galaxies" in found.table
    for file in ("evaluation.json", "run.json"):
        content = json.loads((tmp_path / "e" / file).read_text())
        assert content["scores"]["log_loss"] == found.scores["log_loss"]
        assert content["intervals"]["scores"]["log_loss"] == list(ends)
        assert content["intervals"]["percent"] == 68
    content = json.loads((tmp_path / "e" / "evaluation.json").read_text())["thresholds"]
    assert (content["completeness"], set(content["of"])) == (0.9, {"round", "edge-on"})
    assert content["of"]["edge-on"]["at_completeness"]["completeness"] >= 0.9
    assert "At 90% completeness" in found.table
    assert set(pd.read_csv(tmp_path / "e" / "thresholds.csv")["name"]) == {"round", "edge-on"}
    fields = workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "f", group_col="field", **asked))
    assert "of the 5 groups of column field (few: the intervals are too narrow)" in fields.table
    assert fields.intervals.to_config()["groups"] == {"field": 5}
    plain = workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "p", bootstrap=0, **asked))
    assert plain.scores_for_json() == found.scores_for_json()
    assert plain.intervals.ends == {}
    assert "In brackets" not in plain.table
    for column, words in (("nowhere", "no column 'nowhere'"), ("empty", "1 have none in column 'empty'")):
        with pytest.raises(CatalogError, match=words):
            workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "x", group_col=column, **asked))
    assert not (tmp_path / "x").exists()


def test_models_are_compared_on_the_same_galaxies(
    make_checkpoint, engine_name, catalog, tmp_path, monkeypatch
):
    first, second = (make_checkpoint("classification", seed) for seed in (1, 2))
    asked = {"catalog": catalog, "backend": engine_name, "checkpoint": first, **COMMON}
    own = workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "own", **asked))
    other = workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "o", **{**asked, "checkpoint": second}))
    draw = importlib.import_module("zoobot.workflow.comparing").draw_differences
    figures = []
    monkeypatch.setattr(
        "zoobot.workflow.comparing.draw_differences", lambda *args: figures.append(draw(*args))
    )
    compare = (second, make_checkpoint("classification", 1))
    found = workflow.evaluate(
        EvaluateOptions(save_dir=tmp_path / "e", compare=compare, group_col="round", **asked)
    )
    different, same = found.comparisons
    for name in ("accuracy", "log_loss", "ece"):
        assert different.scores[name] == pytest.approx((own.scores[name], other.scores[name]), rel=1e-5)
    assert different.intervals.draws.units == 2
    assert same.verdict("log_loss") == "the same"
    assert same.differences["log_loss"] == 0
    text = (tmp_path / "e" / "comparison.txt").read_text()
    assert text.startswith(f"Compared on the same 20 galaxies\nA  {first}\nB  {second}\n")
    assert "Of B: the checkpoint does not say which galaxies it was trained on" in text
    assert text.strip() in found.report()
    content = json.loads((tmp_path / "e" / "comparison.json").read_text())
    assert content[1]["differences"]["log_loss"]["verdict"] == "the same"
    assert json.loads((tmp_path / "e" / "run.json").read_text())["comparisons"] == content
    assert figures[0].axes
    tree = make_checkpoint("tree", 1)
    for rivals, words in (
        ((tree,), "the models of a comparison must share one task"),
        ((second,) * 2, "diff"),
    ):
        with pytest.raises(ConfigError, match=words):
            workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "x", compare=rivals, **asked))
    with pytest.raises(ConfigError, match="leave out --bootstrap 0"):
        EvaluateOptions(save_dir=tmp_path / "x", compare=(tree,), bootstrap=0, **asked)
    assert not (tmp_path / "x").exists()


def test_models_of_other_tasks_are_refused(make_checkpoint, engine_name, catalog, tmp_path):
    with pytest.raises(ConfigError, match="must share one task"):
        workflow.evaluate(
            EvaluateOptions(
                catalog=catalog,
                checkpoint=make_checkpoint("tree", 1),
                ensemble=(make_checkpoint("classification", 1),),
                save_dir=tmp_path / "e",
                backend=engine_name,
                **COMMON,
            )
        )
    assert not (tmp_path / "e").exists()


def test_classes_are_calibrated_and_the_error_before_is_told(
    make_checkpoint, engine, engine_name, catalog, tmp_path, monkeypatch
):
    module = importlib.import_module("zoobot.workflow.calibrate")
    monkeypatch.setattr(module, "fit_temperature", functools.partial(fit_temperature, min_galaxies=5))
    monkeypatch.setattr("zoobot.certainty.temperature.foretells_better", lambda _: True)
    monkeypatch.setattr("zoobot.certainty.temperature._error", lambda *_: 0.0)
    common = {"catalog": catalog, "backend": engine_name, **COMMON}
    folders = [make_checkpoint("classification", seed) for seed in (1, 2)]
    asked = {"checkpoint": folders[0], "ensemble": (folders[1],), **common}
    before = workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "before", **asked))
    assert "ece_uncalibrated" not in before.scores
    results = [workflow.calibrate(CalibrateOptions(checkpoint=folder, **common)) for folder in folders]
    factors = [result.calibration.factors for result in results]
    assert all(factor != 1 for factor in factors)
    assert "error before" in results[0].table
    after = workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "after", **asked))
    assert after.scores["ece_uncalibrated"] == pytest.approx(before.scores["ece"], abs=1e-5)
    assert "the same without calibration" in after.table
    task = engine.checkpoint.load(folders[0]).task
    samples = [
        np.concatenate(
            [v for _, v in read_samples(tmp_path / n / "predictions.parquet", task.output_columns)], 1
        )
        for n in ("before", "after")
    ]
    for first, second, factor in zip(*samples, factors, strict=True):
        np.testing.assert_allclose(second, task.sharpen(first, factor), atol=1e-5)
    again = workflow.calibrate(CalibrateOptions(checkpoint=folders[0], **common))
    np.testing.assert_allclose(again.calibration.factors, factors[0], rtol=1e-3)  # replaced, not multiplied


def test_numbers_have_no_factors_but_errors_that_travel(engine, engine_name, catalog, tmp_path):
    model = engine.finetune.FinetuneableZoobotRegressor(
        name="test_resnet", preprocessing={"image_size_pix": 32}, label_cols=["axis_ratio"]
    )
    folder = engine.checkpoint.save(model, tmp_path / "numbers")
    assert engine.checkpoint.load(folder).conformal is None
    common = {"checkpoint": folder, "catalog": catalog, "backend": engine_name, **COMMON}
    before = workflow.evaluate(EvaluateOptions(**common, save_dir=tmp_path / "before"))
    assert "held_90" not in before.scores
    result = workflow.calibrate(CalibrateOptions(**common))
    assert result.calibration is None
    assert result.conformal.n == (before.galaxies,)
    assert "Intervals: how wide they are on average" in result.report()
    after = workflow.evaluate(EvaluateOptions(**common, save_dir=tmp_path / "after"))
    assert after.scores["held_90"] >= 0.9  # on the same galaxies
    assert after.scores["size_90"] == pytest.approx(2 * result.conformal.thresholds(0.9)[0], rel=1e-4)
    assert "promised 90%" in after.table
    again = engine.checkpoint.save(engine.checkpoint.load(folder), tmp_path / "again")
    assert read_checkpoint(again).conformal == read_checkpoint(folder).conformal
    turned = workflow.evaluate(EvaluateOptions(**common, views=4, save_dir=tmp_path / "turned"))
    assert "held_90" not in turned.scores
    assert "Intervals: none, since the model's are of other pixels (views 1, now 4)" in turned.table
    with pytest.raises(ConfigError, match="coverage is for trees; this model is of a regression task"):
        workflow.calibrate(CalibrateOptions(**common, objective="coverage"))
    with pytest.raises(ConfigError, match="coverage is for --task tree"):
        FinetuneOptions(catalog="a.csv", labels=("ring",), save_dir="r", calibration_objective="coverage")


def test_a_model_is_scored_again_on_worse_images(
    make_checkpoint, engine, engine_name, catalog, tmp_path, caplog
):
    folder = make_checkpoint("tree", 1)
    asked = {"catalog": catalog, "checkpoint": folder, "backend": engine_name, "save_dir": tmp_path / "e"}
    with caplog.at_level("INFO"):
        found = workflow.evaluate(EvaluateOptions(degrade="psf", degrade_steps=9, **asked, **COMMON))
    assert "(psf 9): 2 predictions, 40 images" in caplog.text
    table = pd.read_csv(tmp_path / "e" / "degradation.csv")
    assert table.columns.tolist() == ["kind", "step", "name", "score", "low", "high", "n"]
    assert table["kind"].tolist() == ["none"] * 2 + ["psf"] * 2
    assert table["name"].tolist() == ["accuracy", "coverage_90"] * 2
    assert table["n"].eq(20).all()
    model = engine.checkpoint.load(folder)
    model.preprocessing = model.preprocessing.with_changes(degraded=Degradation(kind="psf", step=9))
    predicted = engine.predict.predict(catalog, model, progress=False).table[model.task.output_columns]
    votes = np.array([[18, 2, 0, 0] if k % 2 else [1, 19, 5, 14] for k in range(20)], float)
    expected = model.task.metrics(predicted.to_numpy(float), votes)["accuracy"]
    assert table["score"][2] == pytest.approx(expected)
    assert table["score"][0] == pytest.approx(found.scores["accuracy"])
    plain = read_predictions(tmp_path / "e" / "predictions.parquet")[model.task.output_columns]
    assert np.abs(plain.to_numpy() - predicted.to_numpy()).max() > 1e-4
    assert "psf 9" in found.report()
    content = json.loads((tmp_path / "e" / "degradation.json").read_text())
    assert content["kinds"]["psf"]["step"] == "FWHM of the blur, in pixels"
    assert len(content["rows"]) == 4
    assert all((tmp_path / "e" / f"{n}.png").exists() for n in ("degradation", "degraded_examples"))


@pytest.fixture(scope="module")
def taught_runs(catalog, tmp_path_factory):
    """A finished run of each engine on the catalog, made when first asked for."""
    made = {}

    def run(engine_name):
        if engine_name not in made:
            folder = tmp_path_factory.mktemp("taught") / engine_name
            options = {"labels": "edge_on", "encoder": "test_resnet", "image_size_pix": 32, "max_epochs": 1}
            options |= {"accelerator": "cpu", "backend": engine_name, "save_dir": folder, "seed": 1}
            workflow.finetune(FinetuneOptions(catalog=catalog, **options, **COMMON))
            made[engine_name] = folder
        return made[engine_name]

    return run


def test_a_calibration_keeps_the_views_that_it_was_made_with(
    make_checkpoint, engine, engine_name, catalog, tmp_path, caplog
):
    folder = make_checkpoint("classification", 3)
    common = {"catalog": catalog, "checkpoint": folder, "backend": engine_name, **COMMON}
    with caplog.at_level("INFO"):
        workflow.calibrate(CalibrateOptions(views=4, **common))
    assert "The checkpoint now looks at 4 views of each image, not 1" in caplog.text
    model = engine.checkpoint.load(folder)
    assert model.preprocessing.views == 4
    expected = engine.predict.predict(catalog, model, views=4, progress=False).table
    with caplog.at_level("INFO"):
        asked = PredictOptions(save_loc=tmp_path / "p.parquet", class_column=False, **common)
        table = workflow.predict(asked).save_loc
    pd.testing.assert_frame_equal(read_predictions(table), expected, rtol=1e-5, check_dtype=False)
    assert "4 views: the mean of their features" in caplog.text
    found = workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "e", **common))
    assert "of each image 4 views" in found.table
    other = workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "e1", views=1, **common))
    assert "of each image" not in other.table
    assert engine.checkpoint.load(folder).preprocessing.views == 4


def split_of(run):
    split = pd.read_parquet(run / "split.parquet")
    return {name: set(part["id_str"]) for name, part in split.groupby("split")}


def test_a_model_knows_the_galaxies_that_taught_it(taught_runs, catalog, engine, engine_name, tmp_path):
    run = taught_runs(engine_name)
    parts = split_of(run)
    assert {name: len(ids) for name, ids in parts.items()} == {"train": 16, "val": 4}
    calibrate = CalibrateOptions(catalog=catalog, checkpoint=run, backend=engine_name, **COMMON)
    workflow.calibrate(calibrate)  # which writes the checkpoint anew
    model = engine.checkpoint.load(run / "checkpoint")
    engine.checkpoint.save(model, tmp_path / "copy")
    for taught in (model.taught_by, engine.checkpoint.load(tmp_path / "copy").taught_by):
        assert taught.trained_on(sorted(parts["train"])).all()
        assert taught.validated_on(sorted(parts["val"])).all()
        assert taught.counts() == {"train": 16, "val": 4}
    assert read_checkpoint(run / "checkpoint").training["galaxies"] == {"train": 16, "val": 4}


def test_scores_say_which_galaxies_were_trained_on_and_leave_them_out(
    taught_runs, catalog, engine_name, tmp_path
):
    run, parts = taught_runs(engine_name), split_of(taught_runs(engine_name))
    table = pd.read_csv(catalog)
    table["file_loc"] = [str(catalog.parent / name) for name in table["file_loc"]]
    new = table.tail(2).assign(id_str=["new-1", "new-2"])
    kept = table[table["id_str"].isin(parts["val"] | set(sorted(parts["train"])[:3]))]
    pd.concat([kept, new]).to_csv(tmp_path / "mixed.csv", index=False)
    asked = {"checkpoint": run, "backend": engine_name, **COMMON}
    found = workflow.evaluate(
        EvaluateOptions(catalog=tmp_path / "mixed.csv", save_dir=tmp_path / "e", **asked)
    )
    sentence = "3 of these 9 galaxies were trained on and 4 chose its best epoch and calibration"
    assert sentence in found.table
    content = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    assert (content["trained_on"], content["validated_on"]) == (3, 4)
    options = EvaluateOptions(
        catalog=tmp_path / "mixed.csv", save_dir=tmp_path / "new", exclude_trained=True, **asked
    )
    assert workflow.evaluate(options).galaxies == 2
    assert read_predictions(tmp_path / "new" / "predictions.parquet")["id_str"].tolist() == ["new-1", "new-2"]
    with pytest.raises(CatalogError, match="leaves no galaxy"):
        workflow.evaluate(
            EvaluateOptions(catalog=catalog, save_dir=tmp_path / "none", exclude_trained=True, **asked)
        )


def test_a_checkpoint_that_does_not_know_is_scored_with_a_word_and_excludes_nothing(
    make_checkpoint, catalog, engine_name, tmp_path
):
    place = make_checkpoint("classification", 1)
    asked = {"catalog": catalog, "checkpoint": place, "backend": engine_name, **COMMON}
    found = workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "e", **asked))
    assert "the checkpoint does not say which galaxies it was trained on" in found.table
    assert json.loads((tmp_path / "e" / "evaluation.json").read_text())["trained_on"] is None
    with pytest.raises(CheckpointError, match="1 of 1 do not"):
        workflow.evaluate(EvaluateOptions(save_dir=tmp_path / "x", exclude_trained=True, **asked))
    assert not (tmp_path / "x").exists()
