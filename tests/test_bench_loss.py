"""The loss benchmark still runs, and its record says what was measured where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("backend", "package"), [("pytorch", "torch"), ("tensorflow", "tensorflow")])
def test_it_measures_and_records(tmp_path, backend, package):
    pytest.importorskip(package)
    record_file = tmp_path / "loss.json"
    command = [sys.executable, ROOT / "benchmarks" / "bench_loss.py", "--quick", "--batch-sizes", "4"]
    command += ["--backend", backend]
    run = subprocess.run(
        [*command, "--json", record_file],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "batch 4:" in run.stdout
    record = json.loads(record_file.read_text())
    assert record["machine"]["cores"] == os.cpu_count()
    assert package in record["machine"]["versions"]
    (result,) = record["results"]
    assert result["largest_error_nats"]["ours"] < 1e-5
    for name in ("ours", "limit"):
        spread = result["times"][name]["wall_ms"]
        assert 0 < spread["p10"] <= spread["median"] <= spread["p90"]
