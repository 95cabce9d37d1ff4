"""The long fuzzing counts its inputs, and finds what fails, crashes or takes too much memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(folder, *options):
    record = folder / "fuzz.json"
    done = subprocess.run(
        [sys.executable, folder / "benchmarks" / "fuzz.py", "--quick", "--json", record, *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, json.loads(record.read_text())["results"]


@pytest.fixture
def planted(tmp_path):
    """A copy of the benchmark, with a test of one's own."""
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=shutil.ignore_patterns("results"))
    (tmp_path / "tests" / "fuzz").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "fuzz" / "fuzz_inputs.py", tmp_path / "tests" / "fuzz")

    def plant(body):
        head = "import os\nfrom fuzz_inputs import fuzz\nfrom hypothesis import strategies as st\n\n"
        test = "@fuzz(5, number=st.integers(0, 9))\ndef test_number(number):\n    "
        (tmp_path / "tests" / "fuzz" / "test_planted.py").write_text(f"{head}{test}{body}\n")
        return tmp_path

    return plant


def test_it_counts_inputs(planted):
    done, results = run(planted("assert number < 10"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert results["failures"] == 0
    assert results["inputs"] == results["tests"]["test_planted::test_number"]["inputs"] >= 10


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("assert number < 9", "number=9"),
        ("os.abort() if number == 9 else None", "the process ended with -6"),
        pytest.param(
            "bytearray(2**33)",
            "MemoryError",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux alone"),
        ),
    ],
)
def test_it_finds_a_planted_fault(planted, fault, words):
    done, results = run(planted(fault))
    assert done.returncode == 1
    failure = results["tests"]["test_planted::test_number"]["failure"]
    assert words in failure
    assert "seed 0" in failure
