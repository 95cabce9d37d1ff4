"""Batches of galaxies that differ: no batch is one galaxy fifty times, and none costs more than there is."""

import numpy as np
import pytest

from zoobot.choosing.diversity import choose_galaxies
from zoobot.shared.errors import ConfigError


def planted(copies=50, others=30, seed=0):
    """One galaxy many times, with the best scores, then others; scores and features."""
    rng = np.random.default_rng(seed)
    features = np.concatenate([np.zeros((copies, 4)), rng.normal(0, 3, (others, 4))])
    scores = np.concatenate([np.full(copies, 1.0), rng.uniform(0.3, 0.9, others)])
    return scores, features


@pytest.mark.parametrize("diversity", ["kcentre", "kmeans++"])
def test_copies_are_chosen_once(diversity):
    scores, features = planted()
    plain = choose_galaxies(scores, 20, features=features)
    assert (plain.rows < 50).all()
    chosen = choose_galaxies(scores, 20, diversity=diversity, features=features)
    assert (chosen.rows < 50).sum() == 1
    assert len(set(chosen.rows.tolist())) == 20
    assert (chosen.distances[1:] > 0).all()


def test_kcentre_is_the_greedy_choice():
    scores, features = planted(copies=3, others=20)
    chosen = choose_galaxies(scores, 8, diversity="kcentre", features=features)
    so_far = [int(scores.argmax())]
    for place, row in enumerate(chosen.rows[1:], start=1):
        distance = np.linalg.norm(features[:, None] - features[so_far], axis=2).min(axis=1)
        assert row == (scores * distance).argmax()
        np.testing.assert_allclose(chosen.distances[place], distance[row], rtol=1e-6)
        so_far.append(int(row))


def test_kmeans_draws_by_score_and_squared_distance():
    features = np.array([[0.0], [1.0], [2.0], [3.0]])
    scores = np.array([1.0, 0.5, 0.5, 0.25])
    seconds = [
        choose_galaxies(scores, 2, diversity="kmeans++", features=features, seed=seed).rows[1]
        for seed in range(3000)
    ]
    expected = scores[1:] * features[1:, 0] ** 2
    found = np.bincount(seconds, minlength=4)[1:] / len(seconds)
    np.testing.assert_allclose(found, expected / expected.sum(), atol=0.03)


@pytest.mark.parametrize("diversity", ["kcentre", "kmeans++"])
def test_the_choice_keeps_away_from_what_is_labelled(diversity):
    scores, features = planted()
    chosen = choose_galaxies(scores, 10, diversity=diversity, features=features, labelled=np.zeros((1, 4)))
    assert (chosen.rows >= 50).all()
    assert np.isfinite(chosen.distances).all()


def test_when_only_copies_are_left_they_are_chosen_too():
    chosen = choose_galaxies([1.0, 0.9, 0.8], 3, diversity="kcentre", features=np.zeros((3, 2)))
    assert sorted(chosen.rows.tolist()) == [0, 1, 2]
    drawn = choose_galaxies([1.0, 0.9, 0.8], 3, diversity="kmeans++", features=np.zeros((3, 2)))
    assert sorted(drawn.rows.tolist()) == [0, 1, 2]


def test_without_diversity_the_best_scores_are_chosen_in_order():
    chosen = choose_galaxies([0.1, 0.9, 0.5, 0.7], 3)
    assert chosen.rows.tolist() == [1, 3, 2]
    assert np.isnan(chosen.distances).all()
    assert chosen.cost == 3


