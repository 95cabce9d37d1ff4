"""The benchmark of heads scores both ways of learning on the same galaxies, made here."""

import json
import sys

import cv2
import numpy as np
import pandas as pd
import pytest


def test_a_quick_run_leaves_figures(load_benchmark, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    folder = tmp_path / "gz2_classes"
    folder.mkdir()
    for number in range(30):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    table = pd.DataFrame({"id_str": [f"00{i}" for i in range(30)], "label": np.arange(30) % 5})
    table["file_loc"] = [f"{i}.png" for i in range(30)]
    table.to_csv(folder / "catalog.csv", index=False)
    record = tmp_path / "head.json"
    words = ["bench_head.py", "--quick", "--data", str(tmp_path), "--json", str(record)]
    monkeypatch.setattr(sys, "argv", words)
    load_benchmark("bench_head").main()
    (found,) = json.loads(record.read_text())["results"]
    assert found["galaxies"] == 20
    assert all(found[arm]["loss"] > 0 for arm in ("at once", "50 epochs"))
    assert "50 epochs" in capsys.readouterr().out
