"""The Galaxy Challenge's 37 numbers, by hand for one galaxy and by their sums for many."""

import numpy as np
import pytest

from zoobot.certainty.tree_scores import (
    CHALLENGE_COLUMNS,
    challenge_fractions,
    challenge_from_concentrations,
    challenge_from_votes,
    challenge_rmse,
    has_challenge_questions,
)
from zoobot.shared import schemas
from zoobot.shared.errors import LabelError, SchemaError

SCHEMA = schemas.get("gz2_full")
PLACE = {name: place for place, name in enumerate(CHALLENGE_COLUMNS)}
#: Sum of a question's numbers: that of the answer that leads to it, or everyone.
LEADS = {2: "1.2", 3: "2.2", 4: "2.2", 5: "2.2", 7: "1.1", 8: "6.1", 9: "2.1", 10: "4.1", 11: "4.1"}


def concentrations(*shape, schema=SCHEMA):
    return 1 + 100 * np.random.default_rng(1).beta(0.5, 2, (*shape, len(schema.label_cols)))


def check_sums(numbers):
    total = {
        q: numbers[:, [c.startswith(f"Class{q}.") for c in CHALLENGE_COLUMNS]].sum(1) for q in range(1, 12)
    }
    np.testing.assert_allclose(total[1], 1)
    np.testing.assert_allclose(total[6], 1)  # something odd is asked of everyone, artifacts included
    for question, answer in LEADS.items():
        np.testing.assert_allclose(total[question], numbers[:, PLACE[f"Class{answer}"]], atol=1e-12)


def test_there_are_37_columns_in_published_order():
    assert len(CHALLENGE_COLUMNS) == 37
    assert CHALLENGE_COLUMNS[:4] == ("Class1.1", "Class1.2", "Class1.3", "Class2.1")
    assert CHALLENGE_COLUMNS[-1] == "Class11.6"


def test_every_question_adds_up_to_the_answer_that_leads_to_it():
    check_sums(challenge_from_concentrations(concentrations(50), SCHEMA))
    check_sums(challenge_from_concentrations(concentrations(3, 50), SCHEMA))


def test_one_galaxy_by_hand():
    given = {
        "smooth-or-featured-gz2": [0.2, 0.7, 0.1],
        "disk-edge-on-gz2": [0.0, 1.0],
        "has-spiral-arms-gz2": [0.5, 0.5],
        "bar-gz2": [0.25, 0.75],
        "bulge-size-gz2": [0.1, 0.2, 0.3, 0.4],  # dominant first in our tree, "no bulge" first there
        "something-odd-gz2": [0.4, 0.6],
        "how-rounded-gz2": [1.0, 0.0, 0.0],
        "spiral-winding-gz2": [0.0, 1.0, 0.0],
        "spiral-arm-count-gz2": [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        "odd-feature-gz2": [1.0, 0, 0, 0, 0, 0, 0],
        "bulge-shape-gz2": [np.nan] * 3,
    }
    fractions = np.concatenate([given[q.text] for q in SCHEMA.questions])
    numbers = challenge_fractions(fractions[None], SCHEMA)[0]
    expected = {
        "1.2": 0.7,
        "2.2": 0.7,
        "3.1": 0.175,
        "4.1": 0.35,
        "5.1": 0.28,
        "5.4": 0.07,
        "6.1": 0.4,
        "7.1": 0.2,
    }
    expected |= {"8.1": 0.4, "9.1": 0.0, "10.2": 0.35, "11.2": 0.35}
    for name, value in expected.items():
        assert numbers[PLACE[f"Class{name}"]] == pytest.approx(value), name


def test_a_larger_schema_is_read_by_name():
    pairs = {"other": ["a", "b"]} | {q.text: [a.text for a in q.answers] for q in reversed(SCHEMA.questions)}
    larger = schemas.Schema.from_pairs(pairs, {q.text: q.parents for q in SCHEMA.questions}, name="joined")
    alpha = concentrations(5, schema=larger)
    ours = alpha[:, [larger.label_cols.index(name) for name in SCHEMA.label_cols]]
    np.testing.assert_allclose(
        challenge_from_concentrations(alpha, larger), challenge_from_concentrations(ours, SCHEMA)
    )
    assert has_challenge_questions(larger)


def test_a_mixture_is_the_mean_over_its_samples():
    alpha = concentrations(2, 4)
    each = [challenge_from_concentrations(sample, SCHEMA) for sample in alpha]
    np.testing.assert_allclose(challenge_from_concentrations(alpha, SCHEMA), np.mean(each, axis=0))


def test_votes_give_their_numbers_and_a_galaxy_without_votes_none():
    votes = np.round(concentrations(3))
    votes[1] = np.nan
    votes[2, SCHEMA.get_question("bar-gz2").slice] = 0
    numbers = challenge_from_votes(votes, SCHEMA)
    assert np.isnan(numbers[1]).all()
    assert np.isfinite(numbers[[0, 2]]).all()
    np.testing.assert_allclose(numbers[0], challenge_from_concentrations(votes[:1], SCHEMA)[0])
    assert challenge_rmse(numbers + 0.1, numbers) == pytest.approx(0.1)
    assert np.isnan(challenge_rmse(numbers[1:2], numbers[1:2]))


def test_other_trees_and_shapes_are_refused():
    small = schemas.get("gz2")
    assert not has_challenge_questions(small)
    with pytest.raises(SchemaError, match=r"lacks \['odd-feature-gz2_ring'"):
        challenge_fractions(np.ones((1, len(small.label_cols))), small)
    with pytest.raises(LabelError, match="got the shapes"):
        challenge_rmse(np.ones((2, 37)), np.ones((2, 36)))
    with pytest.raises(LabelError, match="fractions must be"):
        challenge_fractions(np.ones((2, 36)), SCHEMA)
