"""Which galaxies to label next, as a list with reasons, once for every engine."""

import json
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot import workflow
from zoobot.choosing.acquisition import score_galaxies
from zoobot.choosing.rules import Rule, rule_probabilities
from zoobot.cli import main
from zoobot.options import FinetuneOptions, PredictOptions, PrioritiseOptions
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import CatalogError, ConfigError, PredictionsError
from zoobot.shared.predictions import read_prediction_metadata, read_samples
from zoobot.shared.tasks import from_config

TINY = {
    "encoder": "test_resnet",
    "image_size_pix": 32,
    "max_epochs": 1,
    "batch_size": 8,
    "num_workers": 1,
    "accelerator": "cpu",
    "progress": False,
}
COMMON = {"batch_size": 8, "num_workers": 1, "progress": False, "n": 8}


@pytest.fixture(scope="module")
def trained(tiny_survey, tmp_path_factory, undrawn):
    """A tree's run for each engine, made when first asked for."""
    made = {}

    def train(engine_name):
        if engine_name not in made:
            folder = tmp_path_factory.mktemp("models") / engine_name
            options = {"task": "tree", "schema": "gz_decals_dr5", "backend": engine_name, "calibrate": False}
            with undrawn():
                workflow.finetune(FinetuneOptions(catalog=tiny_survey, save_dir=folder, **options, **TINY))
            made[engine_name] = folder
        return made[engine_name]

    return train


@pytest.fixture
def prioritise(trained, tiny_survey, engine_name, tmp_path, undrawn):
    def run(name="next.csv", *, drawn=False, **changes):
        options = {
            "catalog": tiny_survey,
            "checkpoint": trained(engine_name),
            "save_loc": tmp_path / name,
            "backend": engine_name,
            "n_samples": 3,
        }
        with nullcontext() if drawn else undrawn():
            return workflow.prioritise(PrioritiseOptions(**COMMON | options | changes))

    return run


def test_the_list_is_ranked_with_reasons(prioritise, tiny_survey, engine_name, trained, caplog):
    with caplog.at_level("WARNING", logger="zoobot"):
        result = prioritise(diversity="none")
    assert "whole tree the best scores taught less than random" in caplog.text
    table = pd.read_csv(result.save_loc, dtype={"id_str": str})
    assert list(table) == ["rank", "id_str", "file_loc", "score", "reason", "expected", "distance", "cost"]
    assert table["rank"].tolist() == list(range(1, 9))
    assert table["score"].is_monotonic_decreasing
    assert set(table["id_str"]) <= set(pd.read_csv(tiny_survey, dtype={"id_str": str})["id_str"])
    engine = load_engine(engine_name)
    model = engine.checkpoint.load(trained(engine_name) / "checkpoint")
    assert set(table["reason"]) <= {question.text for question in model.task.schema.questions}
    found = engine.represent.represent(tiny_survey, model, batch_size=8, progress=False)
    samples = engine.represent.predict_features(found.features, model, n_samples=3, seed=42)
    scores = score_galaxies(model.task, samples).score
    best = [found.ids[row] for row in np.argsort(-scores)[:8]]
    assert table["id_str"].tolist() == best
    np.testing.assert_allclose(table["score"], np.sort(scores)[::-1][:8], rtol=1e-4)


def test_the_picture_shows_the_first_galaxies(prioritise):
    result = prioritise(drawn=True)
    assert (np.asarray(Image.open(result.picture).convert("L")) < 250).mean() > 0.02
    record = json.loads(result.save_loc.with_suffix(".run.json").read_text())
    assert record["status"] == "finished"
    assert record["chosen"] == 8
    assert prioritise("plain.csv", picture=False).picture is None


def test_galaxies_that_are_labelled_are_not_listed_nor_are_their_copies(prioritise, tiny_survey, tmp_path):
    table = pd.read_csv(tiny_survey, dtype={"id_str": str})
    table["file_loc"] = [str(tiny_survey.parent / file) for file in table["file_loc"]]
    copies = table.head(4).assign(id_str=[f"copy-{i}" for i in range(4)])
    pd.concat([table, copies]).to_csv(tmp_path / "more.csv", index=False)
    table.head(10)[["id_str"]].to_csv(tmp_path / "done.csv", index=False)
    result = prioritise(catalog=tmp_path / "more.csv", exclude=tmp_path / "done.csv", n=12)
    listed = set(result.table["id_str"])
    assert not listed & set(table["id_str"].head(10))
    assert not any(one.startswith("copy") for one in listed)
    assert np.isfinite(result.table["distance"]).all()
    with pytest.raises(CatalogError, match="leaves no galaxy"):
        prioritise("b.csv", exclude=tiny_survey)


