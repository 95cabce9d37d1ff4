"""What concentrations say of fractions and votes, against SciPy's beta and beta-binomial distributions."""

import numpy as np
import pytest
from scipy import optimize, stats

from zoobot.shared import posteriors, schemas
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.posteriors import expected_votes, vote_cdf, vote_intervals, vote_probabilities
from zoobot.shared.schemas import Schema
from zoobot.shared.trees.beta_intervals import beta_highest_density, mixture_cdf, mixture_highest_density

SCHEMA = Schema.from_pairs(
    {"shape": ["smooth", "featured", "artifact"], "ring": ["yes", "no"], "only": ["one"]},
    {"ring": "shape_featured"},
)


def draw(*shape, seed=0):
    return 1 + 100 * np.random.default_rng(seed).beta(0.4, 1.5, (*shape, 6))


def marginals(alpha):
    """The beta distributions of a mixture's five answers that are not alone, (samples, galaxies, 5)."""
    a = alpha[..., :5]
    total = np.concatenate(
        [
            np.repeat(alpha[..., :3].sum(-1, keepdims=True), 3, -1),
            np.repeat(alpha[..., 3:5].sum(-1, keepdims=True), 2, -1),
        ],
        axis=-1,
    )
    return a, total - a


def shortest_length(cdf, ppf, level):
    """By brute force: the least distance between quantiles `level` apart."""
    tails = np.linspace(0, 1 - level, 400)
    best = tails[np.argmin([ppf(t + level) - ppf(t) for t in tails])]
    bounds = max(0, best - 0.01), min(1 - level, best + 0.01)
    return min(
        optimize.minimize_scalar(lambda t: ppf(t + level) - ppf(t), bounds=bounds, method="bounded").fun,
        ppf(level) - ppf(0),
        ppf(1) - ppf(1 - level),
    )


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_highest_density_intervals_are_the_shortest(level):
    a = np.array([1.0000001, 1.01, 1.0, 3.0, 0.5, 1.5, 1.2, 50.0, 7.0, 101.0])
    b = np.array([80.0, 101.0, 3.0, 1.0, 3.0, 1.0001, 300.0, 1.000001, 9.0, 101.0])
    lower, upper = beta_highest_density(a, b, level)
    np.testing.assert_allclose(stats.beta.cdf(upper, a, b) - stats.beta.cdf(lower, a, b), level, atol=1e-9)
    for k in range(len(a)):
        best = shortest_length(stats.beta(a[k], b[k]).cdf, stats.beta(a[k], b[k]).ppf, level)
        assert upper[k] - lower[k] == pytest.approx(best, rel=1e-6)


def test_a_flat_distribution_has_the_equal_tailed_interval():
    one = np.array([1.0])
    lower, upper = beta_highest_density(one, one, 0.9)
    assert (lower[0], upper[0]) == (pytest.approx(0.05), pytest.approx(0.95))


def test_intervals_of_a_mixture_hold_the_probability_asked_for():
    alpha = draw(4, 30)
    a, b = marginals(alpha)
    for kind in ("equal-tailed", "highest-density"):
        lower, upper = posteriors.fraction_intervals(alpha, SCHEMA, level=0.8, kind=kind)
        low, high = (stats.beta.cdf(end[None, :, :5], a, b).mean(axis=0) for end in (lower, upper))
        np.testing.assert_allclose(high - low, 0.8, atol=1e-8)
        if kind == "equal-tailed":
            np.testing.assert_allclose(low, 0.1, atol=1e-8)
        assert (lower[:, 5] == 1).all()
        assert (upper[:, 5] == 1).all()


def test_highest_density_of_a_mixture_is_nearly_the_shortest():
    a, b = np.array([[2.0, 1.0], [30.0, 1.0]]), np.array([[9.0, 50.0], [40.0, 9.0]])
    lower, upper = mixture_highest_density(a, b, 0.9)
    grid = np.linspace(0, 1, 200_001)
    for k in range(2):
        cdf = mixture_cdf(a[:, k, None] + 0 * grid, b[:, k, None] + 0 * grid, grid)
        best = shortest_length(None, lambda t, cdf=cdf: float(np.interp(t, cdf, grid)), 0.9)
        assert upper[k] - lower[k] == pytest.approx(best, rel=3e-3)


def test_a_mixture_of_equals_is_the_one_distribution():
    alpha = draw(20)
    for kind in ("equal-tailed", "highest-density"):
        one = posteriors.fraction_intervals(alpha, SCHEMA, kind=kind)
        three = posteriors.fraction_intervals(np.stack([alpha] * 3), SCHEMA, kind=kind)
        np.testing.assert_allclose(three[1] - three[0], one[1] - one[0], rtol=2e-3, atol=1e-9)
    np.testing.assert_allclose(
        posteriors.expected_fractions(np.stack([alpha] * 3), SCHEMA),
        posteriors.expected_fractions(alpha, SCHEMA),
    )


def test_the_probability_asked_follows_the_tree():
    alpha = np.stack([[[8.0, 2.0, 10.0, 1, 1, 1]], [[1.0, 8.0, 1.0, 1, 1, 1]]])
    np.testing.assert_allclose(posteriors.probability_asked(alpha, SCHEMA), [[1, (0.1 + 0.8) / 2, 1]])


