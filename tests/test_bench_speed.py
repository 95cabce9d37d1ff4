"""The benchmarks of starting, predicting and finetuning run, and their records say what was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from zoobot.shared.engine import ENGINES

ROOT = Path(__file__).parents[1]


@pytest.fixture
def measure(tmp_path):
    """Run a benchmark's quick form and give its record."""

    def run(script, *words):
        record = tmp_path / "record.json"
        command = [sys.executable, ROOT / "benchmarks" / script, "--quick", "--json", record, *words]
        done = subprocess.run(
            list(map(str, command)),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(record.read_text())
        assert found["machine"]["cores"] == os.cpu_count()
        return found["results"]

    return run


@pytest.fixture
def backend():
    """An engine that is installed; one is enough here."""
    return next((name for name, framework in ENGINES.items() if find_spec(framework)), None) or pytest.skip(
        "no engine is installed"
    )


def test_starting(measure, backend):
    rows = measure("bench_startup.py", "--backend", backend)
    assert (
        rows["zoobot --help"]["cpu_ms"]["median"]
        < rows[f"import zoobot.{backend}.finetune"]["cpu_ms"]["median"]
    )
    assert rows["import zoobot"]["modules"] < 300


def test_keeping_memory(measure):
    pytest.importorskip("torch")
    found = measure("bench_kept_memory.py")[0]
    assert found["kept"]["page_faults"] <= found["asked anew"]["page_faults"]


def test_predicting(measure, backend):
    pytest.importorskip("onnxruntime")
    small = ["--encoder", "test_resnet", "--memory-encoder", "test_resnet", "--image-size", "32"]
    results = measure("bench_predict.py", "--backend", backend, "--no-compile", "--galaxies", "8", *small)
    assert "zoobot predict, ONNX Runtime" in results["speed"]["rows"]
    assert results["speed"]["once"]["export_s"] > 0
    assert all(peak > 10 for peak in results["memory"]["zoobot predict"].values())


def test_finetuning(measure, backend):
    results = measure(
        "bench_finetune.py", "--backend", backend, "--encoder", "test_resnet", "--image-size", "32"
    )
    assert len(results["runs"]) == 4
    for runs in results["runs"].values():
        assert 0 <= runs[0]["accuracy"] <= 1
        assert runs[0]["wall_s"] > 0
    assert len(results["limits"]) == 2
    assert all(limit["wall_s"] > 0 for limit in results["limits"].values())
    assert results["deep_step"]["encoder_cpu_ms"] > 0
    assert set(results["command"]["default"]) == {"import", "classes", "tree"}
    assert all(spent > 0 for spent in results["command"]["default"].values())
