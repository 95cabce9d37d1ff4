"""Samples by threshold, and the surest mistakes, of every kind of task."""

import numpy as np
import pytest
from matplotlib.text import Text
from sklearn import metrics as sk

from zoobot import plots
from zoobot.certainty.bootstrap import Resamples
from zoobot.certainty.thresholds import choose_thresholds, threshold_table
from zoobot.options import EvaluateOptions
from zoobot.shared import schemas
from zoobot.shared.errors import ConfigError
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, RegressionTask, TreeTask
from zoobot.shared.tasks.base import Decision
from zoobot.workflow.scores import threshold_pictures, threshold_section

CLASSES = ClassificationTask(class_names=("smooth", "spiral", "odd"))
RINGS = TreeTask(schema=schemas.get("gz_rings"))


def make_decision(n=200, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(2, size=n).astype(float)
    scores = np.round(np.clip(0.5 * truth + rng.random(n) * 0.6, 0, 1), 2)
    truth[rng.random(n) < 0.2] = np.nan
    return Decision("ring", scores, truth, "Ring")


def test_the_table_equals_scikit_learn_at_every_threshold():
    decision = make_decision()
    scores, truth = decision.known()
    table = threshold_table([decision])
    assert len(table) == 101
    for row in table.itertuples():
        chosen = scores >= row.threshold
        assert row.chosen == chosen.sum()
        assert row.n == len(truth)
        assert row.completeness == pytest.approx(sk.recall_score(truth, chosen))
        assert row.false_positive_rate == pytest.approx((chosen & ~truth).sum() / (~truth).sum())
        assert row.purity == pytest.approx(
            sk.precision_score(truth, chosen, zero_division=np.nan), nan_ok=True
        )
        assert row.f1 == pytest.approx(sk.f1_score(truth, chosen))


def test_thresholds_reach_what_was_asked_with_the_best_of_the_other():
    decision = make_decision()
    scores, truth = decision.known()
    (found,) = choose_thresholds([decision], Resamples(galaxies=200, count=200), completeness=0.8, purity=0.7)
    everything = []
    for threshold in np.unique(scores):
        chosen = scores >= threshold
        everything.append(((chosen & truth).sum() / chosen.sum(), (chosen & truth).sum() / truth.sum()))
    assert found.at_completeness.purity == max(p for p, c in everything if c >= 0.8)
    assert found.at_purity.completeness == max(c for p, c in everything if p >= 0.7)
    for point in (found.at_completeness, found.at_purity):
        chosen = scores >= point.threshold
        assert point.purity == (chosen & truth).sum() / chosen.sum()
        assert point.purity_ends.low < point.purity < point.purity_ends.high
    ends = found.at_completeness.completeness_ends
    assert ends.low < found.at_completeness.completeness < ends.high
    assert found.roc_auc == pytest.approx(sk.roc_auc_score(truth, scores))
    assert (found.n, found.positive) == (len(truth), truth.sum())


def test_purity_at_90_completeness_is_that_of_the_score():
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=(100, 1)).astype(float)
    predicted = rng.dirichlet([1, 1, 1], size=100) * 0.5 + 0.5 * np.eye(3)[labels[:, 0].astype(int)]
    scores = CLASSES.metrics(predicted, labels)
    for found in choose_thresholds(CLASSES.decisions(predicted, labels), Resamples(galaxies=100, count=0)):
        expected = scores[f"purity_at_90_completeness_{found.decision.name}"]
        assert found.at_completeness.purity == pytest.approx(expected)
        assert found.at_completeness.purity_ends is None


