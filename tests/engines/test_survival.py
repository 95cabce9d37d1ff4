"""Runs that are killed, whose disk fills, or whose loss explodes leave what is good, and go on exactly."""

import errno
import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.checkpoint import read_checkpoint
from zoobot.shared.errors import NonFiniteError, WriteError
from zoobot.shared.files import whole as whole_files
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.training.steps import SaveTimes

SCRIPT = Path(__file__).with_name("train_and_die.py")
_spec = importlib.util.spec_from_file_location("train_and_die", SCRIPT)
script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(script)

#: A top block takes 2 steps an epoch, validates 2 batches, and ends it: 5 times it asks whether to stop.
RUNS = {
    "within-epoch": {"kind": "blocks", "signal": "SIGTERM", "when": 6},
    "last-batch": {"kind": "blocks", "signal": "SIGTERM", "when": 7},
    "validating": {"kind": "blocks", "signal": "SIGUSR1", "when": 8},
    "head-alone": {"kind": "head", "signal": "SIGTERM", "when": 9},
    # a checkpoint after each step: 2 in the first epoch, that of its end, and the first of the second
    "killed": {"kind": "blocks", "signal": "SIGKILL", "when": 4, "checkpoint_minutes": 1e-9},
}


def test_runs_that_signals_ended_go_on_as_if_nothing_had_happened(
    engine, engine_name, catalog_path, tmp_path
):
    runs = [{"run": str(tmp_path / name), **how} for name, how in RUNS.items()]
    told = json.dumps({"engine": engine_name, "catalog": str(catalog_path), "runs": runs})
    died = subprocess.run(
        [sys.executable, str(SCRIPT), told], capture_output=True, text=True, check=False, timeout=300
    )
    assert died.returncode == -9, died.stderr[-3000:]
    codes = dict(line.rsplit(" ", 1) for line in died.stdout.splitlines() if " " in line)
    assert codes == {
        str(tmp_path / name): "138" if how["signal"] == "SIGUSR1" else "143"
        for name, how in RUNS.items()
        if how["signal"] != "SIGKILL"
    }
    for kind in ("blocks", "head"):
        script.train(engine, catalog_path, tmp_path / kind, kind)
    for name, how in RUNS.items():
        run = tmp_path / name
        assert pd.read_csv(run / "metrics.csv")["epoch"].tolist() == [1], name
        script.train(engine, catalog_path, run, how["kind"], progress=name == "within-epoch")
        whole = tmp_path / how["kind"]
        pd.testing.assert_frame_equal(
            *(pd.read_csv(folder / "metrics.csv") for folder in (run, whole)),
            check_exact=True,
        )
        compare(run, whole, name)


def compare(run, whole, name):
    got, want = (read_checkpoint(folder / "checkpoint") for folder in (run, whole))
    assert got.training == want.training
    for part in ("encoder", "head_tensors"):
        for tensor, array in getattr(want, part).items():
            np.testing.assert_array_equal(getattr(got, part)[tensor], array, err_msg=f"{name} {tensor}")


@pytest.fixture
def spoil(monkeypatch):
    """Have a galaxy's label be infinite in the second epoch."""

    def begin(galaxy):
        load = GalaxyLoader._load_batch

        def spoiled(loader, indices, epoch, *arguments):
            batch, failures = load(loader, indices, epoch, *arguments)
            if loader.shuffle and epoch == 1 and galaxy in batch.ids:
                batch.labels[batch.ids.index(galaxy)] = np.inf
            return batch, failures

        monkeypatch.setattr(GalaxyLoader, "_load_batch", spoiled)

    return begin


def test_a_loss_that_explodes_leaves_the_last_good_checkpoint(
    make_model, make_galaxies, fit, spoil, tmp_path, monkeypatch
):
    galaxies = make_galaxies(val_fraction=1 / 3)
    galaxies.setup()
    spoiled = galaxies.train_galaxies.ids[5]
    options = {"n_blocks": 1, "label_cols": ["axis_ratio"]}
    with monkeypatch.context():
        spoil(spoiled)
        with pytest.raises(
            NonFiniteError, match=rf"1 of the 8 galaxies of step \d of epoch 2, .*: \['{spoiled}'"
        ):
            fit(
                make_model("regression", **options),
                tmp_path,
                galaxies=galaxies,
                max_epochs=3,
                checkpoint_minutes=1e-9,
            )
    monkeypatch.undo()
    assert pd.read_csv(tmp_path / "metrics.csv")["epoch"].tolist() == [1]
    assert read_checkpoint(tmp_path / "checkpoint").training["epoch"] == 1
    fit(make_model("regression", **options), tmp_path, galaxies=galaxies, max_epochs=3, ckpt_path="last")
    scores = pd.read_csv(tmp_path / "metrics.csv")
    assert scores["epoch"].tolist() == [1, 2, 3]
    assert np.isfinite(scores[["train_loss", "val_loss"]].to_numpy()).all()


def test_a_trainer_that_failed_leaves_signals_and_hears_them_when_it_trains_again(
    engine, make_model, make_galaxies, tmp_path, monkeypatch
):
    before = signal.getsignal(signal.SIGTERM)
    heard = []

    def saved_and_fail(times):
        heard.append(signal.getsignal(signal.SIGTERM))
        if len(heard) == 1:
            raise RuntimeError(times)

    monkeypatch.setattr(SaveTimes, "saved", saved_and_fail)
    trainer = engine.finetune.get_trainer(tmp_path, max_epochs=3, progress=False, accelerator="cpu")
    model = make_model("classification", n_blocks=1)
    with pytest.raises(RuntimeError, match="SaveTimes"):
        trainer.fit(model, make_galaxies())
    assert signal.getsignal(signal.SIGTERM) == before
    trainer.fit(model, make_galaxies())
    assert signal.getsignal(signal.SIGTERM) == before
    assert len(heard) > 1
    assert all(isinstance(getattr(handler, "__self__", None), SaveTimes) for handler in heard), heard


def test_a_full_disk_leaves_the_older_files_and_nothing_half(make_model, fit, tmp_path, monkeypatch):
    fit(make_model("classification", n_blocks=1), tmp_path, max_epochs=1)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("metrics.csv", "last.ckpt"):
        sync = whole_files.sync
        monkeypatch.setattr(
            whole_files, "sync", lambda p, name=name, sync=sync: full(p) if name in p.name else sync(p)
        )
        with pytest.raises(WriteError, match=rf"{name}: No space left on device; the older file is kept"):
            fit(make_model("classification", n_blocks=1), tmp_path, max_epochs=2, ckpt_path="last")
        monkeypatch.undo()
        assert (tmp_path / name).read_bytes() == before[tmp_path / name]
        assert {path for path in tmp_path.iterdir() if path.is_file()} == set(before)
    fit(make_model("classification", n_blocks=1), tmp_path, max_epochs=2, ckpt_path="last")
    assert pd.read_csv(tmp_path / "metrics.csv")["epoch"].tolist() == [1, 2]
