"""The benchmarks of starting and of kept memory run, and their records say what was measured."""

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