def blobs(sizes=(30, 20, 10), seed=0):
    """Galaxies in groups that lie far apart, mixed; features, and the group of each."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    middles = 50 * np.eye(len(sizes), 6)
    return middles[group] + rng.normal(0, 1, (len(group), 6)), group


def test_of_each_cluster_the_best_is_chosen_and_the_largest_cluster_is_first():
    features, group = blobs()
    scores = np.random.default_rng(1).random(len(group))
    chosen = choose_galaxies(scores, 3, diversity="clusters", features=features)
    assert group[chosen.rows].tolist() == [0, 1, 2]
    for row in chosen.rows:
        assert scores[row] == scores[group == group[row]].max()


def test_of_equal_scores_the_galaxy_nearest_to_the_middle_is_chosen():
    features, group = blobs()
    scaled = (features - features.mean(axis=0)) / features.std(axis=0, ddof=1)
    chosen = choose_galaxies(np.ones(len(group)), 3, diversity="clusters", features=features)
    for row in chosen.rows:
        own = np.flatnonzero(group == group[row])
        distances = np.linalg.norm(scaled[own] - scaled[own].mean(axis=0), axis=1)
        assert row == own[distances.argmin()]


def test_clusters_with_a_label_come_after_those_without():
    features, group = blobs((30, 20, 10, 5))
    labelled = features[[int(np.flatnonzero(group == one)[0]) for one in (0, 1)]]
    left = np.ones(len(group), bool)
    left[[int(np.flatnonzero(group == one)[0]) for one in (0, 1)]] = False
    options = {"diversity": "clusters", "features": features[left], "labelled": labelled}
    assert group[left][choose_galaxies(np.ones(left.sum()), 2, **options).rows].tolist() == [2, 3]


def test_more_galaxies_than_clusters_are_taken_in_turn():
    features = np.repeat([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], [4, 3, 1], axis=0)  # three places, and no more
    chosen = choose_galaxies(np.linspace(1, 0.1, 8), 8, diversity="clusters", features=features)
    assert chosen.rows.tolist() == [0, 4, 7, 1, 5, 2, 6, 3]
    alike = choose_galaxies([0.1, 0.3, 0.2], 2, diversity="clusters", features=np.ones((3, 4)))
    assert alike.rows.tolist() == [1, 2]


def test_clusters_of_a_sample_hold_for_all_galaxies(monkeypatch):
    features, group = blobs()
    monkeypatch.setattr("zoobot.choosing.diversity._MOST_TO_CLUSTER", 20)
    monkeypatch.setattr("zoobot.choosing.diversity._MOST_PER_CLUSTER", 2)
    chosen = choose_galaxies(np.ones(len(group)), 3, diversity="clusters", features=features)
    assert sorted(group[chosen.rows].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("diversity", ["none", "kcentre", "kmeans++", "clusters"])
def test_a_budget_is_kept_and_score_per_cost_decides(diversity):
    rng = np.random.default_rng(1)
    scores, costs, features = rng.uniform(0, 1, 60), rng.uniform(0.5, 5, 60), rng.normal(size=(60, 3))
    options = {"features": features, "costs": costs, "budget": 12.0, "diversity": diversity}
    chosen = choose_galaxies(scores, 60, **options)
    assert chosen.cost <= 12.0
    np.testing.assert_allclose(chosen.cost, costs[chosen.rows].sum())
    left = np.setdiff1d(np.arange(60), chosen.rows)
    assert (costs[left] > 12.0 - chosen.cost).all()  # nothing else could have been paid for
    if diversity != "clusters":
        assert chosen.rows[0] == (scores / costs).argmax()


def test_only_the_shortlist_can_be_chosen():
    scores, features = planted(copies=0, others=200)
    chosen = choose_galaxies(scores, 5, diversity="kcentre", features=features, shortlist=4)
    assert set(chosen.rows.tolist()) <= set(np.argsort(-scores)[:20].tolist())


def test_distances_do_not_depend_on_the_order_of_the_candidates():
    scores, features = planted(copies=0, others=40)
    order = np.random.default_rng(5).permutation(40)
    base = choose_galaxies(scores, 10, diversity="kcentre", features=features)
    other = choose_galaxies(scores[order], 10, diversity="kcentre", features=features[order])
    assert order[other.rows].tolist() == base.rows.tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"diversity": "kcentre"}, "needs features"),
        ({"diversity": "spread"}, "must be one of"),
        ({"n": 0}, "at least 1"),
        ({"budget": 0}, "above 0"),
        ({"costs": [1, 0, 1]}, "costs must be"),
        ({"scores": [1.0, -1.0, 0.0]}, "at least 0"),
        ({"scores": [1.0, np.nan, 0.0]}, "at least 0"),
        ({"features": np.ones((2, 3))}, "a row for each"),
    ],
)
def test_what_can_not_work_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        choose_galaxies(**({"scores": [1.0, 0.5, 0.2], "n": 2} | changes))
