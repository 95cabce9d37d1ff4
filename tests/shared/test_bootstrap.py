"""Intervals of scores: equal to scoring what was drawn, and they hold what they promise."""

from dataclasses import replace

import numpy as np
import pytest

from zoobot.certainty.bootstrap import Interval, Intervals, Resamples, find_intervals, replicate
from zoobot.certainty.coverage import calibration_scorer, coverage_scorer
from zoobot.certainty.tree_scores import challenge_scorer, question_scorer
from zoobot.shared import schemas
from zoobot.shared.errors import ConfigError
from zoobot.shared.metrics import join_scorers, score_once
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, RegressionTask, TreeTask
from zoobot.workflow.comparing import Comparison

RNG = np.random.default_rng(5)
GALAXIES = 60


def make_classes(classes):
    labels = RNG.integers(classes, size=(GALAXIES, 1)).astype(float)
    odds = np.exp(RNG.normal(size=(GALAXIES, classes)) + np.eye(classes)[labels[:, 0].astype(int)])
    predicted = np.round(odds / odds.sum(axis=1, keepdims=True), 1)  # with ties
    return ClassificationTask(class_names=tuple(map(str, range(classes)))), predicted, labels


def make_labels():
    labels = RNG.integers(2, size=(GALAXIES, 2)).astype(float)
    labels[RNG.random(labels.shape) < 0.2] = np.nan
    return (
        MultiLabelTask(num_labels=2, label_cols=("a", "b")),
        np.round(RNG.random(labels.shape), 1),
        labels,
    )


def make_numbers():
    labels = RNG.normal(1e6, 1, (GALAXIES, 2))
    labels[RNG.random(labels.shape) < 0.2] = np.nan
    predicted = np.nan_to_num(labels, nan=1e6) + RNG.normal(size=labels.shape)
    return RegressionTask(num_targets=2, label_cols=("a", "b")), predicted, labels


def make_votes(samples=1):
    schema = schemas.get("gz2_full")
    predicted = 1 + 20 * RNG.random((samples, GALAXIES, len(schema.label_cols)))
    votes = RNG.integers(0, 9, (GALAXIES, len(schema.label_cols))).astype(float)
    for part in schema.question_slices[1:]:
        votes[RNG.random(GALAXIES) < 0.4, part] = np.nan
    return TreeTask(schema=schema), predicted if samples > 1 else predicted[0], votes


CASES = {
    "two classes": lambda: make_classes(2),
    "four classes": lambda: make_classes(4),
    "labels": make_labels,
    "numbers": make_numbers,
    "votes": make_votes,
    "votes of a mixture": lambda: make_votes(2),
}


def scorer_of(task, predicted, labels):
    scorers = [task.scorer(predicted, labels)]
    if task.predicts != "numbers":
        scorers.append(calibration_scorer(task, predicted, labels))
    if task.tree is not None:
        kinds = (question_scorer, coverage_scorer, challenge_scorer)
        scorers += [kind(predicted, labels, task.tree) for kind in kinds]
    return join_scorers(scorers)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("grouped", [False, True])
def test_weighted_scores_equal_those_of_the_galaxies_that_were_drawn(case, grouped):
    task, predicted, labels = CASES[case]()
    groups = np.arange(GALAXIES) // 4 if grouped else None
    draws = Resamples(galaxies=GALAXIES, count=4, groups=groups, seed=3)
    found = replicate(scorer_of(task, predicted, labels), draws)
    for place, weights in enumerate(np.concatenate(list(draws.weights()))):
        rows = np.repeat(np.arange(GALAXIES), weights.astype(int))
        drawn = predicted[..., rows, :]
        plain = score_once(scorer_of(task, drawn, labels[rows]), len(rows))
        assert {name: values[place] for name, values in found.items()} == pytest.approx(
            plain, rel=1e-9, abs=1e-12, nan_ok=True
        )


def test_whole_groups_are_drawn_together():
    groups = np.array(["a", "b", "a", "c", "b", "a"])
    blocks = np.concatenate(list(Resamples(galaxies=6, count=50, groups=groups).weights()))
    for name in "abc":
        own = blocks[:, groups == name]
        assert (own == own[:, :1]).all()
    assert (blocks[:, [0, 1, 3]].sum(axis=1) == 3).all()  # as many groups as there are
    assert blocks.sum(axis=1).std() > 0


def test_draws_do_not_depend_on_how_many_are_made_at_once(monkeypatch):
    whole = np.concatenate(list(Resamples(galaxies=7, count=9).weights()))
    monkeypatch.setattr("zoobot.certainty.bootstrap._AT_ONCE", 14)
    np.testing.assert_array_equal(whole, np.concatenate(list(Resamples(galaxies=7, count=9).weights())))
    assert not (whole == np.concatenate(list(Resamples(galaxies=7, count=9, seed=1).weights()))).all()


