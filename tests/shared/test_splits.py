"""Splits: every galaxy in one part, sizes as asked, the same whatever the order of the rows."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.catalog import read_catalog
from zoobot.shared.catalogs.splits import split_catalog
from zoobot.shared.errors import CatalogError, ConfigError, LabelError


def make_catalog(n=200, *, label_cols=(), **columns):
    table = pd.DataFrame({"id_str": [f"g{i:04d}" for i in range(n)], "file_loc": "a.jpg"} | columns)
    return read_catalog(table, label_cols=label_cols, check_files=False)


@pytest.fixture
def catalog():
    """200 galaxies with classes, clusters and places on the sky, more of them in some than in others."""
    rng = np.random.default_rng(0)
    return make_catalog(
        label_cols=["label"],
        label=rng.choice(4, 200, p=[0.6, 0.25, 0.1, 0.05]),
        cluster=rng.geometric(0.1, 200).astype(str),
        ra=rng.uniform(0, 360, 200),
        dec=np.rad2deg(np.arcsin(rng.uniform(-1, 1, 200))),
        split=rng.choice(["train", "val", "test"], 200),
    )


OPTIONS = {
    "random": {},
    "stratified": {},
    "sky": {"cell_size_deg": 10.0},
    "group": {"column": "cluster"},
    "column": {},
}


@pytest.mark.parametrize("method", OPTIONS)
def test_every_galaxy_is_in_one_part_and_keeps_its_place(catalog, method):
    parts = split_catalog(catalog, method=method, test_fraction=0.15, **OPTIONS[method])
    assert list(parts) == ["train", "val", "test"]
    assert sorted(galaxy for part in parts.values() for galaxy in part.ids) == catalog.ids
    for part in parts.values():
        assert part.ids == sorted(part.ids)
        assert part.table["id_str"].tolist() == part.ids


@pytest.mark.parametrize("method", OPTIONS)
def test_splits_do_not_depend_on_the_order_of_rows(catalog, method):
    shuffled = catalog.select(np.random.default_rng(1).permutation(len(catalog)))
    one = split_catalog(catalog, method=method, test_fraction=0.15, **OPTIONS[method])
    other = split_catalog(shuffled, method=method, test_fraction=0.15, **OPTIONS[method])
    assert {name: set(part.ids) for name, part in one.items()} == {n: set(p.ids) for n, p in other.items()}


@pytest.mark.parametrize("method", ["random", "stratified", "sky", "group"])
def test_the_seed_decides(catalog, method):
    def val_ids(seed):
        return split_catalog(catalog, method=method, seed=seed, **OPTIONS[method])["val"].ids

    assert val_ids(1) == val_ids(1)
    assert val_ids(1) != val_ids(2)


@pytest.mark.parametrize("method", ["random", "sky", "group"])
@pytest.mark.parametrize("fractions", [(0.2, 0.0), (0.25, 0.125), (0.1, 0.5)])
def test_sizes_are_those_asked_for(catalog, method, fractions):
    val_fraction, test_fraction = fractions
    parts = split_catalog(
        catalog, method=method, val_fraction=val_fraction, test_fraction=test_fraction, **OPTIONS[method]
    )
    slack = {"random": 0, "sky": 2, "group": 8}[method]
    assert abs(len(parts["val"]) - 200 * val_fraction) <= slack
    assert abs(len(parts["test"]) - 200 * test_fraction) <= slack if test_fraction else "test" not in parts


def test_chance_is_even_and_splits_of_two_seeds_are_independent():
    catalog = make_catalog(20_000)
    one, two = (set(split_catalog(catalog, val_fraction=0.3, seed=seed)["val"].ids) for seed in (1, 2))
    assert abs(len(one & two) - 1800) < 4 * np.sqrt(20_000 * 0.09 * 0.91)
    first_half = sum(int(galaxy[1:]) < 10_000 for galaxy in one)
    assert abs(first_half - 3000) < 4 * np.sqrt(10_000 * 0.3 * 0.7)


def test_adding_galaxies_moves_few_others():
    small, large = make_catalog(1000), make_catalog(1100)
    before, after = (set(split_catalog(c)["val"].ids) for c in (small, large))
    assert len(before - after) < 30


@pytest.mark.parametrize(("n", "test_fraction"), [(2, 0.0), (3, 0.01)])
def test_tiny_catalogs_have_a_galaxy_in_each_part(n, test_fraction):
    parts = split_catalog(make_catalog(n), val_fraction=0.01, test_fraction=test_fraction)
    assert all(len(part) == 1 for part in parts.values())
    parts = split_catalog(make_catalog(n), val_fraction=0.98 - test_fraction, test_fraction=test_fraction)
    assert len(parts["train"]) == 1


def test_catalogs_too_small_to_split_are_refused():
    with pytest.raises(CatalogError, match=r"has 1 galaxies, too few for 2 parts"):
        split_catalog(make_catalog(1))
    with pytest.raises(CatalogError, match=r"has 2 galaxies, too few for 3 parts"):
        split_catalog(make_catalog(2), test_fraction=0.2)
    with pytest.raises(CatalogError, match=r"has 1 galaxies, too few for 2 parts"):
        split_catalog(make_catalog(1, label=[0]), method="stratified", column="label")


@pytest.mark.parametrize(
    "options",
    [
        {"val_fraction": 0.0},
        {"val_fraction": 1.0},
        {"val_fraction": -0.1},
        {"val_fraction": float("nan")},
        {"test_fraction": -0.1},
        {"val_fraction": 0.5, "test_fraction": 0.5},
        {"val_fraction": 20},
    ],
)
def test_impossible_fractions_are_refused(catalog, options):
    with pytest.raises(ConfigError, match=r"leave galaxies to train on, got val_fraction="):
        split_catalog(catalog, **options)


def test_unknown_methods_are_refused(catalog):
    with pytest.raises(ConfigError, match=r"one of \['random', 'stratified', .*got 'by-name'"):
        split_catalog(catalog, method="by-name")


@pytest.mark.parametrize("test_fraction", [0.0, 0.2])
def test_stratified_parts_have_each_class_in_its_share(catalog, test_fraction):
    parts = split_catalog(catalog, method="stratified", val_fraction=0.2, test_fraction=test_fraction)
    whole = np.bincount(catalog.labels[:, 0].astype(int))
    for name, fraction in (("val", 0.2), ("test", test_fraction)):
        if fraction:
            counts = np.bincount(parts[name].labels[:, 0].astype(int), minlength=4)
            assert np.abs(counts - whole * fraction).max() <= 1
            assert counts.min() >= 1


def test_rare_classes_are_trained_on_first_then_validated_on_and_single_ones_are_told():
    catalog = make_catalog(106, label=[0] * 100 + [1] * 3 + [2] * 2 + [3])
    with pytest.warns(UserWarning, match=r"never validated on: \['3'\]; merge or drop them"):
        parts = split_catalog(
            catalog, method="stratified", column="label", test_fraction=0.1, val_fraction=0.1
        )
    counts = {name: np.bincount(part.table["label"], minlength=4).tolist() for name, part in parts.items()}
    assert counts == {"train": [80, 1, 1, 1], "val": [10, 1, 1, 0], "test": [10, 1, 0, 0]}


def test_stratified_takes_class_names_and_encoded_labels():
    catalog = make_catalog(40, kind=["ring", "spiral"] * 20)
    named = split_catalog(catalog, method="stratified", column="kind")
    encoded = split_catalog(catalog.with_labels(np.arange(40) % 2, ["kind"]), method="stratified")
    assert named["val"].table["kind"].value_counts().to_dict() == {"ring": 4, "spiral": 4}
    assert encoded["val"].ids == named["val"].ids


def test_stratified_refuses_what_are_no_classes(catalog):
    with pytest.raises(ConfigError, match=r"needs column=, the classes; the label columns are \[\]"):
        split_catalog(make_catalog(), method="stratified")
    with pytest.raises(LabelError, match=r"column 'ra' holds [\d.]+ for galaxy 'g0000'"):
        split_catalog(catalog, method="stratified", column="ra")
    with pytest.raises(LabelError, match=r"1 have none in column 'x' .*\['g0001'\]"):
        split_catalog(make_catalog(4, label_cols=["x"], x=[0, None, 1, 1]), method="stratified")
    with pytest.raises(CatalogError, match=r"no class .* \['val'\] part would be\s+empty"):
        split_catalog(make_catalog(4, x=[0, 1, 2, 3]), method="stratified", column="x")


@pytest.mark.parametrize(("method", "key"), [("group", "cluster"), ("sky", "cell")])
def test_groups_and_cells_stay_whole(catalog, method, key):
    if method == "sky":  # pairs of galaxies an arcsecond apart, in the middle of one-degree cells
        dec = np.repeat(np.arange(-50, 50) + 0.5, 2) + np.tile([0, 1 / 3600], 100)
        catalog = make_catalog(200, ra=np.tile([0.3, 0.3 + 1 / 3600], 100), dec=dec, cell=np.arange(200) // 2)
    parts = split_catalog(catalog, method=method, test_fraction=0.2, column="cluster")
    found = [set(part.table[key]) for part in parts.values()]
    assert sum(map(len, found)) == len(set().union(*found))


@pytest.mark.parametrize("sizes", [(90, 10), (10, 90), (50, 50), (60, 20, 20), (97, 1, 1, 1)])
def test_a_dominant_group_is_trained_on(sizes):
    group = np.repeat([f"cluster {i}" for i in range(len(sizes))], sizes)
    for seed in range(5):
        parts = split_catalog(make_catalog(100, group=group), method="group", column="group", seed=seed)
        assert len(parts["train"]) == pytest.approx(max(sizes), abs=20)
        assert 1 <= len(parts["val"]) <= 50


def test_too_few_groups_are_refused(catalog):
    one = make_catalog(10, cluster="Coma", ra=1.0, dec=2.0)
    with pytest.raises(CatalogError, match=r"has 1 cells or groups .*too few for 2 parts"):
        split_catalog(one, method="group", column="cluster")
    with pytest.raises(CatalogError, match=r"too few for 2 parts"):
        split_catalog(one, method="sky")
    with pytest.raises(ConfigError, match=r"by group needs column="):
        split_catalog(catalog, method="group")
    with pytest.raises(CatalogError, match=r"no column 'clus' to split by; its columns are .*'cluster'"):
        split_catalog(catalog, method="group", column="clus")
    with pytest.raises(CatalogError, match=r"5 have none in column 'cluster'"):
        split_catalog(make_catalog(10, cluster=["a", None] * 5), method="group", column="cluster")


def test_sky_cells_are_of_about_the_same_area_and_close_around_the_sphere():
    from zoobot.shared.catalogs.splits import _sky_cells

    rng = np.random.default_rng(3)
    n = 100_000
    catalog = make_catalog(n, ra=rng.uniform(0, 360, n), dec=np.rad2deg(np.arcsin(rng.uniform(-1, 1, n))))
    counts = pd.Series(_sky_cells(catalog, "ra", "dec", 10.0)).value_counts()
    expected = n * 100 * (np.pi / 180) ** 2 / (4 * np.pi)
    assert counts.min() > 0.6 * expected
    assert counts.max() < 1.5 * expected
    edges = make_catalog(5, ra=[0, 360, -0.0, 359.999, 720 - 360], dec=[-90, -90, -90, 90, 90])
    assert len(set(_sky_cells(edges, "ra", "dec", 10.0)[:3])) == 1


@pytest.mark.parametrize(
    ("ra", "dec", "words"),
    [
        (400.0, 0.0, r"'ra' .* from -360 to 360, got 400\.0 for galaxy 'g0000' \(10 such"),
        (0.0, -91.0, r"'dec' .* from -90 to 90, got -91\.0"),
        (np.nan, 0.0, r"'ra' .*got nan"),
        ("12:30:00", 0.0, r"decimal degrees .*got '12:30:00'"),
    ],
)
def test_places_off_the_sky_are_refused(ra, dec, words):
    with pytest.raises(CatalogError, match=words):
        split_catalog(make_catalog(10, ra=ra, dec=dec), method="sky")


def test_sky_options_are_checked(catalog):
    renamed = make_catalog(50, RA=np.arange(50.0), DEC=0.0)
    assert split_catalog(renamed, method="sky", ra_col="RA", dec_col="DEC")
    assert split_catalog(renamed, method="sky")  # letter case apart
    with pytest.raises(CatalogError, match=r"no column 'right' to split by"):
        split_catalog(renamed, method="sky", ra_col="right")
    for size in (0, -1, 91, float("nan")):
        with pytest.raises(ConfigError, match=r"cell_size_deg must lie between 0 and 90"):
            split_catalog(catalog, method="sky", cell_size_deg=size)


def test_a_split_column_is_obeyed_in_any_spelling():
    words = ["train", "Training", "val", "valid", " Validation ", "TEST"]
    parts = split_catalog(make_catalog(6, split=words), method="column")
    assert {name: part.ids for name, part in parts.items()} == {
        "train": ["g0000", "g0001"],
        "val": ["g0002", "g0003", "g0004"],
        "test": ["g0005"],
    }
    other = split_catalog(make_catalog(2, fold=["val", "train"]), method="column", column="fold")
    assert other["val"].ids == ["g0000"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "val", "holdout"], r"must name parts: train, val .*got\s+\['holdout'\]"),
        (["train", "val", None], r"1 have none in column 'split'"),
        (["train", "test", "test"], r"names no galaxy \['val'\]; it holds \['test', 'train'\]"),
        (["val", "val", "val"], r"names no galaxy \['train'\]"),
        ([0, 1, 2], r"got\s+\['0', '1', '2'\]"),
    ],
)
def test_bad_split_columns_are_refused(words, message):
    with pytest.raises(CatalogError, match=message):
        split_catalog(make_catalog(3, split=words), method="column")


def test_no_split_warns_without_need(catalog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method, options in OPTIONS.items():
            split_catalog(catalog, method=method, **options)


# -- the catalog's own column ---------------------------------------------------------------------------


def sizes(catalog, **options):
    return {part: len(galaxies) for part, galaxies in split_catalog(catalog, **options).items()}


@pytest.mark.parametrize("name", ["split", "Split", "SPLIT"])
def test_a_column_called_split_is_taken_and_said(name, caplog):
    words = ["train"] * 6 + ["Validation "] * 3 + ["TEST"]
    catalog = make_catalog(10, **{name: words})
    with caplog.at_level("INFO"):
        assert sizes(catalog) == {"train": 6, "val": 3, "test": 1}
    assert f"The split is the catalog's own, of column {name!r}: 6 train, 3 val, 1 test" in caplog.text
    assert sizes(catalog, method="random", val_fraction=0.5) == {"train": 5, "val": 5}


def test_without_such_a_column_the_split_is_random_as_ever(caplog):
    catalog = make_catalog(10)
    assert split_catalog(catalog)["val"].ids == split_catalog(catalog, method="random")["val"].ids
    assert not caplog.messages


def test_validation_galaxies_are_drawn_where_none_are_named(caplog):
    with caplog.at_level("INFO"):
        catalog = make_catalog(20, split=["train"] * 10 + ["test"] * 10)
        parts = split_catalog(catalog, val_fraction=0.3)
    assert {part: len(galaxies) for part, galaxies in parts.items()} == {"train": 7, "val": 3, "test": 10}
    assert set(parts["test"].table["split"]) == {"test"}
    assert "were drawn from the training galaxies" in caplog.text


@pytest.mark.parametrize(
    ("words", "held"),
    [
        (["a", "b"] * 5, r"\['a', 'b'\]"),
        (["train", None] * 5, r"\['\(nothing\)', 'train'\]"),
        ([0, 1] * 5, r"\['0', '1'\]"),
        (["train"] * 10, r"\['train'\]"),
        (["test"] * 10, r"\['test'\]"),
    ],
)
def test_other_values_are_said_and_the_split_is_random(words, held, caplog):
    assert sizes(make_catalog(10, split=words), val_fraction=0.2) == {"train": 8, "val": 2}
    (message,) = caplog.messages
    assert re.search(f"Column 'split' of the DataFrame holds {held}".replace("holds '", "holds .*'"), message)
    assert "Split at random instead" in message


@pytest.mark.parametrize("odd", [None, "", "hold-out", 3, float("nan")])
def test_a_split_of_some_galaxies_only_is_refused_not_drawn_anew(odd):
    catalog = make_catalog(10, split=["Train", " VAL"] * 4 + ["test", odd])
    with pytest.raises(CatalogError, match=r"1 have \[.*the first: \['g0009'\].*split='random'"):
        split_catalog(catalog)
    assert sizes(catalog, method="random", val_fraction=0.2) == {"train": 8, "val": 2}


def test_a_test_fraction_beside_the_catalog_s_own_split_is_asked_about():
    catalog = make_catalog(10, split=["train", "val"] * 5)
    with pytest.raises(ConfigError, match=r"test_fraction=0\.1 asks for another part.*split='random'"):
        split_catalog(catalog, test_fraction=0.1)


def test_labels_called_split_are_labels():
    catalog = make_catalog(10, split=[0, 1] * 5, label_cols=["split"])
    assert sizes(catalog, val_fraction=0.2) == {"train": 8, "val": 2}
