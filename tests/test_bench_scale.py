"""The soak of prediction at survey scale runs, and what it checks holds."""

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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_prediction_at_survey_scale_keeps_its_word(tmp_path):
    pytest.importorskip("astropy")
    backend = next((name for name, framework in ENGINES.items() if find_spec(framework)), None)
    if backend is None:
        pytest.skip("no engine is installed")
    record = tmp_path / "record.json"
    command = [sys.executable, ROOT / "benchmarks" / "bench_scale.py", "--quick", "--backend", backend]
    done = subprocess.run(
        list(map(str, [*command, "--json", record])),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(record.read_text())["results"]
    assert len(results["kept"]) == 5
    assert all(results["kept"].values())
    assert len(results["killed"]["parts_after_each_kill"]) == 1
