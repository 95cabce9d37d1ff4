"""When a prediction run compiles its network, and what makes it give that up."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.models.weights import largest_difference
from zoobot.shared.predicting import batches
from zoobot.shared.predicting.batches import MaybeCompiled, compiling_pays

BATCH = 4


class Clock:
    """Time that passes only while a network computes."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(batches, "time", clock)
    return clock


class Network:
    """Predicts the sum of each image, and takes as long as it is told."""

    def __init__(self, clock, *, plain=1.0, compiled=0.5, error=0.0, fault=None):
        self.clock, self.plain_s, self.compiled_s, self.error, self.fault = (
            clock,
            plain,
            compiled,
            error,
            fault,
        )
        self.used = []

    def plain(self, images):
        return self._run("plain", self.plain_s, images)

    def compile_it(self, images):
        assert len(images) == BATCH
        if self.fault:
            raise self.fault
        self.used.append("compile")
        return lambda images: self._run("compiled", self.compiled_s, images) + self.error

    def _run(self, name, seconds, images):
        self.used.append(name)
        self.clock.now += seconds
        return images.reshape(1, len(images), -1).sum(axis=2, keepdims=True)


def predict(network, asked, *, batches=12, remaining=1_000_000, **options):
    maybe = MaybeCompiled(
        network.plain, network.compile_it, np.asarray, asked=asked, batch_size=BATCH, **options
    )
    rng = np.random.default_rng(0)
    for _ in range(batches):
        images = rng.random((BATCH, 2, 2, 1))
        np.testing.assert_allclose(maybe(images, remaining)[0, :, 0], images.sum(axis=(1, 2, 3)), atol=0.1)
        remaining -= BATCH
    return maybe


def test_it_pays_where_it_saves_more_than_it_takes():
    enough = defaults.COMPILE_SECONDS / defaults.COMPILE_SAVING
    assert compiling_pays(1001, enough / 1000)
    assert not compiling_pays(999, enough / 1000)


def test_a_long_run_is_compiled_after_a_few_batches(clock):
    network = Network(clock)
    predict(network, None)
    assert network.used[:5] == ["plain"] * 4 + ["compile"]
    assert set(network.used[7:]) == {"compiled"}


def test_a_short_run_is_not(clock):
    network = Network(clock)
    predict(network, None, remaining=12 * BATCH)
    assert set(network.used) == {"plain"}


def test_who_asks_has_it_at_once_or_never(clock):
    network = Network(clock)
    predict(network, True, remaining=BATCH)
    assert network.used[:3] == ["compile", "compiled", "plain"]  # the last to compare with
    assert set(network.used[3:]) == {"compiled"}
    network = Network(clock)
    predict(network, False)
    assert set(network.used) == {"plain"}


def test_it_is_given_up_where_it_is_slower(clock, caplog):
    network = Network(clock, plain=1.0, compiled=1.1)
    with caplog.at_level(logging.INFO, "zoobot"):
        predict(network, None)
    assert network.used[-1] == "plain"
    assert "not faster here" in caplog.text


@pytest.mark.parametrize("asked", [True, None])
def test_it_is_given_up_where_it_predicts_other_numbers(clock, caplog, asked):
    network = Network(clock, error=0.01)
    predict(network, asked)
    assert network.used.count("compiled") == 1
    assert "predicts other numbers" in caplog.text


def test_dropout_is_not_compared(clock):
    network = Network(clock, error=0.01)
    predict(network, True, agreement=None)
    assert network.used[-1] == "compiled"


def test_a_machine_that_cannot_compile_goes_on_unless_it_was_asked_for(clock):
    network = Network(clock, fault=RuntimeError("no C++ compiler"))
    predict(network, None)
    assert set(network.used) == {"plain"}
    with pytest.raises(ConfigError, match=r"RuntimeError: no C\+\+ compiler"):
        predict(network, True)


def test_other_sizes_are_predicted_plainly(clock):
    network = Network(clock)
    maybe = predict(network, True)
    network.used.clear()
    maybe(np.zeros((BATCH - 1, 2, 2, 1)), BATCH - 1)
    assert network.used == ["plain"]


def test_differences_are_relative_above_one_and_never_hide_a_nan():
    assert largest_difference(np.array([0.25, 99.0]), np.array([0.5, 100.0])) == 0.25
    assert largest_difference(np.array([101.0]), np.array([100.0])) == pytest.approx(0.01)
    assert np.isnan(largest_difference(np.array([np.nan, 1.0]), np.array([1.0, 1.0])))
    assert largest_difference(np.zeros((1, 2)), np.zeros((2, 2))) == np.inf
    assert largest_difference(np.zeros((0, 2)), np.zeros((0, 2))) == 0
