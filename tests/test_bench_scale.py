"""The soak of prediction at survey scale runs, and what it checks holds."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_prediction_at_survey_scale_keeps_its_word(quick_record):
    pytest.importorskip("astropy")
    results = quick_record("bench_scale")
    assert len(results["kept"]) == 5
    assert all(results["kept"].values())
    assert len(results["killed"]["parts_after_each_kill"]) == 1