def test_without_labels_any_encoder_chooses_some_that_stand_for_all(tiny_survey, engine_name, tmp_path):
    options = {"catalog": tiny_survey, "checkpoint": "test_resnet", "score": "typical"}
    options |= {"backend": engine_name}
    result = workflow.prioritise(PrioritiseOptions(save_loc=tmp_path / "first.json", **COMMON | options))
    assert "8 of 24 galaxies, by typical" in result.report()
    assert result.table["id_str"].nunique() == 8
    assert set(result.table["reason"]) == {"typical"}
    assert np.isfinite(result.table["distance"][1:]).all()
    assert (np.asarray(Image.open(result.picture).convert("L")) < 250).mean() > 0.02
    content = json.loads(result.save_loc.read_text())
    assert content["task"] is None
    assert [one["subject_id"] for one in content["subjects"]] == result.table["id_str"].tolist()
    result.table[["id_str"]].to_csv(tmp_path / "done.csv", index=False)
    options |= {"exclude": tmp_path / "done.csv", "picture": False}
    second = workflow.prioritise(PrioritiseOptions(save_loc=tmp_path / "second.csv", **COMMON | options))
    assert not set(second.table["id_str"]) & set(result.table["id_str"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predictions": "samples.parquet"}, "leave --predictions out"),
        ({"ensemble": ("b",)}, "leave --ensemble out"),
        ({"questions": ("bar",)}, "leave --questions out"),
        ({"diversity": "kcentre"}, "leave --diversity kcentre out"),
        ({"answer": "bar_yes"}, "leave one of them out"),
    ],
)
def test_what_is_typical_needs_no_prediction(changes, message):
    with pytest.raises(ConfigError, match=message):
        PrioritiseOptions(catalog="new.csv", checkpoint="a", score="typical", save_loc="x.csv", **changes)


def test_json_for_a_platform_says_the_same(prioritise):
    result = prioritise("next.json")
    content = json.loads(result.save_loc.read_text())
    assert (content["score"], content["diversity"]) == ("bald", "kmeans++")
    subjects = content["subjects"]
    assert [one["subject_id"] for one in subjects] == result.table["id_str"].tolist()
    assert [one["priority"] for one in subjects] == list(range(1, 9))
    for one in subjects:
        assert one["questions"][0]["question"] == one["reason"]
        assert 0 < sum(question["share"] for question in one["questions"]) <= 1.01
        assert all(0 <= question["asked"] <= 1 for question in one["questions"])


def test_predictions_that_are_there_give_the_same_list(
    prioritise, trained, tiny_survey, engine_name, tmp_path
):
    workflow.predict(
        PredictOptions(
            checkpoint=trained(engine_name),
            catalog=tiny_survey,
            save_loc=tmp_path / "samples.parquet",
            n_samples=3,
            backend=engine_name,
            batch_size=8,
            progress=False,
        )
    )
    options = {"predictions": tmp_path / "samples.parquet", "n_samples": None}
    alone = prioritise("alone.csv", checkpoint=None, **options)
    task = from_config(read_prediction_metadata(tmp_path / "samples.parquet")["task"])
    blocks = list(read_samples(tmp_path / "samples.parquet", task.output_columns))
    scores = score_galaxies(task, np.concatenate([values for _, values in blocks], axis=1)).score
    np.testing.assert_allclose(alone.table["score"], np.sort(scores)[::-1][:8])
    assert alone.picture is not None
    assert alone.table["distance"].isna().all()
    apart = prioritise("apart.csv", diversity="kcentre", **options)
    assert apart.table["distance"].notna().sum() == 7
    other = pd.read_csv(tiny_survey).assign(id_str=lambda t: t["id_str"].astype(str) + "x")
    other["file_loc"] = [str(tiny_survey.parent / file) for file in other["file_loc"]]
    other.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(CatalogError, match="none of the"):
        prioritise("c.csv", checkpoint=None, catalog=tmp_path / "other.csv", **options)


