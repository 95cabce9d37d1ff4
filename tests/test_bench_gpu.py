"""The GPU benchmark runs on any machine, says what it can't do, and ends with 1 where a bound is broken."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def bench_gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("bench_gpu")


@pytest.fixture
def run(bench_gpu, monkeypatch, tmp_path, capsys):
    """Its quick form in this process: its exit code, record and words."""

    def main(*words):
        record = tmp_path / "gpu.json"
        monkeypatch.setattr(sys, "argv", ["bench_gpu.py", "--quick", "--json", str(record), *words])
        with pytest.raises(SystemExit) as ended:
            bench_gpu.main()
        return ended.value.code, json.loads(record.read_text())["results"], capsys.readouterr().out

    return main


def test_every_section_has_its_rows(run, bench_gpu):
    code, results, said = run()
    assert code == 0, said
    assert list(results) == list(bench_gpu.SECONDS)
    assert sum(bench_gpu.SECONDS.values()) + 10 * len(results) <= 480  # with seconds to begin in
    for name, found in results.items():
        assert found["rows"], name
        assert not any("failed" in row for row in found["rows"].values()), found["rows"]
    differences = results["precision"]["rows"]["test_resnet, bf16-mixed"]
    assert 0 < differences["largest_difference"] < differences["bound"]
    assert results["fit"]["rows"]["test_resnet, fit from files"]["share_of_steps"] > 0
    assert results["predict"]["rows"]["test_resnet, files to table"]["share_of_network"] > 0


def test_a_broken_bound_and_a_failed_section_end_with_1_and_the_others_go_on(run, monkeypatch):
    gpu_work = importlib.import_module("gpu_work")

    def fail(plan, found):
        found.add("before it failed", {"galaxies_per_second": 1.0})
        raise MemoryError

    monkeypatch.setitem(gpu_work.BOUNDS, "bf16-mixed", 0.0)
    monkeypatch.setitem(gpu_work.SECTIONS, "network", fail)
    code, results, said = run("--sections", "network", "precision")
    assert code == 1
    assert results["network"]["failed"].startswith("MemoryError")
    assert "before it failed" in results["network"]["rows"]
    assert "NOT MET  precision: test_resnet, bf16-mixed beside float32" in said


def test_what_one_row_cant_do_is_said_in_its_place(bench_gpu):
    gpu_work = importlib.import_module("gpu_work")
    found = gpu_work.Found(lambda _: None, {}, [])
    plan = gpu_work.Plan([], 32, 4, 4, 1, [], seconds=0.0, quick=True)
    works = {"bad": lambda: 1 / 0, "good": lambda: None}
    gpu_work.in_turns(found, works, 4, plan, seconds=0.0)
    assert found.rows["bad"] == {"failed": "ZeroDivisionError: division by zero"}
    assert found.rows["good"]["galaxies_per_second"] > 0


def test_a_section_that_takes_too_long_is_ended(bench_gpu):
    assert bench_gpu.run_within([sys.executable, "-c", "import time; time.sleep(60)"], 0.2) == (
        "ended after 0 s"
    )
    assert bench_gpu.run_within([sys.executable, "-c", "raise SystemExit(3)"], 60) == "ended with 3"


def test_without_a_gpu_it_says_so_and_ends_with_1(tmp_path):
    words = ["--files", "2", "--sections", "head", "--json", tmp_path / "gpu.json"]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "bench_gpu.py", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS.parent), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "NOT MET  head: RuntimeError: PyTorch finds no GPU here" in done.stdout
