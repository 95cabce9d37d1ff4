"""`zoobot represent` as a user types it."""

import json

import numpy as np
import pandas as pd
import pytest

from zoobot import cli
from zoobot.shared.features.tables import read_features


@pytest.fixture(scope="module")
def run():
    def command(*words):
        return cli.main([str(word) for word in words])

    return command


@pytest.fixture(scope="module")
def survey(tiny_survey):
    return tiny_survey


def test_features_of_a_catalog(run, survey, tmp_path, capsys):
    table = tmp_path / "features.parquet"
    words = ["represent", "test_resnet", "--catalog", survey, "--no-progress", "--seed", 1]
    assert run(*words, "--save-loc", table, "--dtype", "float16") == 0
    assert f"features of 24 galaxies: {table}" in capsys.readouterr().out
    found = read_features(table)
    assert len(found) == 24
    assert np.isfinite(found.features).all()
    record = json.loads((tmp_path / "features.run.json").read_text())
    assert (record["work"], record["status"]) == ("represent", "finished")
    assert run(*words, "--save-loc", table) == 2
    assert "exists: choose another --save-loc" in capsys.readouterr().err


def test_features_in_parts_are_told_of_and_merged(run, survey, tmp_path, capsys):
    folder = tmp_path / "features"
    words = ["represent", "zoobot-mini", "--catalog", survey, "--save-loc", folder, "--no-progress"]
    assert run(*words, "--part-rows", 10, "--shard", "1/2", "--block", "0") == 0
    assert "1 parts are still missing" in capsys.readouterr().out
    assert run("status", folder) == 0
    told = capsys.readouterr().out
    assert "features of" in told
    assert "--shard 2/2" in told
    assert run(*words, "--part-rows", 10, "--shard", "2/2", "--block", "stem") == 0
    assert run("merge", folder, "--save-loc", tmp_path / "all.fits") == 0
    np.testing.assert_array_equal(
        read_features(tmp_path / "all.fits").features, read_features(folder).features
    )
    assert read_features(tmp_path / "all.fits").origin["task"]["block"] == "stem"


def test_what_an_encoder_looks_at_is_said_and_can_be_chosen(
    run, survey, tmp_path, capsys, publish, engine_name
):
    weights = {"conv1.weight": np.ones((2, 1, 3, 3), "f4")}
    stranger = publish(tmp_path / "mine", "test_resnet", weights, size=32)
    assert run("info", stranger) == 0
    told = capsys.readouterr().out
    for words in ("the whole image", "32 x 32 px", "1 channel", "mean 0.449", "nothing tells where"):
        assert words in told
    words = ["represent", "zoobot-mini", "--catalog", survey, "--no-progress", "--backend", engine_name]
    words += ["--save-loc", tmp_path / "a.csv", "--crop-fraction", 0.5, "--image-size-pix", 32]
    assert run(*words, "--normalisation", "plain") == 0
    told = capsys.readouterr().err
    for line in (
        "the central 50 % of each image",
        "32 x 32 px",
        "none: pixels in [0, 1]",
        "--crop-fraction, --image-size-pix",
    ):
        assert line in told
    assert run(*words, "--overwrite", "--mean", 0, "--std", 1) == 0
    assert run(*words, "--overwrite", "--normalisation", "plain", "--mean", 0) == 2
    assert "--normalisation by name, or --mean and --std" in capsys.readouterr().err


def test_an_image_is_asked_about_as_the_features_were_made(run, survey, tmp_path, capsys):
    words = ["represent", "zoobot-mini", "--catalog", survey, "--no-progress", "--crop-fraction", 0.5]
    words += ["--image-size-pix", 32, "--normalisation", "plain"]
    assert run(*words, "--save-loc", tmp_path / "a.parquet") == 0
    image = survey.parent / pd.read_csv(survey).file_loc[0]
    asked = ["similar", tmp_path / "a.parquet", "--like", image, "-k", 1, "--save-loc", tmp_path / "like.csv"]
    assert run(*asked) == 0
    rows = (tmp_path / "like.csv").read_text().splitlines()
    assert float(rows[1].split(",")[3]) > 0.9999


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "no encoder is called"),
        (["model.onnx"], "exported file"),
        (["zoobot-mini", "--block", "stage9"], "by name or number: 0 stem, 1 blocks.0"),
    ],
)
def test_what_can_not_work_is_told_before_work(run, survey, tmp_path, capsys, words, told):
    assert run("represent", *words, "--catalog", survey, "--save-loc", tmp_path / "f.parquet") == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.glob("f.parquet"))
