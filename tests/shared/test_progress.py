"""What long work says of itself where there is no terminal: lines that tell, at intervals."""

import logging

import pytest

from zoobot.shared import counting_bar
from zoobot.shared.counting_bar import CountingBar, tell
from zoobot.shared.predicting.part_run import PartProgress
from zoobot.shared.training.epochs import BestEpoch, EpochProgress


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes when told to."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(counting_bar, "time", clock)
    monkeypatch.setattr("zoobot.shared.training.epochs.time", clock)
    return clock


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="zoobot")
    return lambda: [record.getMessage() for record in caplog.records]


def test_long_work_says_a_line_every_half_minute_and_one_at_the_end(clock, lines):
    with CountingBar("Encoding galaxies", 1000, unit="galaxies", shown=True) as bar:
        for _ in range(100):
            clock.now += 1.0
            bar.advance(10)
    assert lines() == [
        "Encoding galaxies: 300 of 1,000, 10.0 galaxies/s, 1 min 10 s left",
        "Encoding galaxies: 600 of 1,000, 10.0 galaxies/s, 40 s left",
        "Encoding galaxies: 900 of 1,000, 10.0 galaxies/s, 10 s left",
        "Encoding galaxies: 1,000 of 1,000 in 1 min 40 s, 10.0 galaxies/s",
    ]


def test_a_rate_counts_what_was_done_here_and_not_what_was_there_before(clock, lines):
    with PartProgress("Predicting galaxies", 100_000, done=90_000, shown=True) as bar:
        clock.now += 40.0
        bar.show(400)
        clock.now += 60.0
        bar.finish_part(1000, failed=3)
    first, second, last = lines()
    assert first == (
        "Predicting galaxies: 90,400 of 100,000 (90,000 of them before), 10.0 galaxies/s, 16 min 0 s left"
    )
    assert "91,000 of 100,000" in second
    assert second.endswith("3 failed")
    assert "10.0 galaxies/s" in last


def test_work_that_took_no_time_has_no_rate(clock, lines):
    with CountingBar("Predicting galaxies", 5, unit="galaxies", shown=True) as bar:
        bar.advance(5)
    assert lines() == ["Predicting galaxies: 5 of 5 in 0 s"]


def test_work_that_fails_or_is_not_to_be_shown_says_no_end(clock, lines):
    with pytest.raises(RuntimeError), CountingBar("Predicting galaxies", 5, shown=True):
        raise RuntimeError
    with CountingBar("Predicting galaxies", 5, shown=False) as bar:
        clock.now += 100.0
        bar.advance()
    assert lines() == []


def test_epochs_are_counted_from_one_to_n(clock, lines):
    best = BestEpoch("val_loss")
    progress = EpochProgress(3, best)
    for epoch, score in enumerate((0.5, 0.4, 0.6)):
        for done in range(1, 11):
            clock.now += 4.0
            progress.reach(epoch, done, of=10)
        scores = {"val_loss": score, "train_loss": 0.7, "val_accuracy": 0.9}
        best.judge(scores)
        progress.finish(epoch, scores)
    progress.close()
    said = lines()
    assert [line for line in said if "loss" not in line] == [
        "Epoch 1 of 3: 9 of 10 batches, 4 s left",
        "Epoch 2 of 3: 9 of 10 batches, 4 s left",
        "Epoch 3 of 3: 9 of 10 batches, 4 s left",
    ]
    assert [line for line in said if "loss" in line] == [
        "Epoch 1 of 3: train_loss 0.7000, val_loss 0.5000 (best so far), 40 s, about 1 min 20 s to epoch 3",
        "Epoch 2 of 3: train_loss 0.7000, val_loss 0.4000 (best so far), 40 s, about 40 s to epoch 3",
        "Epoch 3 of 3: train_loss 0.7000, val_loss 0.6000, 40 s",
    ]


def test_an_epoch_that_goes_on_after_a_kill_foretells_nothing_from_its_rest(clock, lines):
    best = BestEpoch("val_loss")
    progress = EpochProgress(3, best)
    progress.reach(1, 9, of=10)
    clock.now += 4.0
    progress.reach(1, 10, of=10)
    best.judge({"val_loss": 0.5})
    progress.finish(1, {"val_loss": 0.5})
    assert lines() == ["Epoch 2 of 3: val_loss 0.5000 (best so far), 4 s"]


def test_a_plain_script_hears_of_it_on_stderr(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger("zoobot"), "level", logging.WARNING)
    logging.getLogger("zoobot").manager._clear_cache()
    tell("Epoch 1 of 3")
    assert capsys.readouterr().err == "Epoch 1 of 3\n"


def test_a_terminal_has_a_bar_and_no_lines(monkeypatch, lines):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich's word for a terminal
    with CountingBar("Encoding galaxies", 3, unit="galaxies", shown=True) as bar:
        bar.advance(3)
    progress = EpochProgress(2, BestEpoch("val_loss"))
    progress.reach(0, 1, of=1)
    progress.finish(0, {"val_loss": 0.5})
    progress.close()
    assert bar.draws
    assert lines() == []
