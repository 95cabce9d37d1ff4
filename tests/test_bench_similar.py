"""The benchmark of similarity runs on features made here, and scores as it says."""

import json
import sys

import numpy as np
import pytest


@pytest.fixture
def bench(load_benchmark):
    return load_benchmark("bench_similar")


def test_precision_is_a_mean_over_galaxies_and_over_classes(bench):
    own = np.array(["a", "a", "a", "b"])
    theirs = np.array([["a", "a"], ["a", "b"], ["a", "a"], ["b", "a"]])
    scores = bench._score(own, theirs)
    assert scores["mean"] == pytest.approx((1 + 0.5 + 1 + 0.5) / 4)
    assert scores["classes"] == pytest.approx({"a": 2.5 / 3, "b": 0.5})
    assert scores["by_class"] == pytest.approx((2.5 / 3 + 0.5) / 2)


def test_a_quick_search_leaves_figures(bench, tmp_path, monkeypatch, capsys):
    pytest.importorskip("faiss")
    words = ["bench_similar.py", "--quick", "--parts", "speed", "--json", str(tmp_path / "similar.json")]
    monkeypatch.setattr(sys, "argv", words)
    bench.main()
    speed = json.loads((tmp_path / "similar.json").read_text())["results"]["speed"]
    assert len(speed) == 4
    assert all(
        row["one"]["wall_ms"]["repeats"] == 10 and row["memory"]["peak_mb"] > 0 for row in speed.values()
    )
    assert speed["2,000 × 16, index made, approximate"]["found"] > 0.9
    assert "exact" in capsys.readouterr().out