def test_what_no_threshold_reaches_is_none_and_read_as_a_dash():
    truth = np.array([0.0, 0.0, 1.0, np.nan])
    impure = Decision("odd", np.array([0.9, 0.8, 0.1, 0.5]), truth, "Odd")
    absent = Decision("spiral", np.full(4, 0.5), np.zeros(4), "Spiral")
    unknown = Decision("smooth", np.full(4, 0.5), np.full(4, np.nan), "Smooth")
    choices = choose_thresholds([impure, absent, unknown], Resamples(galaxies=4, count=10))
    assert [found.at_purity for found in choices] == [None, None, None]
    assert choices[0].at_completeness.purity == pytest.approx(1 / 3)
    assert np.isnan(choices[1].roc_auc)
    options = EvaluateOptions(catalog="a.csv", checkpoint="a", save_dir="b", at_purity=0.95)
    text = threshold_section(CLASSES, choices, options)
    assert "At 95% purity" in text
    assert "(2 more, of which there is no true galaxy here)" in text
    assert text.splitlines()[-2].split() == ["odd", "3", "1", "–", "–", "–"]
    assert threshold_table([unknown])["purity"].isna().all()
    with pytest.raises(ConfigError, match="must lie in"):
        choose_thresholds([impure], Resamples(galaxies=4), purity=0)


def test_answers_of_a_tree_are_true_above_a_share_of_enough_votes():
    expected = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    votes = np.array([[8.0, 2], [3, 9], [3, 1], [np.nan, np.nan]])
    ring, not_ring = RINGS.decisions(expected, votes)
    assert ring.name == RINGS.label_cols[0]
    np.testing.assert_array_equal(ring.truth, [1, 0, np.nan, np.nan])
    np.testing.assert_array_equal(not_ring.truth, [0, 1, np.nan, np.nan])
    np.testing.assert_array_equal(ring.scores, expected[:, 0])
    strict, _ = RINGS.decisions(expected, votes, truth_threshold=0.8, truth_votes=4)
    np.testing.assert_array_equal(strict.truth, [0, 0, 0, np.nan])  # 0.8 is not above 0.8
    size = RINGS.mistakes(expected, votes).size
    np.testing.assert_allclose(size, [0.1, 0.05, np.nan, np.nan], atol=1e-12)
    assert RINGS.mistakes(expected, votes).words(0).endswith("volunteers 0.80 of 10 votes")


def test_the_surest_mistakes_are_the_largest():
    predicted = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.6, 0.2, 0.2]])
    np.testing.assert_array_equal(
        CLASSES.mistakes(predicted, np.array([[0.0], [2], [1]])).size, [np.nan, 0.5, 0.6]
    )
    labels = MultiLabelTask(num_labels=2, label_cols=("ring", "bar"))
    found = labels.mistakes(
        np.array([[0.9, 0.2], [0.4, 0.1], [0.9, 0.9]]), np.array([[0, 1], [0, np.nan], [1, 1]])
    )
    np.testing.assert_array_equal(found.size, [0.9, np.nan, np.nan])
    assert found.words(0) == "ring: said 0.90, labelled no"
    numbers = RegressionTask(num_targets=2, label_cols=("T", "z"))
    found = numbers.mistakes(np.array([[3.0, 0.2], [1, 0.1]]), np.array([[1.0, 0.1], [1, np.nan]]))
    assert found.words(0) == "T: said 3, is 1 (1.4 RMSE)"
    assert np.isnan(found.size[1])


def test_curves_are_drawn_for_those_that_tell_and_left_out_where_none_does():
    many = [make_decision(seed=seed)._replace(name=str(seed), title=f"Answer {seed}") for seed in range(14)]
    choices = choose_thresholds(many, Resamples(galaxies=200, count=0))
    figure = plots.threshold_curves(choices)
    assert len(figure.axes) == 12
    assert "Answer" in figure.axes[0].get_title(loc="left")
    one = plots.threshold_curves(choices[:1])
    one.canvas.draw()
    (note,) = [text for text in one.findobj(Text) if text.get_text().startswith("Dotted")]
    ends = note.get_window_extent()
    assert (ends.x0 >= 0, ends.x1 <= one.bbox.x1) == (True, True)  # not cut
    figure = plots.roc_curves(choices[:2], labels=["first", "second"])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["first", "second"]
    none = choose_thresholds([Decision("a", np.ones(3), np.ones(3), "A")], Resamples(galaxies=3, count=0))
    with pytest.raises(ConfigError, match="nothing has both"):
        plots.threshold_curves(none)
    assert threshold_pictures(CLASSES, none, {}) == {}
    assert set(threshold_pictures(CLASSES, choices, {})) == {"thresholds", "roc"}
