"""Distributions over a tree model's output, in every engine, against SciPy."""

import numpy as np
import pytest
from scipy import stats

from zoobot.shared import posteriors as shared
from zoobot.shared.errors import ConfigError, LabelError, SchemaError
from zoobot.shared.likelihood import dirichlet_multinomial_nll
from zoobot.shared.posteriors import vote_intervals
from zoobot.shared.schemas import Schema

SCHEMA = Schema.from_pairs(
    {"shape": ["smooth", "featured", "artifact"], "ring": ["yes", "no"]}, {"ring": "shape_featured"}
)
CONCENTRATIONS = np.array([[8.0, 4.0, 2.0, 3.0, 9.0], [1.5, 30.0, 1.0, 50.0, 50.0]])


@pytest.fixture
def posterior(engine):
    return engine.posteriors.TreePosterior(CONCENTRATIONS, SCHEMA)


def test_mean_and_intervals_are_those_of_beta_distributions(posterior):
    sums = np.array([[14.0] * 3 + [12.0] * 2, [32.5] * 3 + [100.0] * 2])
    np.testing.assert_allclose(np.asarray(posterior.mean()), CONCENTRATIONS / sums)
    lower, upper = posterior.intervals(0.8)
    marginal = stats.beta(CONCENTRATIONS, sums - CONCENTRATIONS)
    np.testing.assert_allclose(np.asarray(lower), marginal.ppf(0.1), rtol=1e-9)
    np.testing.assert_allclose(np.asarray(upper), marginal.ppf(0.9), rtol=1e-9)


def test_samples_have_the_mean_and_spread_of_the_distribution(posterior):
    draws = np.asarray(posterior.sample(4000, seed=3))
    assert draws.shape == (4000, 2, 5)
    np.testing.assert_allclose(draws[..., :3].sum(axis=-1), 1, rtol=1e-6)
    expected = stats.dirichlet(CONCENTRATIONS[0, :3])
    np.testing.assert_allclose(draws[:, 0, :3].mean(axis=0), expected.mean(), atol=0.01)
    np.testing.assert_allclose(draws[:, 0, :3].var(axis=0), expected.var(), rtol=0.15)
    np.testing.assert_array_equal(draws, np.asarray(posterior.sample(4000, seed=3)))


def test_predicted_votes_are_dirichlet_multinomial(posterior):
    votes = np.asarray(posterior.predict_votes(20, n_samples=4000, seed=1))
    assert votes.shape == (4000, 2, 5)
    np.testing.assert_array_equal(votes[..., :3].sum(axis=-1), 20)
    expected = stats.dirichlet_multinomial(CONCENTRATIONS[0, :3], 20)
    np.testing.assert_allclose(votes[:, 0, :3].mean(axis=0), expected.mean(), atol=0.25)
    np.testing.assert_allclose(votes[:, 0, :3].var(axis=0), expected.var(), rtol=0.15)


def test_the_distribution_of_votes_has_the_likelihood_we_train_with(posterior, to_tensor, to_numpy):
    votes = np.array([[3.0, 6.0, 1.0], [0.0, 10.0, 0.0]])
    log_prob = to_numpy(posterior.votes("shape", 10).log_prob(to_tensor(votes)))
    expected = -dirichlet_multinomial_nll(CONCENTRATIONS[:, :3], votes, [slice(0, 3)])[:, 0]
    np.testing.assert_allclose(log_prob, expected, rtol=1e-6)


def test_bad_requests_are_refused(engine, posterior):
    with pytest.raises(LabelError, match="5 answers"):
        engine.posteriors.TreePosterior(np.ones((2, 4)), SCHEMA)
    with pytest.raises(LabelError, match="above 0"):
        engine.posteriors.TreePosterior(np.zeros((2, 5)), SCHEMA)
    with pytest.raises(ConfigError, match="level"):
        posterior.intervals(1.0)
    with pytest.raises(ConfigError, match="n_volunteers"):
        posterior.predict_votes(0)
    with pytest.raises(SchemaError, match="bar"):
        posterior.question("bar")


