"""Distributions over a tree model's output, in every engine, against SciPy."""

import numpy as np
import pytest
from scipy import stats

from zoobot.shared import posteriors as shared
from zoobot.shared.errors import ConfigError, LabelError, SchemaError
from zoobot.shared.likelihood import dirichlet_multinomial_nll
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