def test_what_cannot_be_drawn_is_refused():
    for values in ({"count": -1}, {"percent": 100}, {"groups": ["a", "b"]}, {"groups": ["a"] * 3}):
        with pytest.raises(ConfigError):
            Resamples(galaxies=3, **values)


def intervals_of(task, predicted, labels, **how):
    draws = Resamples(galaxies=len(labels), **({"count": 200} | how))
    scorer = scorer_of(task, predicted, labels)
    return find_intervals(score_once(scorer, len(labels)), replicate(scorer, draws), draws)


def test_a_class_that_resamples_lack_is_left_out_and_said():
    labels = np.zeros((40, 1))
    labels[1] = 1  # in a third of the resamples there is none
    found = intervals_of(
        ClassificationTask(class_names=("a", "b")), np.tile([0.9, 0.1], (40, 1)) - np.eye(40, 2) / 5, labels
    )
    assert found.untold["roc_auc_b"] == pytest.approx((39 / 40) ** 40, abs=0.1)
    assert "precision_b" not in found.ends  # no galaxy is ever taken for it
    assert "Over 5% of the resamples can't tell some scores" in found.sentence()
    assert "n_a" not in found.ends
    assert 0 <= found.ends["accuracy"].low < found.ends["accuracy"].high <= 1


def test_without_resamples_galaxies_or_scatter_there_are_no_intervals():
    task = ClassificationTask(class_names=("a", "b"))
    assert intervals_of(task, np.full((5, 2), 0.5), np.zeros((5, 1)), count=0).ends == {}
    assert intervals_of(task, np.full((5, 2), 0.5), np.zeros((5, 1)), count=0).sentence() == ""
    assert intervals_of(task, np.full((0, 2), 0.5), np.zeros((0, 1))).ends == {}
    assert "accuracy" not in intervals_of(task, np.eye(2), np.array([[0.0], [1.0]])).ends
    one = intervals_of(task, np.array([[0.3, 0.7]]), np.zeros((1, 1)))
    assert one.ends == {}


@pytest.mark.parametrize(("percent", "by_chance"), [(68, 0.06), (95, 0.03)])
def test_intervals_hold_the_truth_as_often_as_they_say(percent, by_chance):
    """300 surveys of 400 galaxies, right or wrong in pairs, with errors of 1; the truth is known."""
    rng, held = np.random.default_rng(8), []
    for _ in range(300):
        columns = np.stack([np.repeat(rng.random(200) < 0.8, 2), np.repeat(rng.normal(size=200), 2) ** 2])
        draws = Resamples(galaxies=400, count=300, percent=percent, groups=np.arange(400) // 2)

        def score(weights, columns=columns):
            means = weights @ columns.T / weights.sum(axis=1, keepdims=True)
            return {"accuracy": means[:, 0], "rmse": means[:, 1] ** 0.5}

        found = find_intervals(score_once(score, 400), replicate(score, draws), draws).ends
        held += [found["accuracy"].low <= 0.8 <= found["accuracy"].high]
        held += [found["rmse"].low <= 1 <= found["rmse"].high]
    assert np.mean(held) == pytest.approx(percent / 100, abs=by_chance)


def test_a_difference_is_better_worse_the_same_or_cannot_be_told():
    draws = Resamples(galaxies=100)
    differences = {"accuracy": 0.1, "log_loss": 0.1, "f1": 0.1, "ece": 0.0, "recall": 0.1}
    ends = {"accuracy": Interval(0.05, 0.2), "log_loss": Interval(0.05, 0.2), "f1": Interval(0.0, 0.2)}
    comparison = Comparison(
        name="a",
        rival="b",
        galaxies=100,
        scores=dict.fromkeys(differences, (0.5, 0.4)),
        differences=differences,
        intervals=Intervals(ends=ends, untold={}, draws=draws),
    )
    verdicts = [comparison.verdict(name) for name in differences]
    assert verdicts == ["better", "worse", "can't be told", "the same", "can't be told"]
    of_few = replace(comparison, intervals=Intervals(ends=ends, untold={}, draws=Resamples(galaxies=19)))
    assert of_few.verdict("accuracy") == "can't be told"
    assert "(few: the intervals are too narrow)" in of_few.intervals.sentence()
    assert comparison.said("accuracy") == ("+0.100", "(+0.050 to +0.200)")


def test_one_galaxy_more_does_not_make_a_model_better():
    score = lambda weights: {"accuracy": weights @ (np.arange(50) == 45) / weights.sum(axis=1)}  # noqa: E731
    draws = Resamples(galaxies=50)
    ends = find_intervals({"accuracy": 1 / 50}, replicate(score, draws), draws).ends["accuracy"]
    assert ends.low == 0
