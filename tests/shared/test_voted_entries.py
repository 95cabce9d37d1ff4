"""The vote loss from the entries that have votes, against the reference of `zoobot.shared.likelihood`."""

import numpy as np
import pytest
from scipy.special import expit

from zoobot.shared import defaults, likelihood, schemas
from zoobot.shared.likelihood import TreeHeadLoss, VotedEntries, tree_of

SCHEMA = schemas.get("gz2_full")


def votes_of(n_galaxies):
    """Whole, weighted and missing votes; some questions nobody was asked, one galaxy without any vote."""
    rng = np.random.default_rng(3)
    votes = rng.integers(0, 9, (n_galaxies, len(SCHEMA.label_cols))).astype(float)
    votes[::3] *= 0.37
    for part in SCHEMA.question_slices[1:]:
        votes[rng.random(n_galaxies) < 0.5, part] = 0
    votes[1, SCHEMA.question_slices[2]] = np.nan
    votes[2] = 0
    return votes


def test_losses_and_slopes_are_those_of_the_reference():
    votes = votes_of(20)
    concentrations = np.random.default_rng(0).uniform(1, 101, votes.shape)
    entries = VotedEntries(votes, tree_of(SCHEMA.question_slices))
    at = entries.at(concentrations)
    expected = likelihood.dirichlet_multinomial_nll(concentrations, votes, SCHEMA.question_slices)
    np.testing.assert_allclose(entries.losses(at), expected, rtol=0, atol=1e-10)
    slopes = likelihood.dirichlet_multinomial_nll_gradient(concentrations, votes, SCHEMA.question_slices)
    np.testing.assert_allclose(entries.slopes(at, None, np.zeros(votes.shape)), slopes, rtol=0, atol=1e-12)
    weights = np.random.default_rng(1).uniform(0, 2, expected.shape)
    each = weights[:, likelihood.answer_question_index(SCHEMA.question_slices)]
    weighted = entries.slopes(entries.at(concentrations), weights, np.zeros(votes.shape))
    np.testing.assert_allclose(weighted, slopes * each, rtol=0, atol=1e-12)


def test_a_head_loss_is_the_likelihood_of_its_concentrations_and_its_slopes_are_its_derivative():
    votes = votes_of(6)
    outputs = np.random.default_rng(0).normal(0, 2, votes.shape)
    loss = TreeHeadLoss(SCHEMA.question_slices)
    losses, slopes = loss(outputs, votes)
    concentrations = defaults.CONCENTRATION_MIN + defaults.CONCENTRATION_RANGE * expit(outputs)
    expected = likelihood.dirichlet_multinomial_nll(concentrations, votes, SCHEMA.question_slices).sum(axis=1)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    step = 1e-6 * np.random.default_rng(2).choice([-1.0, 1.0], outputs.shape)
    change = (loss(outputs + step, votes)[0] - loss(outputs - step, votes)[0]) / 2
    np.testing.assert_allclose(change, (slopes * step).sum(axis=1), rtol=1e-5, atol=1e-12)


def test_a_head_loss_follows_other_labels():
    """It keeps where the votes of the last galaxies stand, and must not take them for those of others."""
    votes = votes_of(6)
    outputs = np.zeros(votes.shape)
    loss = TreeHeadLoss(SCHEMA.question_slices)
    first = loss(outputs, votes)[0]
    other = loss(outputs, votes[::-1].copy())[0]
    assert other == pytest.approx(first[::-1])
    assert loss(outputs, votes)[0] == pytest.approx(first)
