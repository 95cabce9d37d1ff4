"""Temperatures against other ways to find them, and what they may not change."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from zoobot.certainty.coverage import expected_calibration_error, reliability_curves
from zoobot.certainty.temperature import fit_temperature
from zoobot.shared.errors import LabelError
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask

CLASSES = ClassificationTask(class_names=("a", "b", "c"), label_cols=("kind",))
LABELS = MultiLabelTask(num_labels=2, label_cols=("ring", "bar"))


def classes(galaxies=3000, *, sureness=3.0, seed=0):
    """Logits of a model that is `sureness` times too sure, and classes drawn from what it should say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (galaxies, 3))
    truth = [rng.choice(3, p=p) for p in softmax(logits, axis=1)]
    return sureness * logits, np.array(truth)[:, None]


def labels(galaxies=3000, *, sureness=(2.0, 0.5), seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (galaxies, 2))
    truth = (rng.random((galaxies, 2)) < expit(logits)).astype(float)
    return logits * sureness, truth


def test_the_temperature_of_classes_is_that_of_least_loss():
    logits, truth = classes()

    def loss(factor):
        return -np.take_along_axis(log_softmax(factor * logits, axis=1), truth, axis=1).mean()

    found = fit_temperature(CLASSES, softmax(logits, axis=1), truth)
    expected = minimize_scalar(loss, bracket=(0.1, 1.0))
    assert found.factors.shape == (1,)
    assert found.factors[0] == pytest.approx(expected.x, rel=5e-3)  # a little nearer to 1
    assert found.factors[0] == pytest.approx(1 / 3, rel=0.05)
    after = found.apply(softmax(logits, axis=1))
    assert CLASSES.label_losses(after, truth).mean() == pytest.approx(expected.fun, rel=1e-4)


def test_each_label_has_the_slope_of_a_logistic_regression_without_intercept():
    logits, truth = labels()
    truth[::7, 1] = np.nan
    found = fit_temperature(LABELS, expit(logits), truth)
    assert found.n == (3000, int(np.isfinite(truth[:, 1]).sum()))
    for place in range(2):
        known = np.isfinite(truth[:, place])
        regression = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-8)
        slope = regression.fit(logits[known, place, None], truth[known, place]).coef_[0, 0]
        assert found.factors[place] == pytest.approx(slope, rel=5e-3)  # a little nearer to 1


@pytest.mark.parametrize(("task", "make", "squash"), [(CLASSES, classes, softmax), (LABELS, labels, expit)])
def test_calibration_mends_the_error_and_keeps_the_answers(task, make, squash):
    logits, truth = make(seed=1)
    options = {"axis": 1} if squash is softmax else {}
    predicted = squash(logits, **options)
    found = fit_temperature(task, predicted[:1500], truth[:1500])
    after = found.apply(predicted)
    errors = [
        np.mean([expected_calibration_error(c) for c in reliability_curves(task, p, truth).values()])
        for p in (predicted, after)
    ]
    assert errors[1] < 0.4 * errors[0]
    if task is CLASSES:
        np.testing.assert_array_equal(after.argmax(axis=1), predicted.argmax(axis=1))
    else:
        np.testing.assert_array_equal(after > 0.5, predicted > 0.5)
    np.testing.assert_allclose(task.sharpen(after, 1 / found.factors), predicted, atol=1e-9)


def test_what_float32_has_rounded_to_0_and_1_stays_finite():
    given = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for factor in (0.02, 1.0, 50.0):
        found = CLASSES.sharpen(given, [factor])
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found.sum(axis=1), 1)
        assert np.isfinite(CLASSES.label_losses(given, [[1], [1]])).all()
        assert np.isfinite(LABELS.sharpen([[1.0, 0.0]], [factor, factor])).all()


def test_where_little_is_known_nothing_changes():
    logits, truth = classes(40)
    predicted = softmax(logits, axis=1)
    assert fit_temperature(CLASSES, predicted, truth).factors.tolist() == [1.0]
    assert fit_temperature(CLASSES, predicted, truth, min_galaxies=10).factors[0] < 0.8
    right = predicted.argmax(axis=1)[:, None]  # never wrong: as sure as can be would be the most likely
    assert fit_temperature(CLASSES, predicted, right, min_galaxies=10).factors.tolist() == [1.0]
    logits, truth = labels(100)
    truth[:, 1] = np.nan
    assert fit_temperature(LABELS, expit(logits), truth).factors[1] == 1.0
    with pytest.raises(LabelError, match="shapes"):
        fit_temperature(CLASSES, predicted, truth)


def test_the_record_names_each_factor():
    logits, truth = labels()
    record = fit_temperature(LABELS, expit(logits), truth).to_config()
    assert record["objective"] == "likelihood"
    assert record["factors"].keys() == record["galaxies"].keys() == {"ring", "bar"}


@pytest.mark.parametrize(("task", "make", "squash"), [(CLASSES, classes, softmax), (LABELS, labels, expit)])
def test_a_model_that_needs_no_calibration_mostly_keeps_none_and_is_not_made_worse(task, make, squash):
    options = {"axis": 1} if squash is softmax else {}
    right = {"sureness": 1.0} if task is CLASSES else {"sureness": (1.0, 1.0)}
    logits, truth = make(2000, **right, seed=99)
    fresh = squash(logits, **options)
    kept, change = [], []
    for seed in range(10):
        logits, few = make(30, **right, seed=seed)
        found = fit_temperature(task, squash(logits, **options), few, min_galaxies=5)
        kept += (found.factors == 1).tolist()
        assert (found.held_out[:, found.factors == 1] == 1).all()
        change.append((task.label_losses(found.apply(fresh), truth) - task.label_losses(fresh, truth)).mean())
    assert np.mean(kept) >= 0.8
    assert np.mean(change) < 0.003


def test_what_calibration_brings_is_told_of_galaxies_that_were_held_out():
    logits, truth = classes(400)
    predicted = softmax(logits, axis=1)
    ids = [f"J{k:04d}" for k in range(400)]
    found = fit_temperature(CLASSES, predicted, truth, ids=ids, seed=1)
    assert len(np.unique(found.held_out)) == 5
    own = fit_temperature(CLASSES, predicted[found.held_out[:, 0] != found.held_out[0, 0]],
                          truth[found.held_out[:, 0] != found.held_out[0, 0]])  # fmt: skip
    assert own.factors[0] == pytest.approx(found.held_out[0, 0], rel=1e-4)  # what was found without its fold
    gain = CLASSES.label_losses(predicted, truth) - CLASSES.label_losses(
        found.apply_held_out(predicted), truth
    )
    assert found.gains[0] == pytest.approx(gain.mean())
    assert found.to_config()["gains"] == {"most likely class": round(gain.mean(), 6)}
    order = np.random.default_rng(0).permutation(400)  # the galaxies decide, not their order
    other = fit_temperature(CLASSES, predicted[order], truth[order], ids=[ids[k] for k in order], seed=1)
    np.testing.assert_allclose(other.held_out, found.held_out[order], rtol=1e-6)
    with pytest.raises(LabelError, match="an id for each of 400"):
        fit_temperature(CLASSES, predicted, truth, ids=ids[:3])


def test_a_smaller_loss_that_costs_a_larger_calibration_error_is_not_kept(monkeypatch):
    logits, truth = classes(200)
    errors = iter([0.01, 0.02])
    monkeypatch.setattr("zoobot.certainty.temperature._error", lambda *_: next(errors))
    assert fit_temperature(CLASSES, softmax(logits, axis=1), truth).factors.tolist() == [1.0]
