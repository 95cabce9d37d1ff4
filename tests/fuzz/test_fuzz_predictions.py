"""Prediction tables: what was written comes back, and what was damaged is refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from fuzz_inputs import attempt, fresh_folder, fuzz, hostile_text, mutated, refused, write
from hypothesis import strategies as st

from zoobot.shared.predictions import read_prediction_chunks, read_prediction_metadata, read_predictions
from zoobot.shared.tables.writer import PredictionWriter

pytest.importorskip("astropy")
pytestmark = pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")

SUFFIXES = [".parquet", ".csv", ".hdf5", ".fits"]
float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)


def write_table(path, columns, ids, values, samples=False):
    with PredictionWriter(path, columns, samples=samples, metadata={"model": "rings"}) as writer:
        writer.write(ids, values, *([3] if samples else []))


@fuzz(
    60,
    suffix=st.sampled_from(SUFFIXES),
    columns=st.lists(hostile_text, min_size=1, max_size=3),
    ids=st.lists(hostile_text, min_size=1, max_size=4),
    draws=st.lists(float32s, min_size=12, max_size=12),
    samples=st.booleans(),
)
def test_predictions_come_back_to_the_last_bit(suffix, columns, ids, draws, samples):
    path = fresh_folder() / f"p{suffix}"
    values = np.array(draws[: len(ids) * len(columns)], np.float32).reshape(len(ids), len(columns))
    if refused(attempt(write_table, path, columns, ids, values, samples)):
        return
    table = read_predictions(path)
    assert list(table.columns) == ["id_str", *(["sample"] if samples else []), *columns]
    assert table["id_str"].tolist() == ids
    np.testing.assert_array_equal(table[columns].to_numpy(np.float32), values)
    chunks = pd.concat(read_prediction_chunks(path, rows=2), ignore_index=True)
    pd.testing.assert_frame_equal(chunks, table)


@cache
def good_tables():
    files = {}
    for suffix in SUFFIXES:
        path = fresh_folder() / f"p{suffix}"
        write_table(path, ["ring", "bar"], ["587739505552785605", "b", "c"], np.ones((3, 2)))
        files[suffix] = path.read_bytes()
    return files


damaged = st.deferred(
    lambda: st.sampled_from(SUFFIXES).flatmap(
        lambda suffix: st.tuples(st.just(suffix), mutated([good_tables()[suffix]]) | st.binary(max_size=80))
    )
)


@fuzz(200, table=damaged)
def test_a_damaged_table_is_read_or_refused(table):
    suffix, content = table
    path = write(f"p{suffix}", content)
    outcome = attempt(read_predictions, path)
    assert refused(outcome) or "id_str" in outcome
    assert isinstance(attempt(read_prediction_metadata, path), (dict, Exception))
    attempt(lambda: list(read_prediction_chunks(path, rows=2)))
