"""The benchmark of loops runs on galaxies made here, and goes on where it was."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from zoobot.choosing.strategy_names import read_strategy


@pytest.fixture
def bench(load_benchmark):
    return load_benchmark("bench_loop")


def test_every_game_can_be_played(bench):
    for game in bench.GAMES.values():
        kind = "classification" if game.only else bench.TASKS[game.source].kind
        for name in game.strategies:
            read_strategy(name, kind)
        assert game.strategies[0] == "random"


def test_a_quick_game_leaves_figures_and_a_picture(bench, tiny_survey, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    table = pd.read_csv(tiny_survey)
    table["file_loc"] = [str(tiny_survey.parent / file) for file in table["file_loc"]]
    table["split"] = np.where(np.arange(len(table)) % 3 == 0, "val", "train")
    table["T"] = table["dec"]
    (tmp_path / "efigi").mkdir()
    table.to_csv(tmp_path / "efigi" / "catalog.csv", index=False)
    game = bench.Game("types", "t_type", "rmse", ("random", "variance"), start=5, per_round=3)
    monkeypatch.setattr(bench, "GAMES", {"t_type": game})
    monkeypatch.setattr(bench, "ENCODER", "resnet10t")
    words = ["bench_loop.py", "--data", str(tmp_path), "--quick", "--work", str(tmp_path / "work")]
    words += [
        "--json",
        str(tmp_path / "loop.json"),
        "--plot",
        str(tmp_path / "loop.png"),
        "--tasks",
        "t_type",
    ]
    monkeypatch.setattr(sys, "argv", words)
    bench.main()
    first = json.loads((tmp_path / "loop.json").read_text())["results"]
    assert first["t_type"]["curves"]["labels"] == [5, 8, 11] * 2
    assert set(first["t_type"]["savings"]["rmse"]) == {"random", "variance"}
    assert (tmp_path / "loop.png").stat().st_size > 5000
    assert "| types | rmse" in capsys.readouterr().out
    (tmp_path / "loop.json").unlink()
    bench.main()  # the finished run is read, not played again
    assert json.loads((tmp_path / "loop.json").read_text())["results"] == first
