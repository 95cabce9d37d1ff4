import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from zoobot.shared import schemas
from zoobot.shared.errors import LabelError, NonFiniteError, SchemaError
from zoobot.shared.likelihood import (
    answer_question_index,
    dirichlet_multinomial_nll,
    dirichlet_multinomial_nll_gradient,
)

SLICES = [slice(0, 3), slice(3, 5), slice(5, 6), slice(6, 11)]
N_ANSWERS = 11


def draw(seed, n_galaxies=6, most_votes=60):
    rng = np.random.default_rng(seed)
    concentrations = rng.uniform(1, 101, size=(n_galaxies, N_ANSWERS))
    return concentrations, rng.integers(0, most_votes, size=(n_galaxies, N_ANSWERS))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), most_votes=st.sampled_from([2, 10, 80, 2000]))
def test_values_equal_scipy(seed, most_votes):
    concentrations, votes = draw(seed, most_votes=most_votes)
    expected = np.stack(
        [
            -stats.dirichlet_multinomial.logpmf(votes[:, s], concentrations[:, s], votes[:, s].sum(axis=1))
            for s in SLICES
        ],
        axis=1,
    )
    nll = dirichlet_multinomial_nll(concentrations, votes, SLICES)
    np.testing.assert_allclose(nll, expected, rtol=1e-12, atol=1e-10)


def test_values_equal_scipy_on_gz_evo():
    schema = schemas.get("gz_evo_v1")
    rng = np.random.default_rng(1)
    concentrations = rng.uniform(1, 101, size=(4, 239))
    votes = rng.integers(0, 40, size=(4, 239))
    nll = dirichlet_multinomial_nll(concentrations, votes, schema.question_slices)
    assert nll.shape == (4, 76)
    for place, part in enumerate(schema.question_slices):
        n_votes = votes[:, part].sum(axis=1)
        expected = -stats.dirichlet_multinomial.logpmf(votes[:, part], concentrations[:, part], n_votes)
        np.testing.assert_allclose(nll[:, place], expected, rtol=1e-12, atol=1e-10)


def test_probabilities_of_all_outcomes_add_up_to_one():
    n_votes = 5
    outcomes = [[i, j, n_votes - i - j] for i in range(n_votes + 1) for j in range(n_votes + 1 - i)]
    concentrations = np.broadcast_to([2.5, 0.4, 70.0], (len(outcomes), 3))
    nll = dirichlet_multinomial_nll(concentrations, outcomes, [slice(0, 3)])
    np.testing.assert_allclose(np.exp(-nll).sum(), 1.0, rtol=1e-12)


@pytest.mark.parametrize("nothing", [0.0, np.nan])
def test_questions_nobody_was_asked_give_exactly_zero(nothing):
    concentrations, votes = draw(2)
    votes = votes.astype(float)
    votes[:, SLICES[0]] = nothing
    votes[3] = nothing
    nll = dirichlet_multinomial_nll(concentrations, votes, SLICES)
    gradient = dirichlet_multinomial_nll_gradient(concentrations, votes, SLICES)
    assert (nll[:, 0] == 0).all()
    assert (nll[3] == 0).all()
    assert (gradient[:, SLICES[0]] == 0).all()
    assert (gradient[3] == 0).all()
    assert (nll[0, [1, 3]] > 0).all()
    assert (gradient[0, SLICES[1]] != 0).all()


