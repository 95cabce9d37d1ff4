"""A simulated loop on a tiny survey, once for every engine: it learns, and goes on after a kill."""

import importlib
import json
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

from zoobot import workflow
from zoobot.cli import main
from zoobot.options import LoopOptions
from zoobot.shared.errors import CatalogError, ConfigError

TINY = {
    "simulate": True,
    "encoder": "test_resnet",
    "image_size_pix": 32,
    "batch_size": 8,
    "num_workers": 1,
    "progress": False,
    "start": 6,
    "rounds": 2,
    "per_round": 4,
    "members": 2,
    "volunteers": 2,
    "seeds": (1,),
    "held_out_fraction": 0.3,
}


@pytest.fixture
def play(tiny_survey, engine_name, tmp_path, undrawn):
    def run(name="loop", *, drawn=False, **changes):
        options = {"catalog": tiny_survey, "save_dir": tmp_path / name, "backend": engine_name}
        with nullcontext() if drawn else undrawn():
            return workflow.loop(LoopOptions(**TINY | options | changes))

    return run


def rounds_of(result):
    return json.loads((result.save_dir / "rounds.json").read_text())


def test_a_loop_over_votes_leaves_curves_and_what_was_bought(play, tiny_survey):
    result = play(task="tree", schema="gz_decals_dr5", strategies=("random", "bald+kcentre"), drawn=True)
    played = rounds_of(result)
    assert set(played) == {"random 1", "bald+kcentre 1"}
    starts = [rounds[0] for rounds in played.values()]
    assert starts[0] == starts[1]
    for rounds in played.values():
        assert [one["labels"] for one in rounds] == [6, 10, 14]
        bought = [galaxy for one in rounds for galaxy in one["bought"]]
        assert len(set(bought)) == 14
    assert played["random 1"][1]["bought"] != played["bald+kcentre 1"][1]["bought"]
    curves = pd.read_csv(result.save_dir / "curves.csv")
    assert len(curves) == 6
    assert np.isfinite(curves["nll"]).all()
    assert (result.save_dir / "curves.png").stat().st_size > 5000
    assert "bald+kcentre" in result.table
    assert json.loads((result.save_dir / "run.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    ("task", "labels", "strategies"),
    [
        ("classification", ("label_name",), ("random", "margin")),
        ("regression", ("dec",), ("random", "variance+kmeans++")),
    ],
)
def test_loops_over_classes_and_numbers(play, task, labels, strategies):
    result = play(task=task, labels=labels, strategies=strategies, member_kind="dropout")
    assert set(result.savings) == set(strategies)
    assert (result.curves["labels"].max()) == 14


def test_a_killed_loop_goes_on_as_if_nothing_had_happened(play, engine_name, monkeypatch):
    options = {"task": "classification", "labels": ("ring",), "strategies": ("random", "bald")}
    whole = play("whole", **options)
    loop = importlib.import_module("zoobot.workflow.loop")  # the package has a function of that name

    real, played = loop.play, []

    def killed(*arguments, **named):
        for one in real(*arguments, **named):
            played.append(one)
            yield one
            if len(played) == 4:
                raise KeyboardInterrupt

    monkeypatch.setattr(loop, "play", killed)
    with pytest.raises(KeyboardInterrupt):
        play("killed", **options)
    monkeypatch.setattr(loop, "play", real)

    def not_again(*_, **__):
        raise AssertionError

    with monkeypatch.context() as patch:
        from zoobot.shared.engine import load_engine

        patch.setattr(load_engine(engine_name).represent, "represent", not_again)
        again = play("killed", **options, resume=True)
    assert rounds_of(again) == rounds_of(whole)
    with pytest.raises(ConfigError, match="finished"):
        play("killed", **options, resume=True)


def test_held_out_galaxies_are_never_bought(play, tiny_survey, tmp_path):
    table = pd.read_csv(tiny_survey)
    table["part"] = np.where(np.arange(len(table)) % 4 == 0, "aside", "open")
    table.to_csv(tiny_survey.with_name("parts.csv"), index=False)
    result = play(
        catalog=tiny_survey.with_name("parts.csv"),
        labels=("ring",),
        held_out="part=aside",
        strategies="random",
    )
    aside = set(table.loc[table["part"] == "aside", "id_str"].astype(str))
    bought = {galaxy for one in rounds_of(result)["random 1"] for galaxy in one["bought"]}
    assert bought
    assert not bought & aside


def test_what_can_not_work_is_said_before_work(play):
    with pytest.raises(CatalogError, match="would label"):
        play(labels=("ring",), rounds=50)
    with pytest.raises(ConfigError, match="a strategy for a regression task"):
        play(task="regression", labels=("dec",), strategies=("bald",))
    with pytest.raises(ConfigError, match="say --simulate"):
        play(labels=("ring",), simulate=False)
    with pytest.raises(ConfigError, match="all different"):
        play(labels=("ring",), seeds=(1, 1))
    with pytest.raises(ConfigError, match="--score must be"):
        play(labels=("ring",), score="beauty")


def test_the_command_line_says_what_was_found(tiny_survey, tmp_path, capsys):
    pytest.importorskip("torch")
    words = f"loop --simulate --catalog {tiny_survey} --labels ring --save-dir {tmp_path / 'l'}"
    words += " --encoder test_resnet --image-size-pix 32"
    words += " --start 6 --rounds 1 --per-round 4 --members 2 --seeds 1 --no-progress"
    assert main(words.split()) == 0
    said = capsys.readouterr().out
    assert "After 10 labels, 1 seed" in said
    assert "random" in said
    assert "curves.png" in said
