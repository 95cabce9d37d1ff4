"""The soak of training runs, and a run that is killed leaves in the end what the undisturbed one left."""

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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")
def test_training_that_is_killed_keeps_its_word(tmp_path):
    backend = next((name for name, framework in ENGINES.items() if find_spec(framework)), None)
    if backend is None:
        pytest.skip("no engine is installed")
    record = tmp_path / "record.json"
    command = [sys.executable, ROOT / "benchmarks" / "bench_kills.py", "--quick", "--backend", backend]
    done = subprocess.run(
        list(map(str, [*command, "--json", record])),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(record.read_text())["results"]
    assert len(results["kills"]) == 1
    assert results["differing"]
    assert not any(results["differing"].values())
