"""Intervals and sets that hold the truth as often as they say, whatever the model."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from zoobot.certainty.coverage import interval_table
from zoobot.shared import schemas
from zoobot.shared.conformal import GRID, Conformal, fit_conformal, read_levels
from zoobot.shared.errors import CheckpointError, ConfigError
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, RegressionTask, tree_task

PIXELS = Preprocessing(image_size_pix=32)
LEVELS = (0.68, 0.9, 0.95)


def numbers(rng, n):
    truth = rng.normal(size=(n, 2))
    predicted = truth + rng.standard_t(3, size=(n, 2)) * [0.1, 2.0]
    truth[rng.random(truth.shape) < 0.2] = np.nan
    return RegressionTask(num_targets=2, label_cols=("T", "size")), predicted, truth


def classes(rng, n):
    logits = rng.normal(size=(n, 4)) * 1.5
    odds = np.exp(logits)
    truth = np.array([rng.choice(4, p=one / one.sum()) for one in odds])[:, None].astype(float)
    unsure = odds**1.7  # surer than it may be
    return ClassificationTask(class_names=("a", "b", "c", "d")), unsure / unsure.sum(1, keepdims=True), truth


def labels(rng, n):
    chance = rng.random((n, 2))
    truth = (rng.random((n, 2)) < chance**2).astype(float)
    truth[rng.random(truth.shape) < 0.2] = np.nan
    return MultiLabelTask(num_labels=2, label_cols=("bar", "ring")), chance, truth


def votes(rng, n):
    task = tree_task("gz_rings")
    share = rng.beta(4, 2, size=n)
    yes = rng.binomial(rng.integers(5, 60, n), share)
    truth = np.stack([yes, np.maximum(rng.integers(5, 60, n) - yes, 0)], axis=1).astype(float)
    truth[:20] = np.nan
    return task, np.tile([30.0, 15.0], (n, 1)), truth  # far too sure


@pytest.mark.parametrize("make", [numbers, classes, labels, votes])
@pytest.mark.parametrize("n", [150, 2000])
def test_what_is_promised_is_held(make, n):
    rng = np.random.default_rng(1)
    task, predicted, truth = make(rng, n + 4000)
    conformal = fit_conformal(task, predicted[:n], truth[:n], PIXELS)
    conformal = Conformal.from_config(conformal.to_config(), task)  # as a checkpoint keeps it
    table = interval_table(task, conformal, predicted[n:], truth[n:], levels=LEVELS)
    slack = 3.5 * math.sqrt(0.25 / min(conformal.n)) if n < 1000 else 0.035
    assert len(table) == len(LEVELS) * len(task.conformal_names)
    # a set holds one class at least, and so the truth as often as that one is right
    right = {"class": 0.75, "bar": 0.78, "ring": 0.78}
    promised = np.maximum(table["level"], [right.get(name, 0.0) for name in table["name"]])
    assert ((table["held"] > table["level"] - slack) & (table["held"] < promised + slack)).all(), table
    assert table.groupby("name")["size"].apply(lambda sizes: sizes.is_monotonic_increasing).all()


@pytest.mark.parametrize(("n", "level", "rank"), [(9, 0.9, 9), (99, 0.9, 90), (19, 0.95, 19), (9, 0.68, 7)])
def test_the_quantile_counts_the_new_galaxy_too(n, level, rank):
    task = RegressionTask(num_targets=1, label_cols=("T",))
    errors = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))[:, None]
    conformal = fit_conformal(task, errors, np.zeros((n, 1)), PIXELS)
    assert conformal.thresholds(level).tolist() == [rank]


def test_too_few_galaxies_give_no_interval_rather_than_a_false_one():
    task = RegressionTask(num_targets=2, label_cols=("T", "size"))
    truth = np.zeros((12, 2))
    truth[8:, 1] = np.nan
    conformal = fit_conformal(task, np.ones((12, 2)), truth, PIXELS)
    assert conformal.n == (12, 8)
    assert conformal.few(0.9) == ["size"]
    conformal.require([0.9], SimpleNamespace(preprocessing=PIXELS))
    lower, upper, *others = task.intervals(np.zeros((1, 2)), conformal.thresholds(0.9))
    assert (lower, upper) == (-1, 1)
    assert np.isnan(others).all()
    with pytest.raises(ConfigError, match=r"95% intervals need 19 validation galaxies .* known of 12"):
        conformal.require([0.9, 0.95], SimpleNamespace(preprocessing=PIXELS))
    with pytest.raises(ConfigError, match=r"other pixels \(.*views 1, now 4"):
        conformal.require([0.9], SimpleNamespace(preprocessing=PIXELS.with_changes(views=4)))


def test_many_errors_are_kept_as_quantiles_that_are_never_too_low():
    task = RegressionTask(num_targets=1, label_cols=("T",))
    errors = np.random.default_rng(0).exponential(size=(5000, 1))
    conformal = fit_conformal(task, errors, np.zeros((5000, 1)), PIXELS)
    back = Conformal.from_config(conformal.to_config(), task)
    assert len(back.scores[0]) == len(GRID)
    for level in (0.5, 0.68, 0.6827, 0.901, 0.9973):
        exact = np.sort(errors[:, 0])[math.ceil(5001 * level) - 1]
        assert exact <= back.thresholds(level)[0] < exact * 1.12
    assert np.isnan(back.thresholds(0.9995)[0])


def test_no_set_is_empty_and_the_likeliest_class_is_first():
    task = ClassificationTask(class_names=("smooth", "disk", "other"), label_cols=("kind",))
    predicted = np.array([[0.4, 0.35, 0.25], [0.02, 0.9, 0.08]])
    names = [name for name, _, _ in task.interval_columns("90")]
    assert names == ["kind_set_90", "kind_set_size_90"]
    words, sizes = task.intervals(predicted, np.array([0.05]))
    assert (words.tolist(), sizes.tolist()) == (["smooth", "disk"], [1, 1])
    words, sizes = task.intervals(predicted, np.array([0.7]))
    assert (words.tolist(), sizes.tolist()) == (["smooth|disk", "disk"], [2, 1])
    assert task.intervals(predicted, np.array([np.nan]))[0].tolist() == ["smooth", "disk"]


def test_a_label_is_yes_no_or_either():
    task = MultiLabelTask(num_labels=3, label_cols=("bar", "ring", "merger"))
    predicted = np.array([[0.97, 0.5, 0.6], [0.1, 0.2, 0.6]])
    words = task.intervals(predicted, np.array([0.05, 0.6, np.nan]))
    assert [column.tolist() for column in words] == [["yes", "no"], ["yes|no", "no"], ["", ""]]


def test_intervals_of_fractions_stay_within_0_and_1():
    unit = RegressionTask(num_targets=1, label_cols=("f",), unit_interval=True)
    lower, upper = unit.intervals(np.array([[0.1], [0.95]]), np.array([0.2]))
    np.testing.assert_allclose([lower, upper], [[0, 0.75], [0.3, 1]])
    tree = tree_task(schemas.get("gz_rings"))
    ends = tree.intervals(np.array([[9.0, 3.0]]), np.array([21.0, 1.0]))
    np.testing.assert_allclose(np.ravel(ends[:2]), [0, 1], atol=0.01)
    assert 0 < ends[2][0] < 0.25 < ends[3][0] < 1


@pytest.mark.parametrize("asked", [0, 1, 100, 99.95, -5, "90", True, [90, 0.9]])
def test_levels_are_percents(asked):
    with pytest.raises(ConfigError):
        read_levels(asked)


@pytest.mark.parametrize(
    "damage",
    [
        {"of": {"T": {"galaxies": 3, "errors": "1 2"}}},
        {"of": {"T": {"galaxies": 2, "errors": "2 1"}}},
        {"of": {"T": {"galaxies": 1, "errors": "inf"}}},
        {"of": {"T": {"galaxies": 1, "errors": "x"}}},
        {"of": {"T": {"galaxies": 1}}},
        {"of": {"T": {"galaxies": 1, "errors": "1"}}, "calibration": [2.0]},
        {"of": {"other": {"galaxies": 1, "errors": "1"}}},
        {"of": []},
        {},
    ],
)
def test_damaged_errors_of_a_checkpoint_are_told(damage):
    task = RegressionTask(num_targets=1, label_cols=("T",))
    whole = fit_conformal(task, np.ones((1, 1)), np.zeros((1, 1)), PIXELS).to_config()
    Conformal.from_config(whole, task)
    with pytest.raises(CheckpointError, match="what the model says of its errors"):
        Conformal.from_config({"preprocessing": whole["preprocessing"], **damage}, task)
