"""Catalogs of several campaigns joined: votes where a galaxy has them, missing elsewhere."""

import numpy as np
import pandas as pd
import pytest

from zoobot.shared import schemas
from zoobot.shared.catalog import join_catalogs
from zoobot.shared.errors import CatalogError
from zoobot.shared.schemas import Schema

RINGS = Schema.from_pairs({"ring": ["yes", "no"]}, name="rings")
BARS = Schema.from_pairs(
    {"bar": ["yes", "no"], "length": ["short", "long"]}, {"length": "bar_yes"}, name="bars"
)
BOTH = schemas.join([RINGS, BARS])


def write(folder, name, ids, **columns):
    folder = folder / name
    folder.mkdir()
    for galaxy in ids:
        (folder / f"{galaxy}.jpg").touch()
    table = pd.DataFrame({"id_str": ids, "file_loc": [f"{i}.jpg" for i in ids], **columns})
    table.to_csv(folder / "catalog.csv", index=False)
    return folder / "catalog.csv"


@pytest.fixture
def rings(tmp_path):
    return write(tmp_path, "rings", ["r1", "r2"], ring_yes=[1, 2], ring_no=[3, 4])


@pytest.fixture
def bars(tmp_path):
    votes = {"bar_yes": [5], "bar_no": [6], "length_short": [7], "length_long": [8]}
    return write(tmp_path, "bars", ["b1"], **votes)


def test_each_galaxy_has_the_votes_of_its_campaign_and_no_others(rings, bars):
    joined = join_catalogs([bars, rings], BOTH)
    nan = np.nan
    assert joined.ids == ["b1", "r1", "r2"]
    assert joined.label_cols == tuple(BOTH.label_cols)
    expected = [[nan, nan, 5, 6, 7, 8], [1, 3, nan, nan, nan, nan], [2, 4, nan, nan, nan, nan]]
    np.testing.assert_array_equal(joined.labels, expected)
    assert joined.paths[0].endswith("bars/b1.jpg")
    assert joined.paths[1].endswith("rings/r1.jpg")


def test_one_table_may_hold_both_campaigns(tmp_path):
    votes = {column: [1.0, np.nan] for column in RINGS.label_cols} | {key: [2, 3] for key in BARS.label_cols}
    joined = join_catalogs([write(tmp_path, "both", ["a", "b"], **votes)], BOTH)
    np.testing.assert_array_equal(joined.labels[0], [1, 1, 2, 2, 2, 2])
    np.testing.assert_array_equal(joined.labels[1], [np.nan, np.nan, 3, 3, 3, 3])


def test_a_campaign_with_columns_missing_is_refused_and_they_are_named(tmp_path):
    path = write(tmp_path, "part", ["a"], bar_yes=[1], bar_no=[1], length_short=[1])
    with pytest.raises(CatalogError, match=r"3 of the 4 columns of bars, and lacks \['length_long'\]"):
        join_catalogs([path], BOTH)


def test_a_table_of_no_campaign_is_refused(tmp_path):
    path = write(tmp_path, "none", ["a"], rinc_yes=[1])
    with pytest.raises(CatalogError, match="did you mean 'rinc_yes'"):
        join_catalogs([path], BOTH)


def test_an_id_in_two_tables_is_refused(tmp_path, rings):
    votes = {key: [1] for key in BARS.label_cols}
    with pytest.raises(CatalogError, match=r"1 ids are in both .*'r2'"):
        join_catalogs([rings, write(tmp_path, "again", ["r2"], **votes)], BOTH)
