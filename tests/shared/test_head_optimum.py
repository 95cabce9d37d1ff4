"""The best linear head, against scikit-learn's."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression, Ridge

from zoobot.shared import likelihood
from zoobot.shared.training import head_optimum
from zoobot.shared.training.head_optimum import find_best_head


def logistic(logits, labels):
    """Cross-entropy of classes, with its derivatives."""
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    rows, classes = np.arange(len(labels)), labels[:, 0].astype(int)
    error = np.exp(log_p)
    error[rows, classes] -= 1
    return -log_p[rows, classes], error


def squares(values, targets):
    error = values - targets
    return (error**2).sum(axis=1), 2 * error


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
        weight, bias = head_optimum.find_head(logistic, (features, labels), decay, start=np.zeros(3))
        losses[decay] = logistic(others[0] @ weight.T + bias, others[1])[0].mean()
    best = min(losses, key=losses.get)
    step = np.log(head_optimum.DECAYS[0] / head_optimum.DECAYS[1])
    assert abs(np.log(found.decay / best)) <= step / 2
    loss = logistic(others[0] @ found.weight.T + found.bias, others[1])[0].mean()
    assert loss <= losses[best] + 1e-4
    assert found.score == pytest.approx(min(losses.values()), rel=1e-3)
    assert 1e-3 < found.decay < 1000


def test_a_loss_that_rises_before_it_falls_does_not_end_the_search():
    """Seen on votes of 400 galaxies: under the strongest decays little is learned, and all is noise."""
    means = dict(zip(head_optimum.DECAYS, (36.0, 36.9, 37.0, 34.2, 34.6, 35.5), strict=False))

    class Planned:
        pairs = (None,)

        @staticmethod
        def judge(decay, on_head):
            on_head()
            return head_optimum._Judged(means.get(decay, 99.0))

    decay, judged = head_optimum.choose_decay(Planned)
    assert (decay, judged.mean) == (head_optimum.DECAYS[3], 34.2)


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
    np.testing.assert_array_equal(weight, best.weight)
    np.testing.assert_array_equal(bias, best.bias)


@pytest.mark.parametrize("n_features", [20, 200])
def test_galaxies_in_several_rows_count_several_times(n_features):
    """As in a bootstrap: rows that repeat span fewer directions than there are rows."""
    features, labels = classes(60, n_features)
    once = head_optimum.find_head(logistic, (features, labels), 0.1, start=np.zeros(3))
    thrice = np.tile(features, (3, 1)), np.tile(labels, (3, 1))
    found = head_optimum.find_head(logistic, thrice, 0.1, start=np.zeros(3))
    np.testing.assert_allclose(
        softmax(features @ found[0].T + found[1], axis=1),
        softmax(features @ once[0].T + once[1], axis=1),
        atol=1e-3,
    )


def test_an_answer_that_few_galaxies_get_is_learned_for_these():
    """With weights near 0 its concentration is best at its bound, where the loss is flat."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 20))
    rare = features[:, 0] > 1.5
    fractions = rng.dirichlet([3, 3], 400) * np.where(rare, 0.5, 1.0)[:, None]
    votes = rng.multinomial(20, np.column_stack([np.where(rare, 0.5, 0.0), fractions]))

    def tree(outputs, votes):
        share = expit(outputs)
        concentrations, slices = 1 + 100 * share, [slice(0, 3)]
        losses = likelihood.dirichlet_multinomial_nll(concentrations, votes, slices)[:, 0]
        slopes = likelihood.dirichlet_multinomial_nll_gradient(concentrations, votes, slices)
        return losses, slopes * 100 * share * (1 - share)

    start = np.full(3, -3.0)
    found = find_best_head(tree, (features, votes), (features, votes), start=start)
    concentrations = 1 + 100 * expit(features @ found.weight.T + found.bias)
    fractions = concentrations[:, 0] / concentrations.sum(axis=1)
    assert fractions[rare].mean() > 3 * fractions[~rare].mean()


def noisy_classes(n_galaxies):
    """Classes told by directions in which galaxies hardly differ, as features of an encoder often do."""
    rng = np.random.default_rng(0)
    scatter = 1 / np.arange(1, 101)
    along = rng.normal(size=(n_galaxies, 100)) * scatter
    score = along @ (rng.normal(size=100) / np.sqrt(scatter))
    score = score / score.std() + rng.normal(0, 0.3, n_galaxies)
    turned = along @ np.linalg.qr(rng.normal(size=(100, 100)))[0]
    return turned.astype(np.float32), np.digitize(score, [-0.5, 0.5])[:, None].astype(np.float32)


def test_a_factor_of_logits_is_chosen_with_the_decay_and_foretells_better():
    features, labels = noisy_classes(3000)
    known, others, new = ((features[part], labels[part]) for part in np.split(np.arange(3000), [200, 500]))
    losses = {}
    for is_logits in (False, True):
        found = find_best_head(logistic, known, others, start=np.zeros(3), is_logits=is_logits)
        losses[is_logits] = logistic(new[0] @ found.weight.T + found.bias, new[1])[0].mean()
        judged = logistic(others[0] @ found.weight.T + found.bias, others[1])[0].mean()
        assert found.score == pytest.approx(judged, rel=3e-3)
    assert abs(np.log(found.factor)) > 0.05
    plain = head_optimum.find_head(logistic, known, found.decay, start=np.zeros(3))
    np.testing.assert_allclose(found.weight, found.factor * plain[0])
    np.testing.assert_allclose(found.bias, found.factor * plain[1])
    assert losses[True] < losses[False]


def test_few_galaxies_choose_no_factor():
    features, labels = noisy_classes(150)
    nobody = features[:0], labels[:0]
    assert find_best_head(logistic, (features, labels), nobody, start=np.zeros(3), is_logits=True).factor == 1


def test_what_is_no_logit_has_no_factor():
    features, _ = noisy_classes(500)
    targets = features[:, :1] * 3 + 5
    assert find_best_head(squares, (features, targets), (features, targets), start=np.zeros(1)).factor == 1
