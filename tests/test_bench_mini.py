"""The scripts that make zoobot-mini do so on a few made-up galaxies, and go on where they stood."""

import json
import shutil
import sys
from itertools import pairwise

import cv2
import numpy as np
import pandas as pd
import pytest

from zoobot.shared.checkpoint import read_checkpoint
from zoobot.shared.models.model_places import bundled_checkpoint

FIELDS = {"gz2_votes": 424, "gz2_votes_extra": 212, "gz2_counts": 424, "gz2_classes": 128, "efigi": 88}
GALAXIES = 5


@pytest.fixture
def surveys(tmp_path, load_benchmark):
    """A folder of labelled surveys as the scripts take them."""
    mini = load_benchmark("mini_galaxies")
    rng = np.random.default_rng(0)
    for name, side in {**FIELDS, "gz2_classes_fine": 280}.items():
        folder = tmp_path / "data" / name
        (folder / "images").mkdir(parents=True)
        table = pd.DataFrame(
            {"id_str": [f"00{i}" for i in range(GALAXIES)], "split": ["train"] * 3 + ["val"] * 2}
        )
        table["file_loc"] = [f"images/{i}.jpg" for i in range(GALAXIES)]
        level = 200 if name == "gz2_classes_fine" else 60
        for place in table["file_loc"]:
            cv2.imwrite(str(folder / place), np.full((side, side, 3), level, np.uint8))
        table["label"] = range(GALAXIES)
        table["label_name"] = [mini.CLASSES[i % 5] for i in range(GALAXIES)]
        table["T"] = [-6, 0, 11, 3, 4]
        table[list(mini.ATTRIBUTES)] = rng.choice([-1, 0, 0.25, 1], (GALAXIES, len(mini.ATTRIBUTES)))
        if name in mini.VOTES:
            answers = list(mini.schemas.get("gz2_full").label_cols)
            table[answers] = rng.integers(0, 20, (GALAXIES, len(answers)))
        table[1 if name == "gz2_classes_fine" else 0 :].to_csv(
            folder / mini.VOTES.get(name, "catalog.csv"), index=False
        )
    return tmp_path / "data"


def test_the_model_is_made_and_shipped(surveys, tmp_path, load_benchmark, monkeypatch, capsys):
    pytest.importorskip("torch")
    mini, train, work = (
        load_benchmark("mini_galaxies"),
        load_benchmark("train_zoobot_mini"),
        tmp_path / "work",
    )
    words = ["train_zoobot_mini.py", "--data", str(surveys), "--work", str(work), "--epochs", "2"]
    monkeypatch.setattr(sys, "argv", words)
    train.main()
    frames = [cv2.imread(str(work / "images" / f"gz2_classes-00{i}.jpg")) for i in (0, 1)]
    assert [frame.shape for frame in frames] == [(340, 340, 3)] * 2
    assert [round(frame.mean()) for frame in frames] == [60, 200]  # the second comes in finer pixels
    table = pd.read_csv(work / "catalog.csv", dtype={"id_str": str})
    is_classed = table["set"] == "gz2_classes"
    classes = [name for name in table if name.startswith("kind_")]
    assert table.loc[~is_classed, classes].isna().all(axis=None)
    assert (table.loc[is_classed, classes].sum(axis=1) == 10).all()
    stages = table[[name for name in table if name.startswith(mini.STAGE)]]
    assert stages[table["set"] != "efigi"].isna().all(axis=None)
    assert stages.loc[table["id_str"] == "efigi-002", f"{mini.STAGE}_dE"].item() == 10
    coarse, fine, further = (read_checkpoint(work / name / "checkpoint") for name in train.STAGES)
    settled = read_checkpoint(work / "settled")
    for earlier, later in pairwise([coarse, fine, further]):
        weights = [model.encoder["conv_head.weight"] for model in (earlier, later)]
        assert not np.array_equal(*weights)
        assert np.allclose(*weights, atol=0.01)  # each began where the last one ended
    for name, kernel in further.encoder.items():
        assert np.array_equal(settled.encoder[name], kernel), name
    assert settled.training["settled"]["galaxies"] == 3  # those of one set
    heads = [each.head_tensors["linear.weight"] for each in (settled, further)]
    assert not np.array_equal(*(head[:37] for head in heads))
    assert np.array_equal(*(head[37:] for head in heads))
    before = {name: (work / name / "metrics.csv").read_bytes() for name in train.STAGES}
    train.main()
    assert before == {name: (work / name / "metrics.csv").read_bytes() for name in train.STAGES}

    ship, bundled = load_benchmark("ship_zoobot_mini"), tmp_path / "bundled"
    shutil.copytree(bundled_checkpoint("zoobot-mini"), bundled)
    monkeypatch.setattr(ship, "BUNDLED", bundled)
    monkeypatch.setattr(sys, "argv", ["ship_zoobot_mini.py", "--work", str(work)])
    ship.main()
    shipped = read_checkpoint(bundled)
    assert shipped.preprocessing["image_size_pix"] == 160
    assert shipped.preprocessing["crop_fraction"] == shipped.pretrained_cfg["crop_pct"] == 256 / 424
    assert shipped.conformal["preprocessing"] == shipped.preprocessing
    for name, kernel in settled.encoder.items():
        assert np.allclose(shipped.encoder[name], kernel, rtol=1e-3, atol=1e-4), name
    assert "zoobot-mini" in (bundled / "README.md").read_text(encoding="utf-8")
    assert "MB, 90 answers" in capsys.readouterr().out


def test_a_task_is_left_out(surveys, tmp_path, load_benchmark, monkeypatch, capsys):
    pytest.importorskip("torch")
    left_out, work = load_benchmark("bench_left_out"), tmp_path / "work"
    record = tmp_path / "left_out.json"
    words = ["bench_left_out.py", "--data", str(surveys), "--work", str(work), "--json", str(record)]
    monkeypatch.setattr(sys, "argv", [*words, "--tasks", "t_type", "--epochs", "1", "--seeds", "1"])
    left_out.main()
    trained = read_checkpoint(work / "without_t_type" / "checkpoint")
    assert trained.training["galaxies"]["train"] == 12  # four sets of three
    runs = json.loads(record.read_text(encoding="utf-8"))["results"]
    assert [(run["encoder"], run["used"], run["scored"]) for run in runs] == [
        ("other galaxies", 3, 2),
        ("imagenet", 3, 2),
    ]
    assert "| left out | score | labels | other galaxies | imagenet |" in capsys.readouterr().out