def test_a_question_with_one_answer_is_certain():
    schema = Schema.from_pairs({"only": ["yes"]})
    lower, upper = shared.fraction_intervals([[3.0]], schema)
    assert lower.tolist() == upper.tolist() == [[1.0]]


# -- mixtures: several samples of one galaxy, as from dropout or an ensemble -----------------------------

MIXTURE = np.stack([CONCENTRATIONS, CONCENTRATIONS[::-1] * 1.5, np.full((2, 5), 3.0)])


@pytest.fixture
def mixture(engine):
    return engine.posteriors.TreePosterior(MIXTURE, SCHEMA)


def test_a_mixtures_mean_and_intervals_are_the_shared_ones(mixture):
    np.testing.assert_allclose(np.asarray(mixture.mean()), shared.expected_fractions(MIXTURE, SCHEMA))
    np.testing.assert_allclose(
        np.asarray(mixture.probability_asked()), shared.probability_asked(MIXTURE, SCHEMA)
    )
    for kind in ("equal-tailed", "highest-density"):
        ours = shared.fraction_intervals(MIXTURE, SCHEMA, level=0.8, kind=kind)
        for end, expected in zip(mixture.intervals(0.8, kind=kind), ours, strict=True):
            np.testing.assert_allclose(np.asarray(end), expected)
    fewest, most = vote_intervals(MIXTURE, SCHEMA, 20, level=0.8)
    for end, expected in zip(mixture.vote_intervals(20, 0.8), (fewest, most), strict=True):
        np.testing.assert_array_equal(np.asarray(end), expected)


def test_a_mixtures_densities_are_the_mean_of_its_samples(mixture, to_tensor, to_numpy):
    votes = np.array([[3.0, 6.0, 1.0], [0.0, 10.0, 0.0]])
    log_prob = to_numpy(mixture.votes("shape", 10).log_prob(to_tensor(votes)))
    each = [-dirichlet_multinomial_nll(alpha[:, :3], votes, [slice(0, 3)])[:, 0] for alpha in MIXTURE]
    np.testing.assert_allclose(log_prob, np.log(np.mean(np.exp(each), axis=0)), rtol=1e-6)
    fractions = np.array([[0.2, 0.5, 0.3], [0.1, 0.8, 0.1]])
    density = np.exp(to_numpy(mixture.question("shape").log_prob(to_tensor(fractions))))
    expected = [
        np.mean([stats.dirichlet(alpha[galaxy, :3]).pdf(fractions[galaxy]) for alpha in MIXTURE])
        for galaxy in range(2)
    ]
    np.testing.assert_allclose(density, expected, rtol=1e-6)


def test_a_mixtures_draws_have_its_mean_and_take_one_sample_for_all_questions(mixture):
    draws = np.asarray(mixture.sample(6000, seed=3))
    assert draws.shape == (6000, 2, 5)
    np.testing.assert_allclose(draws.mean(axis=0), shared.expected_fractions(MIXTURE, SCHEMA), atol=0.015)
    means = (
        MIXTURE[:, 0] / np.array([MIXTURE[:, 0, :3].sum(axis=1)] * 3 + [MIXTURE[:, 0, 3:].sum(axis=1)] * 2).T
    )
    covariance = np.cov(means[:, 0], means[:, 3], bias=True)[0, 1]  # of different questions: only by sample
    assert np.cov(draws[:, 0, 0], draws[:, 0, 3])[0, 1] == pytest.approx(covariance, abs=0.003)
    votes = np.asarray(mixture.predict_votes(20, n_samples=4000, seed=1))
    np.testing.assert_array_equal(votes[..., :3].sum(axis=-1), 20)
    np.testing.assert_allclose(votes.mean(axis=0) / 20, shared.expected_fractions(MIXTURE, SCHEMA), atol=0.02)
