"""The benchmark of explorer pages runs on galaxies made here."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.skipif(
    not BENCHMARKS.exists(), reason="the tests were moved away from the benchmarks"
)


def test_a_quick_run_leaves_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("bench_explorer", BENCHMARKS / "bench_explorer.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    monkeypatch.setattr(bench, "CHROMIUM", ())  # what it does in a browser is in tests/explorer
    monkeypatch.setattr(sys, "argv", ["bench_explorer.py", "--quick", "--json", str(tmp_path / "found.json")])
    bench.main()
    results = json.loads((tmp_path / "found.json").read_text())["results"]
    assert results["browser"] == "no Chromium"
    assert 0 < results["making"]["of_which_pictures_mb"] < results["making"]["file_mb"] < 2
    assert results["pictures"]["webp_alone_bytes"] < results["pictures"]["jpeg_alone_bytes"]
    assert "file_mb" in capsys.readouterr().out
