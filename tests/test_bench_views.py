"""The benchmark of views scores galaxies made here, with as many views as it says."""

import json
import sys

import cv2
import numpy as np
import pandas as pd
import pytest

from zoobot.certainty.tree_scores import CHALLENGE_COLUMNS


def test_a_quick_run_leaves_figures(load_benchmark, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for name in ("gz2_votes", "decals_rings"):
        (tmp_path / name).mkdir()
        for number in range(6):
            image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), image)
        table = pd.DataFrame({"id_str": [f"00{i}" for i in range(6)], "split": "val"})
        table["file_loc"] = [f"{i}.png" for i in range(6)]
        table["label"] = [0, 1] * 3
        truth = pd.DataFrame(rng.random((6, 37)), columns=list(CHALLENGE_COLUMNS))
        pd.concat([table, truth], axis=1).to_csv(tmp_path / name / "catalog.csv", index=False)
    record = tmp_path / "views.json"
    words = ["bench_views.py", "--quick", "--data", str(tmp_path), "--json", str(record)]
    monkeypatch.setattr(sys, "argv", words)
    load_benchmark("bench_views").main()
    results = json.loads(record.read_text())["results"]
    assert [one["views"] for one in results["votes"]] == [1, 2, 4, 8]
    assert len({one["rmse"] for one in results["votes"]}) == 4
    assert [one["views"] for one in results["rings"]] == [1, 8]
    assert all(one["galaxies"] == 6 for part in results.values() for one in part)
    assert "challenge RMSE" in capsys.readouterr().out
