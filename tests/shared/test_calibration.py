"""Coverage and calibration on votes drawn from known posteriors: the truth is what was put in."""

import numpy as np
import pandas as pd
import pytest

from zoobot.certainty import coverage
from zoobot.certainty.calibration import fit_calibration
from zoobot.shared import posteriors
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.likelihood import mixture_nll
from zoobot.shared.schemas import Schema

SCHEMA = Schema.from_pairs(
    {"shape": ["smooth", "featured", "artifact"], "ring": ["yes", "no"], "only": ["one"]},
    {"ring": "shape_featured"},
)


def simulate(galaxies, *, seed=0, volunteers=40, samples=None):
    """Concentrations, and votes drawn from them (from one sample for each galaxy, if there are several)."""
    rng = np.random.default_rng(seed)
    alpha = 1 + 30 * rng.beta(0.4, 1.5, (samples or 1, galaxies, 6))
    true = alpha[rng.integers(len(alpha), size=galaxies), np.arange(galaxies)]
    votes = np.full((galaxies, 6), np.nan)
    for row in range(galaxies):
        fractions = [rng.dirichlet(true[row, part]) for part in SCHEMA.question_slices]
        shape = rng.multinomial(volunteers, fractions[0])
        votes[row, :3] = shape
        if shape[1]:
            votes[row, 3:5] = rng.multinomial(shape[1], fractions[1])
        votes[row, 5] = 3
    return (alpha if samples else alpha[0]), votes


def of(table, question, column, level=0.9):
    return table.set_index(["question", "level"]).loc[(question, level), column]


@pytest.mark.parametrize("samples", [None, 3])
def test_a_model_that_knows_how_sure_it_may_be_covers_what_it_says(samples):
    alpha, votes = simulate(1500, samples=samples)
    table = coverage.coverage_table(alpha, votes, SCHEMA, levels=(0.5, 0.9))
    assert list(table.columns) == ["question", "level", "n", "votes", "votes_plain", "fractions"]
    for question in ("shape", "ring"):
        for level in (0.5, 0.9):
            assert of(table, question, "votes", level) == pytest.approx(level, abs=0.025)
            # whole votes: a plain interval holds its level at least
            assert of(table, question, "votes_plain", level) > of(table, question, "votes", level)
    assert of(table, "shape", "n") == 1500
    assert of(table, "ring", "n") == (votes[:, 1] > 0).sum()
    assert np.isnan(of(table, "only", "votes"))


def test_fraction_intervals_hold_what_very_many_volunteers_say():
    alpha, votes = simulate(800, volunteers=5000)
    table = coverage.coverage_table(alpha, votes, SCHEMA, levels=(0.9,))
    assert of(table, "shape", "fractions") == pytest.approx(0.9, abs=0.025)
    few = coverage.coverage_table(*simulate(800, volunteers=10), SCHEMA, levels=(0.9,))
    assert of(few, "shape", "fractions") < 0.85


def test_places_are_uniform_even_for_one_volunteer():
    alpha, votes = simulate(2000, volunteers=1)
    places = coverage.vote_places(alpha, votes, SCHEMA)[:, :3].ravel()
    quantiles = np.quantile(places, np.linspace(0.1, 0.9, 9))
    np.testing.assert_allclose(quantiles, np.linspace(0.1, 0.9, 9), atol=0.03)


def test_a_question_nobody_was_asked_has_no_coverage():
    alpha, votes = simulate(20)
    votes[:, 3:5] = np.nan
    table = coverage.coverage_table(alpha, votes, SCHEMA)
    assert of(table, "ring", "n") == 0
    assert np.isnan(of(table, "ring", "votes"))
    pd.testing.assert_frame_equal(table, coverage.coverage_table(alpha, votes, SCHEMA))


@pytest.mark.parametrize("objective", ["auto", "likelihood", "coverage"])
@pytest.mark.parametrize("samples", [None, 2])
def test_the_factor_that_was_left_out_is_found_again(objective, samples):
    alpha, votes = simulate(2000, samples=samples)
    wrong = alpha * np.repeat([4.0, 0.25, 1.0], [3, 2, 1])
    calibration = fit_calibration(wrong, votes, SCHEMA, objective=objective)
    np.testing.assert_allclose(calibration.by_question, [0.25, 4.0, 1.0], rtol=0.25)
    assert calibration.factors.tolist() == np.repeat(calibration.by_question, [3, 2, 1]).tolist()
    held_out, new_votes = simulate(2000, samples=samples, seed=1)
    wrong = held_out * np.repeat([4.0, 0.25, 1.0], [3, 2, 1])
    before = coverage.coverage_table(wrong, new_votes, SCHEMA)
    after = coverage.coverage_table(wrong * calibration.factors, new_votes, SCHEMA)
    assert of(before, "shape", "votes") < 0.8
    assert of(before, "ring", "votes") > 0.93
    for question in ("shape", "ring"):
        assert of(after, question, "votes") == pytest.approx(0.9, abs=0.03)


