"""Strange galaxies by their features, beside scikit-learn asked about all at once."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from zoobot.shared.errors import ConfigError, NonFiniteError
from zoobot.shared.features import anomalies
from zoobot.shared.features.anomalies import METHODS, reduce_features, sample_rows, score_anomalies


def make_features(n=400, width=12, strange=4, seed=0):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, 5)) @ rng.normal(size=(5, width)) + 0.1 * rng.normal(size=(n, width))
    features = mixed * np.geomspace(0.01, 100, width) + 7
    features[:strange] += 8 * features.std(axis=0) * rng.choice([-1, 1], (strange, width))
    return [f"g{row}" for row in range(n)], features.astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_planted_galaxies_come_first(method):
    ids, features = make_features()
    scores = score_anomalies(ids, features, method=method)
    assert set(np.argsort(-scores)[:4]) == {0, 1, 2, 3}
    np.testing.assert_array_equal(scores, score_anomalies(ids, features, method=method))


def test_scores_are_those_of_scikit_learn():
    ids, features = make_features()
    standard = StandardScaler().fit_transform(features.astype(np.float64))
    reduced = PCA(6, whiten=True).fit_transform(standard)
    expected = -LocalOutlierFactor(n_neighbors=30).fit(reduced).negative_outlier_factor_
    scores = score_anomalies(ids, features, n_components=6, neighbours=30)
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_and_pieces_give_nearly_the_same(method, monkeypatch):
    ids, features = make_features(n=900)
    whole = score_anomalies(ids, features, method=method)
    monkeypatch.setattr(anomalies, "pieces", lambda count: [slice(i, i + 77) for i in range(0, count, 77)])
    np.testing.assert_allclose(score_anomalies(ids, features, method=method), whole)
    some = score_anomalies(ids, features, method=method, fitted_to=600, seed=3)
    assert set(np.argsort(-some)[:4]) == {0, 1, 2, 3}
    assert np.corrcoef(some, whole)[0, 1] > 0.7


@pytest.mark.parametrize("method", METHODS)
def test_small_differences_of_features_make_small_ones_of_scores(method):
    ids, features = make_features(width=5)
    noise = np.random.default_rng(1).uniform(-1e-6, 1e-6, features.shape) * features.std(axis=0)
    scores = score_anomalies(ids, features, method=method)
    np.testing.assert_allclose(score_anomalies(ids, features + noise, method=method), scores, atol=1e-3)


def test_features_that_do_not_vary_count_for_nothing():
    ids, features = make_features()
    more = np.hstack([features, np.full((len(ids), 3), 0.1, np.float32)])
    np.testing.assert_allclose(score_anomalies(ids, more), score_anomalies(ids, features), rtol=1e-5)
    for method in METHODS:
        assert not score_anomalies(ids, np.ones((len(ids), 3)), method=method).any()


def test_few_galaxies_are_enough_but_one_is_not():
    for method in METHODS:
        assert np.isfinite(score_anomalies(["a", "b"], [[0.0, 1.0], [1.0, 0.0]], method=method)).all()
        with pytest.raises(ConfigError, match="two or more galaxies"):
            score_anomalies(["a"], [[0.0, 1.0]], method=method)


def test_what_can_not_work_is_said():
    ids, features = make_features(n=20)
    with pytest.raises(ConfigError, match=r"1 ids are repeated.*g0"):
        score_anomalies(["g0", *ids[:-1]], features)
    features[3, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"features of 1 galaxies are not finite.*g3"):
        score_anomalies(ids, features)
    with pytest.raises(ConfigError, match="the features of 20 galaxies"):
        score_anomalies(ids, features[:-1])
    with pytest.raises(ConfigError, match="unknown method 'magic'"):
        score_anomalies(ids[:2], features[:2] * 0 + 1, method="magic")


def test_reduced_features_are_apart_and_of_one_spread():
    _, features = make_features()
    reduced = reduce_features(features, np.arange(len(features)), 4)
    np.testing.assert_allclose(np.cov(reduced.T), np.eye(4), atol=1e-4)
    flat = np.outer(np.arange(50.0), np.ones(3))
    assert reduce_features(flat, np.arange(50), 4).shape == (50, 1)  # they differ in one direction
    assert reduce_features(features, np.arange(10), 4).shape == (400, 2)


def test_samples_are_in_order_and_seeded():
    np.testing.assert_array_equal(sample_rows(5, 9, seed=0), range(5))
    some = sample_rows(1000, 50, seed=0)
    assert len(set(some)) == 50
    assert (np.diff(some) > 0).all()
    np.testing.assert_array_equal(some, sample_rows(1000, 50, seed=0))
