"""How many labels a strategy saves, on curves that are known; and what strategies choose."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot import plots
from zoobot.choosing.label_curves import labels_to_match, lower_is_better, mean_curve, next_galaxies, savings
from zoobot.choosing.strategy_names import read_strategy
from zoobot.shared.errors import ConfigError
from zoobot.shared.tasks import ClassificationTask

CLASSES = ClassificationTask(class_names=("a", "b"))


def make_curves(speeds, score="accuracy", seeds=(1, 2)):
    """Scores that rise in a straight line, by 0.001 times the speed a label; seeds differ by an offset."""
    rows = [
        {"strategy": name, "seed": seed, "labels": labels, score: 0.2 + 0.001 * speed * labels + 0.01 * seed}
        for name, speed in speeds.items()
        for seed in seeds
        for labels in (100, 200, 300, 400)
    ]
    return pd.DataFrame(rows)


def test_twice_as_fast_needs_half_the_labels():
    found = savings(make_curves({"random": 1, "bald": 2, "slow": 0.5}), "accuracy")
    assert found["bald"]["labels_to_match"] == 200
    assert found["bald"]["share"] == 0.5
    assert found["bald"]["share_by_seed"] == {"1": 0.5, "2": 0.5}
    assert found["random"]["share"] == 1
    assert found["slow"]["labels_to_match"] is None
    assert found["slow"]["final"] == pytest.approx(0.415)


def test_errors_fall():
    curves = make_curves({"random": -1, "bald": -1.6}, score="rmse")
    found = savings(curves, "rmse")
    assert found["bald"]["share"] == 0.625
    assert lower_is_better("nll_bar")
    assert not lower_is_better("r2")


def test_between_rounds_the_way_is_straight():
    assert labels_to_match([10, 20, 40], [0, 4, 8], 6, lower=False) == 30
    assert labels_to_match([10, 20], [5, 6], 4, lower=False) == 10
    assert np.isnan(labels_to_match([10, 20], [5, 6], 7, lower=False))
    assert labels_to_match([10, 20, 30], [0, 6, 5], 5.5, lower=False) == pytest.approx(10 + 55 / 6)


def test_the_mean_ends_where_the_first_seed_ends():
    curves = make_curves({"random": 1})
    curves = curves[~((curves["seed"] == 2) & (curves["labels"] == 400))]
    mean = mean_curve(curves, "random", "accuracy")
    assert mean["labels"].tolist() == [100, 200, 300]
    np.testing.assert_allclose(mean["high"] - mean["low"], 0.01)


def test_without_the_reference_there_is_nothing_to_compare():
    with pytest.raises(ConfigError, match="not among"):
        savings(make_curves({"bald": 1}), "accuracy")


def test_curves_are_drawn(tmp_path):
    panels = {
        "classes": (make_curves({"random": 1, "bald": 2}), "accuracy"),
        "numbers": (make_curves({"bald": -1, "kcentre": -2}, score="rmse"), "rmse"),
    }
    path = plots.save_figure(plots.label_curves(panels), tmp_path / "curves.png")
    pixels = np.asarray(Image.open(path).convert("L"))
    assert (pixels < 200).mean() > 0.01
    with pytest.raises(ConfigError, match="no curves"):
        plots.label_curves({})


@pytest.fixture
def pool():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1], (3, 40))
    return {"features": rng.normal(size=(40, 5)), "labelled": rng.normal(size=(4, 5)), "predictions": p}


def test_a_score_alone_takes_the_highest(pool):
    chosen = next_galaxies(read_strategy("margin", "classification"), CLASSES, 5, **pool)
    expected = np.argsort(np.abs(pool["predictions"].mean(axis=0)[:, 0] - 0.5))[:5]
    assert chosen.rows.tolist() == expected.tolist()


def test_features_alone_look_at_all_galaxies_and_ask_no_model(pool):
    pool["predictions"] = None
    far = np.full((1, 5), 50.0)
    pool["features"] = np.concatenate([pool["features"], far])
    chosen = next_galaxies(read_strategy("kcentre", "classification"), CLASSES, 2, **pool)
    assert chosen.rows[0] == 40
    with pytest.raises(ConfigError, match="needs predictions"):
        next_galaxies(read_strategy("margin", "classification"), CLASSES, 2, **pool)


def test_random_choice_is_seeded_and_even(pool):
    strategy = read_strategy("random", "classification")
    first, again = (next_galaxies(strategy, CLASSES, 5, **pool, seed=3).rows for _ in range(2))
    assert first.tolist() == again.tolist()
    counts = np.zeros(40)
    for seed in range(400):
        counts[next_galaxies(strategy, CLASSES, 10, **pool, seed=seed).rows] += 1
    assert counts.min() > 60
    assert counts.max() < 140


def test_both_together_differ_from_each(pool):
    names = ("bald", "kcentre", "bald+kcentre")
    rows = [
        next_galaxies(read_strategy(n, "classification"), CLASSES, 6, **pool).rows.tolist() for n in names
    ]
    assert len({tuple(one) for one in rows}) == 3
