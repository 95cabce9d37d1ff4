"""The benchmark of finetuning runs, and its record says what was measured."""


def test_finetuning(quick_record):
    results = quick_record("bench_finetune", "--encoder", "test_resnet", "--image-size", "32")
    assert len(results["runs"]) == 4
    for runs in results["runs"].values():
        assert 0 <= runs[0]["accuracy"] <= 1
        assert runs[0]["wall_s"] > 0
    assert len(results["limits"]) == 2
    assert all(limit["wall_s"] > 0 for limit in results["limits"].values())
    assert results["deep_step"]["encoder_cpu_ms"] > 0
    assert set(results["command"]["default"]) == {"import", "classes", "tree"}
    assert all(spent > 0 for spent in results["command"]["default"].values())
