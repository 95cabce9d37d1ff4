"""The benchmark of predicting runs, and its record says what was measured."""

import pytest


def test_predicting(quick_record):
    pytest.importorskip("onnxruntime")
    small = ["--encoder", "test_resnet", "--memory-encoder", "test_resnet", "--image-size", "32"]
    results = quick_record("bench_predict", "--no-compile", "--galaxies", "8", *small)
    assert "zoobot predict, ONNX Runtime" in results["speed"]["rows"]
    assert results["speed"]["once"]["export_s"] > 0
    assert all(peak > 10 for peak in results["memory"]["zoobot predict"].values())
