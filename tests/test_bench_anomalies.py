"""The benchmark of strange galaxies runs, and counts what it says it counts."""

import json
import sys

import numpy as np
import pytest


@pytest.fixture
def bench(load_benchmark):
    return load_benchmark("bench_anomalies")


def test_the_gain_is_that_over_a_random_hundredth(bench):
    is_rare = np.zeros(1000, bool)
    is_rare[[3, 500]] = True
    scores = -np.arange(1000.0)
    assert bench.gain(scores, is_rare) == pytest.approx(50)
    assert bench.gain(-scores, is_rare) == 0
    assert bench.gain(is_rare.astype(float), is_rare) == pytest.approx(100)


def test_galaxies_far_from_the_others_are_found(bench, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    common = ([f"g{row}" for row in range(300)], rng.normal(size=(300, 8)).astype(np.float32))
    rare = ([f"r{row}" for row in range(9)], (rng.normal(size=(9, 8)) + 6).astype(np.float32))
    planted = bench.Planted(common, (rare,))
    drawn = planted.draw(seed=1)
    assert drawn.is_rare.sum() == 3
    assert all(name.startswith("r") == rare for name, rare in zip(drawn.ids, drawn.is_rare, strict=True))
    monkeypatch.setattr(bench, "load_engine", lambda name: name)
    monkeypatch.setattr(bench, "simulated_sets", lambda *_, **__: {"far ones": planted})
    monkeypatch.setattr(
        sys, "argv", ["bench_anomalies.py", "--quick", "--json", str(tmp_path / "anomalies.json")]
    )
    bench.main()
    assert "| far ones | 303 | 3 | 101 |" in capsys.readouterr().out
    found = json.loads((tmp_path / "anomalies.json").read_text())["results"]["found"]["far ones"]
    assert found["rated"]["an example known"]["40"][0][0] == 101.0
    assert set(found["strange"]) == set(bench.WAYS)
