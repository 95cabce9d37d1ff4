"""What a training run says and shows before its first step, once for every engine."""

import json
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot import workflow
from zoobot.options import FinetuneOptions, TrainOptions
from zoobot.workflow import starting

TINY = {
    "encoder": "test_resnet",
    "image_size_pix": 32,
    "max_epochs": 2,
    "patience": 1,
    "batch_size": 8,
    "num_workers": 1,
    "accelerator": "cpu",
    "progress": False,
}


@pytest.fixture
def told(tiny_survey, engine_name, tmp_path, caplog, undrawn):
    """What a run says before it starts, by the word at the beginning of each line."""

    def run(work="finetune", *, drawn=False, **changes):
        caplog.set_level("INFO", logger="zoobot")
        asked = {"catalog": str(tiny_survey), "save_dir": tmp_path / "run", "backend": engine_name}
        start, options = {
            "train": (workflow.train, TrainOptions),
            "finetune": (workflow.finetune, FinetuneOptions),
        }[work]
        with nullcontext() if drawn else undrawn():
            start(options(**TINY | asked | changes))
        lines = json.loads((tmp_path / "run" / "run.json").read_text())["told"]
        assert all(line in caplog.messages for line in lines)
        return dict(line.split(maxsplit=1) for line in lines if line.startswith("  "))

    return run


def test_a_run_says_what_will_happen(told, tiny_survey, tmp_path):
    said = told(labels="ring", n_blocks=1, drawn=True)
    rings = pd.read_csv(tiny_survey)["ring"]
    assert said["galaxies"].startswith("19 to learn from, 5 to validate on; split: random, seed 42")
    assert said["task"].startswith("classification of ring, ")
    assert "--task" in said["task"]
    counts = [int(part.split()[1]) for part in said["classes"].partition(";")[0].split(", ")]
    assert sum(counts) == 19
    assert counts[1] <= rings.sum()
    assert "few to learn from: 1 (" in said["classes"]
    assert "32 x 32 px" in str(said)
    assert said["training"].startswith("images are turned, mirrored, zoomed")
    assert said["learns"].startswith("the head and 1 of the encoder's ")
    assert said["epochs"] == "at most 2; ends after 1 without a better val_loss"
    assert said["time"].endswith("(a rough guess)")
    picture = np.asarray(Image.open(tmp_path / "run" / "inputs.png").convert("L"))
    assert (picture < 250).mean() > 0.3


def test_with_the_head_alone_it_says_that_images_do_not_vary(told):
    said = told(labels="ring", task="classification", val_fraction=0.3, split="stratified")
    assert "split: stratified, seed 42" in said["galaxies"]
    assert said["task"] == "classification of ring, as asked"
    assert said["training"] == "images as they are: each is encoded once, for all epochs"
    assert said["learns"].startswith("the head alone: ")
    assert "to encode all galaxies once" in said["time"]


def test_a_tree_says_how_many_voted_and_which_question_is_rare(told):
    said = told("train", schema=("gz_decals_dr5",), max_epochs=1)
    assert said["task"].startswith("tree: volunteers' votes on 10 questions of gz_decals_dr5")
    assert "rarest question: " in said["votes"]
    assert said["epochs"] == "at most 1"


def test_it_counts_weights_as_they_are(told, engine, tmp_path):
    said = told(labels="ring", max_epochs=1)["learns"]
    model = engine.checkpoint.load(tmp_path / "run" / "checkpoint")
    learning, total = model.parameter_counts()
    assert learning == 2 * (model.encoder.num_features + 1)
    assert said == f"the head alone: {learning:,} of {total:,} weights"


def test_a_picture_that_can_not_be_drawn_is_a_warning(told, monkeypatch, tmp_path, caplog):
    def broken(*arguments, **options):
        msg = "no fonts here"
        raise RuntimeError(msg)

    monkeypatch.setattr(starting.plots, "contact_sheet", broken)
    said = told(labels="ring", max_epochs=1)
    assert "picture" not in said
    assert not (tmp_path / "run" / "inputs.png").exists()
    assert "The picture of inputs is left out: no fonts here" in caplog.text