def test_missing_votes_do_not_touch_other_questions():
    concentrations, votes = draw(3)
    missing = votes.astype(float)
    missing[:, SLICES[1]] = np.nan
    others = [0, 2, 3]
    np.testing.assert_array_equal(
        dirichlet_multinomial_nll(concentrations, missing, SLICES)[:, others],
        dirichlet_multinomial_nll(concentrations, votes, SLICES)[:, others],
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_equals_finite_differences(weighted):
    concentrations, votes = draw(4, n_galaxies=3)
    votes = votes * 0.37 if weighted else votes
    votes[1, SLICES[0]] = 0

    def loss(flat):
        return dirichlet_multinomial_nll(flat.reshape(concentrations.shape), votes, SLICES).sum()

    expected = optimize.approx_fprime(concentrations.ravel(), loss, 1e-5).reshape(concentrations.shape)
    gradient = dirichlet_multinomial_nll_gradient(concentrations, votes, SLICES)
    np.testing.assert_allclose(gradient, expected, atol=1e-4)
    assert np.abs(expected).max() > 0.01


def test_fractional_votes_are_not_truncated():
    concentrations = [[3.0, 5.0]]
    values = [
        dirichlet_multinomial_nll(concentrations, [[votes, 2]], [slice(0, 2)])[0, 0]
        for votes in (4.0, 4.5, 5.0)
    ]
    assert len(set(values)) == 3
    assert min(values[0], values[2]) < values[1] < max(values[0], values[2])


def test_a_question_with_one_answer_says_nothing():
    nll = dirichlet_multinomial_nll([[7.0]], [[12]], [slice(0, 1)])
    np.testing.assert_allclose(nll, 0, atol=1e-12)
    gradient = dirichlet_multinomial_nll_gradient([[7.0]], [[12]], [slice(0, 1)])
    np.testing.assert_allclose(gradient, 0, atol=1e-12)


def test_one_galaxy_and_no_galaxies_work():
    assert dirichlet_multinomial_nll(np.ones((1, N_ANSWERS)), np.ones((1, N_ANSWERS)), SLICES).shape == (1, 4)
    assert dirichlet_multinomial_nll(np.ones((0, N_ANSWERS)), np.ones((0, N_ANSWERS)), SLICES).shape == (0, 4)


@pytest.mark.parametrize("function", [dirichlet_multinomial_nll, dirichlet_multinomial_nll_gradient])
@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_concentrations_that_are_not_finite_or_positive_name_the_rows(function, value):
    concentrations, votes = draw(5)
    concentrations[2, 4] = concentrations[5, 0] = value
    votes[2] = 0  # not even where nothing was asked
    with pytest.raises(NonFiniteError, match=r"finite and above 0, got .* in 2 rows, such as \[2, 5\]"):
        function(concentrations, votes, SLICES)


def test_bad_votes_and_shapes_are_refused():
    concentrations, votes = draw(6)
    bad = votes.astype(float)
    bad[1, 0] = np.nan
    with pytest.raises(LabelError, match="all given or all NaN, got nan in row 1, column 0"):
        dirichlet_multinomial_nll(concentrations, bad, SLICES)
    bad[1, 0] = -1
    with pytest.raises(LabelError, match="not negative, got -1 in row 1"):
        dirichlet_multinomial_nll(concentrations, bad, SLICES)
    with pytest.raises(LabelError, match=r"shape of the votes, \(6, 11\), got \(5, 11\)"):
        dirichlet_multinomial_nll(concentrations[:5], votes, SLICES)
    with pytest.raises(LabelError, match=r"\(galaxies, 11\), got \(6, 10\)"):
        dirichlet_multinomial_nll(concentrations, votes[:, :10], SLICES)


def test_each_answer_knows_its_question():
    np.testing.assert_array_equal(answer_question_index(SLICES), [0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 3])
    schema = schemas.get("gz_evo_v2")
    index = answer_question_index(schema.question_slices)
    assert [schema.questions[i].text for i in index] == [answer.question for answer in schema.answers]


@pytest.mark.parametrize(
    "slices",
    [
        [],
        [slice(1, 3)],
        [slice(0, 2), slice(3, 5)],
        [slice(0, 3), slice(2, 5)],
        [slice(0, 2), slice(2, 2)],
        [slice(2, 4), slice(0, 2)],
        [slice(0, 4, 2)],
        [slice(None, 2)],
        [slice(0, None)],
    ],
)
def test_slices_that_do_not_tile_the_answers_are_refused(slices):
    with pytest.raises(SchemaError, match="question slices must"):
        answer_question_index(slices)
