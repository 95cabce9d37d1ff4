"""The soak of training runs, and a run that is killed leaves in the end what the undisturbed one left."""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")
def test_training_that_is_killed_keeps_its_word(quick_record):
    results = quick_record("bench_kills")
    assert len(results["kills"]) == 1
    assert results["differing"]
    assert not any(results["differing"].values())
