"""Votes and fractions at the ends of float64, against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from fuzz_inputs import attempt, extreme_numbers, fuzz, refused
from hypothesis import strategies as st

from zoobot.shared import schemas, votes

SCHEMA = schemas.get("gz_rings")
TREE = schemas.get("gz2")
N_ANSWERS = len(TREE.label_cols)
pairs = st.lists(extreme_numbers, min_size=2, max_size=2)
counts = st.one_of(st.integers(0, 100), st.integers(0, 2**53))


@fuzz(150, row=pairs)
def test_fractions_are_those_of_exact_division(row):
    fractions = attempt(votes.fractions_from_votes, [row], SCHEMA)
    if refused(fractions):
        return
    if np.isnan(row).all() or sum(row) == 0:
        assert np.isnan(fractions).all()
        return
    exact = [Fraction(v) for v in row]
    np.testing.assert_allclose(fractions[0], [float(v / sum(exact)) for v in exact], rtol=1e-15, atol=5e-324)


@fuzz(100, row=pairs)
def test_totals_are_exact_sums_or_refused(row):
    total = attempt(votes.totals, [row], SCHEMA)
    if not refused(total) and not np.isnan(row).any():
        exact = sum(map(Fraction, row))
        assert total[0, 0] == float(exact)


@fuzz(100, shares=st.lists(st.integers(0, 1000), min_size=2, max_size=2), total=counts)
def test_whole_votes_add_up(shares, total):
    if not sum(shares):
        return
    fractions = [[share / sum(shares) for share in shares]]
    whole = votes.votes_from_fractions(fractions, [[total]], SCHEMA, whole=True)[0]
    exact = [Fraction(share, sum(shares)) * total for share in shares]
    assert sum(map(int, whole)) == total
    assert (whole == np.rint(whole)).all()
    slack = 1 + max(1e-4, total * 1e-15)
    assert all(abs(int(got) - want) <= slack for got, want in zip(whole, exact, strict=True))


@fuzz(
    60,
    values=st.lists(extreme_numbers, min_size=N_ANSWERS, max_size=N_ANSWERS),
    total=extreme_numbers,
    convert=st.sampled_from(
        [votes.fractions_from_votes, votes.fractions_from_cumulative, votes.cumulative_from_fractions]
    ),
)
def test_extreme_tables_are_converted_or_refused(values, total, convert):
    for row in (values, [value if 0 <= value <= 1 else 0.0 for value in values]):
        outcome = attempt(convert, [row], TREE)
        assert refused(outcome) or (np.isnan(outcome) | ((outcome >= 0) & (outcome <= 1 + 1e-5))).all()
    outcome = attempt(votes.votes_from_fractions, [[0.25, 0.75]], [[total]], SCHEMA, whole=True)
    assert refused(outcome) or np.isfinite(outcome).all()


@fuzz(60, row=st.lists(st.one_of(st.just(0.0), st.floats(0.001, 1)), min_size=N_ANSWERS, max_size=N_ANSWERS))
def test_cumulative_fractions_lead_back(row):
    fractions = votes.fractions_from_votes([row], TREE)
    fractions = np.where(np.isnan(fractions), 0, fractions)
    back = votes.fractions_from_cumulative(votes.cumulative_from_fractions(fractions, TREE), TREE)
    known = ~np.isnan(back)
    np.testing.assert_allclose(back[known], fractions[known], rtol=1e-9, atol=1e-300)
