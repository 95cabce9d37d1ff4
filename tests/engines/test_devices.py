"""Two devices, or two machines, each begun in clean interpreters, train to the same weights as one."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.checkpoint import read_checkpoint

SCRIPT = Path(__file__).with_name("train_on_devices.py")
_spec = importlib.util.spec_from_file_location("train_on_devices", SCRIPT)
script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(script)


@pytest.fixture(scope="module")
def alone(catalog_path, tmp_path_factory):
    """The run of one device by the name of its engine, made here when first asked for."""
    made = {}

    def run(engine_name):
        if engine_name not in made:
            made[engine_name] = tmp_path_factory.mktemp("alone") / engine_name
            script.main(engine_name, 1, str(catalog_path), str(made[engine_name]))
        return made[engine_name]

    return run


@pytest.fixture
def start(engine_name, catalog_path, tmp_path):
    """Begins the script in a process of its own."""
    begun = []

    def begin(run, devices, **environment):
        options = {"engine": engine_name, "devices": devices, "catalog": str(catalog_path)}
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), json.dumps(options | {"run": str(tmp_path / run)})],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()


def finish(*processes):
    for process in processes:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said[-3000:]


def compare(one, two):
    """Both runs have logged the same losses and kept the same weights, but for the order of sums."""
    first, second = (read_checkpoint(run / "checkpoint") for run in (one, two))
    assert first.training["epoch"] == second.training["epoch"] == 3
    for part in ("encoder", "head_tensors"):
        for name, array in getattr(first, part).items():
            np.testing.assert_allclose(getattr(second, part)[name], array, atol=5e-6, err_msg=name)
    logged = [pd.read_csv(run / "metrics.csv") for run in (one, two)]
    assert list(logged[0]) == list(logged[1])
    assert logged[0]["step"].tolist() == logged[1]["step"].tolist() == [1, 2, 3]
    losses = ["train_loss", "train_nll_shape", "train_nll_bar", "val_loss"]
    np.testing.assert_allclose(logged[0][losses], logged[1][losses], rtol=1e-4)
    assert logged[0]["train_loss"].is_monotonic_decreasing


def test_two_devices_train_as_one(start, alone, engine_name, tmp_path):
    finish(start("two", 2))
    compare(alone(engine_name), tmp_path / "two")


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs TensorFlow")
@pytest.mark.parametrize("engine_name", ["tensorflow"])
def test_two_machines_of_tf_config_train_as_one(start, alone, engine_name, tmp_path):
    workers = [f"localhost:{free_port()}" for _ in range(2)]
    told = [
        {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}} for index in range(2)
    ]
    finish(*(start("two", 1, TF_CONFIG=json.dumps(config)) for config in told))
    compare(alone(engine_name), tmp_path / "two")


JOB = {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train.sh", "SLURM_JOB_ID": "7"}
TASK = {"SLURM_PROCID": "2", "SLURM_LOCALID": "2", "SLURM_NODEID": "0", "SLURM_STEP_NUM_TASKS": "4"}


@pytest.mark.parametrize("variables", [JOB, JOB | TASK], ids=["sbatch", "srun"])
def test_a_task_of_slurm_that_was_asked_for_one_device_is_a_run_by_itself(
    fit, make_model, tmp_path, monkeypatch, variables
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    fit(make_model("classification"), tmp_path, max_epochs=1, devices=1)
    assert {path.name for path in tmp_path.iterdir()} >= {"checkpoint", "last.ckpt", "metrics.csv"}


def free_port():
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        return sock.getsockname()[1]
