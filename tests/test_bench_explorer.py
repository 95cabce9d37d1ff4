"""The benchmark of explorer pages runs on galaxies made here."""

import json
import sys


def test_a_quick_run_leaves_figures(load_benchmark, tmp_path, monkeypatch, capsys):
    bench = load_benchmark("bench_explorer")
    monkeypatch.setattr(bench, "CHROMIUM", ())  # what it does in a browser is in tests/explorer
    monkeypatch.setattr(sys, "argv", ["bench_explorer.py", "--quick", "--json", str(tmp_path / "found.json")])
    bench.main()
    results = json.loads((tmp_path / "found.json").read_text())["results"]
    assert results["browser"] == "no Chromium"
    assert 0 < results["labelling"]["file_mb"] < 2
    assert 0 < results["making"]["of_which_pictures_mb"] < results["making"]["file_mb"] < 2
    assert results["pictures"]["webp_alone_bytes"] < results["pictures"]["jpeg_alone_bytes"]
    assert "file_mb" in capsys.readouterr().out
