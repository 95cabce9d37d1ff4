"""The best linear head, against scikit-learn's."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression, Ridge

from zoobot.shared import head_optimum
from zoobot.shared.head_optimum import find_best_head


def logistic(features, labels, weight, bias):
    """Cross-entropy of classes, with its derivatives."""
    logits = features @ weight.T + bias
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    rows, classes = np.arange(len(labels)), labels[:, 0].astype(int)
    error = np.exp(log_p)
    error[rows, classes] -= 1
    return -log_p[rows, classes], error.T @ features / len(features), error.mean(axis=0)


def squares(features, labels, weight, bias):
    error = features @ weight.T + bias - labels
    return (error**2).sum(axis=1), 2 * error.T @ features / len(features), 2 * error.mean(axis=0)


def classes(n_galaxies, n_features):
    rng = np.random.default_rng(0)
    features = rng.normal(3, rng.uniform(0.1, 10, n_features), (n_galaxies, n_features)).astype(np.float32)
    score = (features[:, 0] - 3) / features[:, 0].std() + rng.normal(0, 0.5, n_galaxies)
    return features, np.digitize(score, [-0.5, 0.5])[:, None].astype(np.float32)


@pytest.mark.parametrize(("n_galaxies", "n_features"), [(300, 8), (60, 200)])
def test_it_is_the_logistic_regression_of_scikit_learn(n_galaxies, n_features, monkeypatch):
    """Wide and narrow features: what is spanned by few galaxies loses nothing."""
    decay = 0.05
    monkeypatch.setattr(head_optimum, "DECAYS", (decay,))
    monkeypatch.setattr(head_optimum, "_LEAST_SCATTER", 0.0)
    features, labels = classes(n_galaxies, n_features)
    found = find_best_head(logistic, (features, labels), (features, labels), start=np.zeros(3))
    mean, std = features.mean(axis=0), features.std(axis=0)
    oracle = LogisticRegression(C=1 / (decay * n_galaxies), max_iter=5000, tol=1e-8)
    oracle.fit((features - mean) / std, labels[:, 0])
    got = features @ found.weight.T + found.bias
    expected = oracle.decision_function((features - mean) / std)
    np.testing.assert_allclose(got - got.mean(axis=1, keepdims=True), expected, atol=2e-3)


def test_it_is_the_ridge_regression_of_scikit_learn(monkeypatch):
    decay = 0.3
    monkeypatch.setattr(head_optimum, "DECAYS", (decay,))
    monkeypatch.setattr(head_optimum, "_LEAST_SCATTER", 0.0)
    features, _ = classes(80, 30)
    targets = (features[:, :2] * [1, 0.2] + 5).astype(np.float32)
    found = find_best_head(squares, (features, targets), (features, targets), start=np.zeros(2))
    mean, std = features.mean(axis=0), features.std(axis=0)
    oracle = Ridge(alpha=0.5 * decay * 80).fit((features - mean) / std, targets)
    expected = oracle.predict((features - mean) / std)
    np.testing.assert_allclose(features @ found.weight.T + found.bias, expected, atol=2e-3)


def test_the_decay_that_foretells_other_galaxies_best_is_chosen():
    """With noise in hundreds of features and few galaxies, hardly any decay is far from the best."""
    features, labels = classes(1080, 150)
    others = features[80:], labels[80:]
    features, labels = features[:80], labels[:80]
    found = find_best_head(logistic, (features, labels), others, start=np.zeros(3))
    losses = {}
    for decay in head_optimum.DECAYS:
        basis = head_optimum._Basis.of(features)
        (head,) = head_optimum._solutions(logistic, basis.apply(features), labels, (decay,), np.zeros(3))
        losses[decay] = logistic(basis.apply(others[0]), others[1], *head)[0].mean()
    assert found.decay == min(losses, key=losses.get)
    assert found.score == pytest.approx(min(losses.values()), rel=1e-3)
    assert 1e-3 < found.decay < 1000


def test_few_validation_galaxies_choose_together_with_cross_validation():
    """Three galaxies that mislead alone: their labels are turned round."""
    features, labels = classes(200, 5)
    misleading = features[:3], 2 - labels[:3]
    found = find_best_head(logistic, (features, labels), misleading, start=np.zeros(3))
    right = (np.argmax(features @ found.weight.T + found.bias, axis=1) == labels[:, 0]).mean()
    assert right > 0.7


def test_further_views_take_part_in_the_fit_and_not_in_the_choice():
    features, labels = classes(100, 4)
    noisy = features + np.random.default_rng(1).normal(0, 0.1, features.shape).astype(np.float32)
    both = np.concatenate([features, noisy]), np.tile(labels, (2, 1))
    one = find_best_head(logistic, (features, labels), (features, labels), start=np.zeros(3))
    two = find_best_head(logistic, both, (features, labels), start=np.zeros(3), views=2)
    assert (two.decay, two.score) == (one.decay, one.score)
    assert not np.allclose(two.weight, one.weight)


def test_a_feature_that_never_varies_is_left_out():
    features, labels = classes(50, 4)
    features[:, 2] = 7
    found = find_best_head(logistic, (features, labels), (features, labels), start=np.zeros(3))
    np.testing.assert_array_equal(found.weight[:, 2], 0)
    assert np.isfinite(found.weight).all()


def test_a_feature_that_hardly_varies_in_training_does_not_rule_predictions_elsewhere():
    """Regression has no bound: a weight found on a thousandth of the scatter would be far too large there."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 10)).astype(np.float32)
    features[:, 9] *= 1e-3
    targets = (features[:, :1] + rng.normal(0, 0.3, (60, 1))).astype(np.float32)
    found = find_best_head(squares, (features, targets), (features, targets), start=np.zeros(1))
    elsewhere = np.zeros((1, 10), np.float32)
    elsewhere[0, 9] = 1.0
    assert abs((elsewhere @ found.weight.T + found.bias)[0, 0]) < 1.0


def test_the_head_of_one_decay_is_that_of_the_whole_path():
    features, labels = classes(60, 12)
    nobody = features[:0], labels[:0]
    best = find_best_head(logistic, (features, labels), nobody, start=np.zeros(3))
    weight, bias = head_optimum.find_head(logistic, (features, labels), best.decay, start=np.zeros(3))
    logits, expected = features @ weight.T + bias, features @ best.weight.T + best.bias
    np.testing.assert_allclose(softmax(logits, axis=1), softmax(expected, axis=1), atol=2e-3)


def test_galaxies_in_several_rows_are_decomposed_where_the_fast_method_gives_up(monkeypatch):
    features, labels = classes(60, 200)
    expected = head_optimum.find_head(logistic, (features, labels), 0.1, start=np.zeros(3))

    def gives_up(*_, **__):
        raise np.linalg.LinAlgError

    monkeypatch.setattr(np.linalg, "svd", gives_up)
    found = head_optimum.find_head(logistic, (features, labels), 0.1, start=np.zeros(3))
    np.testing.assert_allclose(found[0], expected[0], atol=1e-4)
