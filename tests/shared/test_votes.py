import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoobot.shared import schemas, votes
from zoobot.shared.errors import LabelError
from zoobot.shared.schemas import Schema

NAN = np.nan
SCHEMA = Schema.from_pairs(
    {"smooth": ["yes", "no", "artifact"], "bar": ["yes", "no"]}, {"bar": "smooth_no"}, name="small"
)
VOTES = np.array([[10, 30, 0, 6, 24], [40, 0, 0, NAN, NAN], [39.5, 0.5, 0, 0, 0]])

any_votes = arrays(np.int64, (3, 5), elements=st.integers(0, 60))


def test_checked_votes_are_the_same_votes():
    checked = votes.check_votes(VOTES, SCHEMA)
    assert checked.dtype == np.float64
    np.testing.assert_array_equal(checked, VOTES)
    assert votes.check_votes(np.zeros((0, 5)), SCHEMA).shape == (0, 5)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([1, -2, 0, 0, 0], r"not negative, got -2 in row 1 \(id 'J1'\), column 'smooth_no'"),
        ([1, np.inf, 0, 0, 0], r"finite and not negative, got inf in row 1"),
        ([1, 2, 0, NAN, 3], r"all given or all NaN, got nan in row 1 \(id 'J1'\), column 'bar_yes'"),
        ([NAN, NAN, 0, 1, 3], r"smooth_yes'.*smooth_no'"),
    ],
)
def test_votes_that_are_not_votes_name_the_galaxy(row, words):
    with pytest.raises(LabelError, match=words):
        votes.check_votes([[1, 2, 0, 1, 1], row], SCHEMA, ids=["J0", "J1"])


def test_messages_stay_short():
    with pytest.raises(LabelError, match=r"row 0, column 'smooth_yes'.*; and 495 more") as caught:
        votes.check_votes(np.full((100, 5), -1), SCHEMA)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (np.zeros((2, 4)), r"\(galaxies, 5\), got \(2, 4\)"),
        (np.zeros(5), r"got \(5,\)"),
        ([["a", "b", "c", "d", "e"]], "votes must be numbers"),
        ([[1, 2], [1]], "votes must be numbers"),
    ],
)
def test_tables_of_the_wrong_form_are_refused(table, words):
    with pytest.raises(LabelError, match=words):
        votes.check_votes(table, SCHEMA)


def test_totals_and_asked_treat_missing_as_not_asked():
    np.testing.assert_array_equal(votes.totals(VOTES, SCHEMA), [[40, 30], [40, 0], [40, 0]])
    np.testing.assert_array_equal(votes.asked(VOTES, SCHEMA), [[True, True], [True, False], [True, False]])


def test_fractions_are_nan_where_nobody_was_asked():
    fractions = votes.fractions_from_votes(VOTES, SCHEMA)
    np.testing.assert_allclose(fractions[0], [0.25, 0.75, 0, 0.2, 0.8])
    np.testing.assert_allclose(fractions[2, :3], [0.9875, 0.0125, 0])  # weighted votes are not truncated
    assert np.isnan(fractions[1:, 3:]).all()