def test_too_few_galaxies_leave_a_question_as_it_is():
    alpha, votes = simulate(300)
    votes[40:, 3:5] = np.nan
    calibration = fit_calibration(3 * alpha, votes, SCHEMA)
    assert calibration.by_question[0] != 1
    assert calibration.by_question[1:] == (1.0, 1.0)
    assert calibration.n[0] == 300
    config = calibration.to_config()
    assert config["factors"]["ring"] == 1
    assert config["objective"] == "auto"


def test_what_no_factor_can_cover_stays_finite():
    alpha, _ = simulate(100)
    votes = np.zeros((100, 6))
    votes[:, 0] = 40  # everybody agrees, against what is expected
    for objective in ("likelihood", "coverage"):
        factors = fit_calibration(alpha, votes, SCHEMA, objective=objective).factors
        assert np.isfinite(factors).all()
        assert (factors > 0).all()


def test_bad_requests_are_refused():
    alpha, votes = simulate(60)
    with pytest.raises(ConfigError, match="objective must be one of"):
        fit_calibration(alpha, votes, SCHEMA, objective="loss")
    with pytest.raises(ConfigError, match="level must be in"):
        fit_calibration(alpha, votes, SCHEMA, level=90)
    with pytest.raises(LabelError, match="votes must be"):
        fit_calibration(alpha, votes[:30], SCHEMA)


@pytest.mark.parametrize("objective", ["auto", "likelihood", "coverage"])
def test_a_tree_that_needs_no_calibration_mostly_keeps_none(objective):
    fresh, truth = simulate(600, seed=99)
    slices = SCHEMA.question_slices
    kept, change = [], []
    for seed in range(8):
        found = fit_calibration(*simulate(30, seed=seed), SCHEMA, objective=objective, min_galaxies=5)
        kept.append(found.by_question[0] == 1)
        losses = [
            mixture_nll(f[None], np.nan_to_num(truth), slices)[:, 0] for f in (fresh, found.apply(fresh))
        ]
        change.append((losses[1] - losses[0]).mean())
    assert np.mean(kept) >= 0.6
    assert np.mean(change) < 0.01


def test_what_the_calibration_of_a_tree_brings_is_measured_on_galaxies_held_out():
    alpha, votes = simulate(200)
    wrong = 4 * alpha
    ids = [f"J{k}" for k in range(200)]
    found = fit_calibration(wrong, votes, SCHEMA, objective="likelihood", ids=ids)
    assert found.held_out.shape == (200, 3)
    assert len(np.unique(found.held_out[:, 0])) == 5
    after = found.apply_held_out(wrong)
    np.testing.assert_array_equal(after[:, 1], wrong[:, 1] * found.held_out[:, 0])
    losses = [
        mixture_nll(p[None], np.nan_to_num(votes), SCHEMA.question_slices)[:, 0] for p in (wrong, after)
    ]
    assert found.gains[0] == pytest.approx((losses[0] - losses[1]).mean())
    assert found.gains[0] > 0
    assert found.to_config()["gains"].keys() == {"shape", "ring", "only"}


def test_a_hundred_thousand_votes_are_not_counted_up_one_by_one(monkeypatch):
    def at_most(alpha, others, volunteers):
        assert volunteers.max() <= 1000
        return masses(alpha, others, volunteers)

    masses = posteriors._masses
    monkeypatch.setattr(posteriors, "_masses", at_most)
    alpha, votes = simulate(60, volunteers=100_000)
    table = coverage.coverage_table(alpha, votes, SCHEMA)
    assert of(table, "shape", "votes") == pytest.approx(0.9, abs=0.06)
    found = fit_calibration(3 * alpha, votes, SCHEMA, objective="coverage")
    assert found.by_question[0] < 0.7


def test_one_galaxy_and_no_galaxy_keep_the_factors():
    for galaxies in (0, 1):
        alpha, votes = simulate(galaxies)
        found = fit_calibration(alpha, votes.reshape(galaxies, 6), SCHEMA, min_galaxies=0)
        assert found.by_question == (1.0, 1.0, 1.0)
        assert found.held_out.shape == (galaxies, 3)
