"""The loader benchmark still runs, and its record says what was measured where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_it_measures_and_records(tmp_path):
    record_file = tmp_path / "loader.json"
    command = [sys.executable, ROOT / "benchmarks" / "bench_loader.py", "--images", "8", "--turns", "1"]
    run = subprocess.run(
        [*command, "--json", record_file],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    record = json.loads(record_file.read_text())
    rows = record["results"]["rows"]
    assert "training from the cache, 2 workers" in rows
    assert all(row["images_per_second"] > 0 for row in rows.values())
    for row in record["results"]["coarse_decoding"]:
        assert row["shrink"] >= 1
        assert row["psnr_db_full_coarse"] > 45
        assert row["psnr_db_coarse_exact"] > row["psnr_db_full_exact"] - 1