def test_votes_to_fractions_and_back():
    fractions, totals = votes.fractions_from_votes(VOTES, SCHEMA), votes.totals(VOTES, SCHEMA)
    back = votes.votes_from_fractions(fractions, totals, SCHEMA)
    np.testing.assert_allclose(back, np.nan_to_num(VOTES), atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(counts=any_votes)
def test_rounded_fractions_give_back_whole_votes(counts):
    fractions, totals = votes.fractions_from_votes(counts, SCHEMA), votes.totals(counts, SCHEMA)
    published = np.round(np.nan_to_num(fractions), 3)  # as catalogs print them: 0 where not asked
    back = votes.votes_from_fractions(published, totals, SCHEMA, whole=True)
    np.testing.assert_array_equal(back, counts)


@settings(max_examples=50, deadline=None)
@given(counts=any_votes, totals=arrays(np.int64, (3, 2), elements=st.integers(0, 60)))
def test_whole_votes_always_add_up_to_the_totals(counts, totals):
    counts = counts + 1  # every question has fractions
    back = votes.votes_from_fractions(votes.fractions_from_votes(counts, SCHEMA), totals, SCHEMA, whole=True)
    np.testing.assert_array_equal(votes.totals(back, SCHEMA), totals)
    np.testing.assert_array_equal(back, np.round(back))
    assert back.min() >= 0


def test_votes_need_fractions_and_sound_totals():
    fractions = [[0.5, 0.5, 0, NAN, NAN]]
    np.testing.assert_array_equal(votes.votes_from_fractions(fractions, [[10, 0]], SCHEMA), [[5, 5, 0, 0, 0]])
    with pytest.raises(LabelError, match="with votes must have fractions, got 3 in row 0, column 'bar'"):
        votes.votes_from_fractions(fractions, [[10, 3]], SCHEMA)
    with pytest.raises(LabelError, match="totals must be finite and not negative"):
        votes.votes_from_fractions(fractions, [[NAN, 0]], SCHEMA)
    with pytest.raises(LabelError, match=r"totals must have shape .*\(1, 2\), got \(1,\)"):
        votes.votes_from_fractions(fractions, [40], SCHEMA)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([12, 8, 0, 1, 0], r"lie in \[0, 1\] \(are these votes\?\), got 12 in row 0 \(id 'J0'\)"),
        ([-0.1, 1, 0.1, 1, 0], "got -0.1 in row 0"),
        ([np.inf, 0, 0, 1, 0], "got inf in row 0"),
        ([0.5, 0.5, 0, 0.3, 0.3], r"add up to 1 \(are these cumulative.*got 0.6 .*column 'bar'"),
        ([0.5, 0.5, 0, NAN, 1], "fractions must be all given or all NaN"),
    ],
)
def test_fractions_that_are_not_fractions_name_the_galaxy(row, words):
    with pytest.raises(LabelError, match=words):
        votes.check_fractions([row], SCHEMA, ids=["J0"])


def test_fractions_may_be_rounded_and_zero_where_not_asked():
    row = [0.333, 0.333, 0.333, 0, 0]
    np.testing.assert_array_equal(votes.check_fractions([row], SCHEMA), [row])


def test_cumulative_fractions_go_down_the_tree_and_back():
    fractions = votes.fractions_from_votes(VOTES, SCHEMA)
    cumulative = votes.cumulative_from_fractions(fractions, SCHEMA)
    np.testing.assert_allclose(cumulative[0], [0.25, 0.75, 0, 0.15, 0.6])
    np.testing.assert_array_equal(cumulative[1, 3:], [0, 0])  # no path to the question, so 0 and not NaN
    back = votes.fractions_from_cumulative(cumulative, SCHEMA)
    np.testing.assert_allclose(back[0], fractions[0])
    np.testing.assert_array_equal(np.isnan(back[1]), np.isnan(fractions[1]))


@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from(schemas.names()), seed=st.integers(0, 1000))
def test_the_way_through_any_campaign_and_back_loses_nothing(name, seed):
    schema = schemas.get(name)
    counts = np.random.default_rng(seed).integers(1, 40, size=(4, len(schema.answers)))
    fractions = votes.fractions_from_votes(counts, schema)
    cumulative = votes.cumulative_from_fractions(fractions, schema)
    assert cumulative.max() <= 1 + 1e-12
    np.testing.assert_allclose(votes.fractions_from_cumulative(cumulative, schema), fractions, rtol=1e-10)


def test_cumulative_fractions_are_checked():
    with pytest.raises(LabelError, match=r"cumulative fractions must lie in \[0, 1\], got 3"):
        votes.fractions_from_cumulative([[3, 0, 0, 0, 0]], SCHEMA)
    with pytest.raises(LabelError, match="all given or all NaN"):
        votes.fractions_from_cumulative([[NAN, 0, 0, 0, 0]], SCHEMA)


def test_a_question_with_one_answer_works():
    schema = Schema.from_pairs({"seen": ["yes"], "ring": ["yes", "no"]})
    np.testing.assert_array_equal(votes.fractions_from_votes([[4, 1, 3]], schema), [[1, 0.25, 0.75]])


def test_votes_that_float64_cannot_add_are_refused():
    schema = schemas.get("gz_rings")
    with pytest.raises(LabelError, match=r"votes must be at most 9007199254740992, got 1e\+308 in row 0"):
        votes.fractions_from_votes([[1e308, 1e308]], schema)  # their sum is infinite: both would get 0
    with pytest.raises(LabelError, match="totals must be at most 9007199254740992"):
        votes.votes_from_fractions([[0.5, 0.5]], [[1e300]], schema)