def test_an_ensemble_disagrees_without_dropout(prioritise, trained, engine_name):
    same = prioritise("same.csv", ensemble=(trained(engine_name),), n_samples=None)
    np.testing.assert_allclose(same.table["score"], 0, atol=1e-9)  # twice the same model: it agrees


def test_costs_and_a_budget_are_kept(prioritise, tiny_survey, tmp_path):
    table = pd.read_csv(tiny_survey)
    table["file_loc"] = [str(tiny_survey.parent / file) for file in table["file_loc"]]
    table["minutes"] = 1 + np.arange(len(table)) % 3
    table.to_csv(tmp_path / "costs.csv", index=False)
    result = prioritise(catalog=tmp_path / "costs.csv", cost_col="minutes", budget=7, n=24)
    assert result.table["cost"].sum() <= 7
    assert len(result.table) > 2
    table["minutes"] = 0
    table.to_csv(tmp_path / "free.csv", index=False)
    with pytest.raises(CatalogError, match="above 0"):
        prioritise("b.csv", catalog=tmp_path / "free.csv", cost_col="minutes")


def test_one_question_can_count_alone(prioritise):
    result = prioritise(questions=("bar-dr5",))
    assert set(result.table["reason"]) == {"bar-dr5"}
    with pytest.raises(ConfigError, match="did you mean bar-dr5"):
        prioritise("b.csv", questions=("bar",))


def test_a_rule_asks_all_members_and_leaves_out_what_is_labelled(
    prioritise, trained, tiny_survey, engine_name, tmp_path
):
    done = pd.read_csv(tiny_survey, dtype={"id_str": str})["id_str"].head(6)
    done.to_frame().to_csv(tmp_path / "done.csv", index=False)
    rule = {"answer": "bar-dr5_no", "fraction": 0.1, "probability": 0.2, "platform": "zooniverse"}
    result = prioritise(ensemble=(trained(engine_name),), n_samples=2, exclude=tmp_path / "done.csv", **rule)
    assert result.looked_at == 18
    assert not set(result.table["id_str"]) & set(done)
    assert set(result.table["reason"]) == {"bar-dr5_no"}
    engine = load_engine(engine_name)
    model = engine.checkpoint.load(trained(engine_name) / "checkpoint")
    found = engine.represent.represent(tiny_survey, model, batch_size=8, progress=False)
    members = [
        engine.represent.predict_features(found.features, model, n_samples=2, seed=seed) for seed in (42, 43)
    ]
    sure = rule_probabilities(model.task, np.concatenate(members), Rule("bar-dr5_no", 0.1)).mean(axis=0)
    expected = dict(zip(found.ids, sure, strict=True))
    listed = [expected[galaxy] for galaxy in result.table["id_str"]]
    np.testing.assert_allclose(result.table["score"], listed, atol=0.05)  # dropout draws by place
    assert result.table["score"].is_monotonic_decreasing
    assert len(list((tmp_path / "next.zooniverse").glob("*.csv"))) == 1
    with pytest.raises(ConfigError, match="did you mean bar-dr5_no"):
        prioritise("b.csv", **rule | {"answer": "bar-dr5_none"})


def test_what_can_not_work_is_said(prioritise, tmp_path):
    prioritise()
    with pytest.raises(ConfigError, match="exists"):
        prioritise()
    prioritise(overwrite=True)
    with pytest.raises(ConfigError, match="must end in"):
        prioritise("next.txt")
    with pytest.raises(ConfigError, match="must be one of"):
        prioritise("b.csv", score="variance")
    with pytest.raises(ConfigError, match="needs several predictions"):
        prioritise("c.csv", n_samples=1)
    with pytest.raises(ConfigError, match="give a trained model"):
        prioritise("d.csv", checkpoint=None)
    with pytest.raises(PredictionsError, match="no prediction table"):
        prioritise("e.csv", checkpoint=None, predictions=tmp_path / "nothing.parquet", n_samples=None)


def test_the_command_line_lists(trained, tiny_survey, tmp_path, capsys):
    pytest.importorskip("torch")
    words = [
        "prioritise",
        str(trained("pytorch")),
        "--catalog",
        str(tiny_survey),
        "--n",
        "5",
        "--n-samples",
        "2",
    ]
    assert main([*words, "--save-loc", str(tmp_path / "l.csv"), "--no-progress"]) == 0
    said = capsys.readouterr().out
    assert "5 of 24 galaxies, by bald" in said
    assert "l.png" in said