@pytest.mark.parametrize("n_volunteers", [1, 7, 3000])
def test_votes_are_beta_binomial(n_volunteers):
    alpha = draw(3)
    a, b = marginals(alpha)
    numbers = np.arange(n_volunteers + 1)
    masses = vote_probabilities(alpha, SCHEMA, n_volunteers)
    assert masses.shape == (3, 6, n_volunteers + 1)
    expected = stats.betabinom.pmf(numbers, n_volunteers, a[..., None], b[..., None])
    np.testing.assert_allclose(masses[:, :5], expected, atol=1e-9)
    assert masses[0, 5, -1] == pytest.approx(1)
    np.testing.assert_allclose(expected_votes(alpha, SCHEMA, n_volunteers)[:, :5], n_volunteers * a / (a + b))


def test_vote_intervals_and_probabilities_of_each_galaxys_own_number_of_volunteers():
    alpha, asked = draw(2, 3), np.array([[5, 40, 3], [0, 1, 0], [80, 0, 2]])
    a, b = marginals(alpha)
    n = np.repeat(asked, [3, 2, 1], axis=1)[:, :5]
    grid = np.arange(81)
    cdf = stats.betabinom.cdf(grid, n[..., None], a[..., None], b[..., None]).mean(axis=0)
    fewest, most = vote_intervals(alpha, SCHEMA, asked, level=0.8)
    np.testing.assert_array_equal(fewest[:, :5], (cdf < 0.1 - 1e-9).sum(axis=-1))
    np.testing.assert_array_equal(most[:, :5], (cdf < 0.9 - 1e-9).sum(axis=-1))
    votes = np.minimum(2, np.repeat(asked, [3, 2, 1], axis=1))
    fewer, exactly = vote_cdf(votes, alpha, SCHEMA, asked)
    wanted = np.take_along_axis(cdf, votes[:, :5, None], axis=-1)[..., 0]
    np.testing.assert_allclose((fewer + exactly)[:, :5], wanted, atol=1e-9)


def test_bad_requests_are_refused():
    for bad in (np.ones((2, 5)), np.ones((0, 2, 6)), np.zeros((2, 6)), np.full((3, 2, 6), np.nan)):
        with pytest.raises(LabelError, match="concentrations must be"):
            posteriors.expected_fractions(bad, SCHEMA)
    alpha = draw(2)
    with pytest.raises(ConfigError, match="kind must be one of"):
        posteriors.fraction_intervals(alpha, SCHEMA, kind="central")
    with pytest.raises(ConfigError, match="level"):
        vote_intervals(alpha, SCHEMA, 10, level=1.5)
    for number, error in (
        (0, ConfigError),
        (np.full((2, 3), 0.5), ConfigError),
        (np.ones((2, 2)), LabelError),
    ):
        with pytest.raises(error, match="n_volunteers"):
            vote_intervals(alpha, SCHEMA, number)
    with pytest.raises(LabelError, match=r"votes must be \(galaxies, answers\)"):
        vote_cdf(np.ones((2, 5)), alpha, SCHEMA, 3)


def test_no_galaxies_are_no_problem():
    none = np.ones((0, len(schemas.get("gz2_full").label_cols)))
    lower, _ = posteriors.fraction_intervals(none, schemas.get("gz2_full"))
    assert lower.shape == none.shape
    assert vote_intervals(none, schemas.get("gz2_full"), 40)[0].shape == none.shape


@pytest.mark.parametrize("volunteers", [1001, 4000])
def test_the_votes_of_very_many_are_those_of_scipy_though_they_are_not_counted_up(volunteers):
    alpha, rng = draw(2, 30), np.random.default_rng(3)
    a, b = marginals(alpha)
    asked = np.full((30, 3), volunteers)
    asked[::3] = 40  # beside galaxies with few votes
    sizes = np.repeat(asked, [3, 2, 1], axis=1)
    votes = rng.binomial(sizes, rng.beta(0.5, 2, sizes.shape))
    votes[:2], votes[3:5, :5] = 0, sizes[3:5, :5]
    fewer, exactly = vote_cdf(votes, alpha, SCHEMA, asked)
    known = stats.betabinom(sizes[:, :5], a, b)
    np.testing.assert_allclose(fewer[:, :5], known.cdf(votes[:, :5] - 1).mean(axis=0), atol=1e-8)
    np.testing.assert_allclose(exactly[:, :5], known.pmf(votes[:, :5]).mean(axis=0), rtol=1e-7, atol=1e-12)
    fewest, most = vote_intervals(alpha, SCHEMA, asked, level=0.8)
    for ends, tail in ((fewest, 0.1), (most, 0.9)):
        assert (known.cdf(ends[:, :5]).mean(axis=0) >= tail - 1e-8).all()
        assert (known.cdf(ends[:, :5] - 1).mean(axis=0) < tail + 1e-8).all()


def test_a_billion_votes_are_one_fraction():
    alpha, volunteers = draw(1, 20), 10**9
    fewest, most = vote_intervals(alpha[0], SCHEMA, volunteers)
    a, b = marginals(alpha)
    np.testing.assert_allclose(fewest[:, :5] / volunteers, stats.beta.ppf(0.05, a, b)[0], atol=1e-4)
    np.testing.assert_allclose(most[:, :5] / volunteers, stats.beta.ppf(0.95, a, b)[0], atol=1e-4)
    assert (fewest[:, 5] == volunteers).all()  # of one answer there is no doubt
