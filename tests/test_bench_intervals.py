"""The benchmark of intervals scores galaxies made here, whose truth it holds as often as it says."""

import json
import sys

import cv2
import numpy as np
import pandas as pd
import pytest


def test_a_quick_run_leaves_figures(load_benchmark, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    (tmp_path / "efigi").mkdir()
    for number in range(4):
        cv2.imwrite(str(tmp_path / "efigi" / f"{number}.png"), rng.integers(0, 256, (32, 32, 3), np.uint8))
    table = pd.DataFrame({"id_str": [f"{i:03}" for i in range(88)], "T": rng.normal(size=88)})
    table["file_loc"] = [f"{i % 4}.png" for i in range(88)]
    table.to_csv(tmp_path / "efigi" / "catalog.csv", index=False)
    record = tmp_path / "intervals.json"
    words = [
        "bench_intervals.py",
        "--quick",
        "--tasks",
        "t_type",
        "--data",
        str(tmp_path),
        "--json",
        str(record),
    ]
    monkeypatch.setattr(sys, "argv", words)
    load_benchmark("bench_intervals").main()
    rows = json.loads(record.read_text())["results"]["t_type"]
    assert [row["level"] for row in rows] == [0.68, 0.9, 0.95, 0.99]
    assert all((row["galaxies"], row["errors"]) == (22, 17) for row in rows)
    assert rows[1]["size_val"] > rows[0]["size_val"] > 0
    assert 0.5 < rows[1]["held_val"] <= 1
    assert np.isnan(rows[2]["held_val"])  # of 17 errors there is no interval of 95%
    assert "promised" in capsys.readouterr().out
