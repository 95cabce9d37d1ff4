"""Which models can be loaded by name, found out without a network."""

import json
import shutil

import numpy as np

import zoobot
from zoobot.front.listing import PUBLISHED, scores_in_words
from zoobot.shared.models.model_places import bundled_checkpoint


def test_what_is_here_comes_first_and_what_is_published_is_told(cached, publish, monkeypatch):
    arrays = {"conv1.weight": np.zeros((8, 3, 3, 3), np.float32)}
    publish(cached("mwalmsley/zoobot-encoder-resnet18"), "resnet18", arrays)
    shutil.copytree(bundled_checkpoint("zoobot-mini"), cached("me/mini", refs=("v1",)))
    (cached("somebody/text") / "readme").mkdir(parents=True)
    found = zoobot.models()
    here = [entry for entry in found if entry.where != "Hub"]
    assert {entry.name: entry.where for entry in here if entry.name != "imagenet-lite0"} == {
        "zoobot-mini": "bundled",
        "hf_hub:me/mini@v1": "Hub cache",
        "hf_hub:mwalmsley/zoobot-encoder-resnet18": "Hub cache",
    }
    assert len(found) == len(here) + len(PUBLISHED) - 1
    assert sorted(found.names) == sorted(set(found.names))
    mini = next(entry for entry in found if entry.name == "zoobot-mini")
    assert (mini.kind, mini.architecture, mini.image_size_pix) == (
        "tree zoobot_mini",
        "tf_efficientnet_lite0",
        160,
    )
    assert mini.size_bytes > 7e6
    assert "RMSE 0.089" in mini.scores
    assert "MB\n    Galaxy Challenge, 37 cumulative fractions against the published ones: RMSE 0.089" in repr(
        found
    )
    html = found._repr_html_()
    assert "RMSE 0.089" in html
    assert html.count("<tr>") == len(found) + 1


def test_there_may_be_no_cache(hub):
    assert "zoobot-mini" in zoobot.models().names


def test_scores_are_those_of_the_run_or_the_card(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(bundled_checkpoint("zoobot-mini"), run / "checkpoint")
    (run / "run.json").write_text(json.dumps({"work": "finetune", "status": "done", "options": {}}))
    (run / "evaluation.json").write_text(json.dumps({"scores": {"fraction_rmse": 0.12345, "nll": None}}))
    assert scores_in_words(run) == scores_in_words(run / "checkpoint") == "RMSE of vote fractions 0.123"
    assert scores_in_words("zoobot-mini").splitlines()[1].startswith("five classes")
    assert (
        scores_in_words("no-such-model") == scores_in_words(tmp_path) == scores_in_words("model.onnx") == ""
    )
