"""Galaxies like others: against brute force and scikit-learn, with all that a table can have wrong."""

import logging

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from zoobot.shared.errors import CatalogError, ConfigError, NonFiniteError, PredictionsError
from zoobot.shared.features import tables
from zoobot.shared.features.tables import read_features
from zoobot.shared.files import whole
from zoobot.shared.tables.writer import PredictionWriter
from zoobot.similarity import index as exact
from zoobot.similarity import open_index

COUNT, WIDTH = 300, 12


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(COUNT, 5)) @ rng.normal(size=(5, WIDTH)) + 0.1 * rng.normal(size=(COUNT, WIDTH))
    return (values + 3).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    def table(features, ids=None, name="features.parquet"):
        ids = [f"g{i}" for i in range(len(features))] if ids is None else ids
        columns = [f"feature_{i:04d}" for i in range(features.shape[1])]
        with PredictionWriter(tmp_path / name, columns, metadata={"catalog": "somewhere"}) as writer:
            writer.write(ids, features)
        return tmp_path / name

    return table


def neighbours(features, row, k):
    """By scikit-learn, of centred features by the cosine."""
    centred = features.astype(np.float64) - features.mean(axis=0)
    found = NearestNeighbors(n_neighbors=k + 1, metric="cosine", algorithm="brute").fit(centred)
    distances, rows = found.kneighbors(centred[[row]])
    return rows[0, 1:], 1 - distances[0, 1:]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", ["features.parquet", "features.csv"])
def test_neighbours_are_those_of_scikit_learn(write, features, dtype, name):
    index = open_index(write(features, name=name), dtype=dtype)
    assert (len(index), index.width) == (COUNT, WIDTH)
    found = index.like_galaxies(["g7", "g250"], k=9)
    assert list(found) == ["query", "rank", "id_str", "similarity"]
    for row in (7, 250):
        rows, similarities = neighbours(features, row, 9)
        own = found[found["query"] == f"g{row}"]
        assert own["rank"].tolist() == list(range(1, 10))
        np.testing.assert_allclose(own["similarity"], similarities, atol=2e-3 if dtype == "float16" else 1e-5)
        if dtype == "float32":
            assert own["id_str"].tolist() == [f"g{i}" for i in rows]


def test_components_are_compared_where_asked_for(write, features):
    table = write(features)
    found = open_index(table, components=4).like_galaxies(["g7"], k=5)
    rows, similarities = neighbours(PCA(4).fit_transform(features.astype(np.float64)), 7, 5)
    assert found["id_str"].tolist() == [f"g{i}" for i in rows]
    np.testing.assert_allclose(found["similarity"], similarities, atol=1e-5)
    assert {path.name for path in table.parent.glob("features.similar*")} == {"features.similar-pca4"}
    with pytest.raises(ConfigError, match="from 1 to 12"):
        open_index(table, components=99)


@pytest.mark.parametrize("shape", [(1, 5), (3, 5), (70, 5), (1, 1)])
@pytest.mark.parametrize("block", [1, 7, 10**6])
def test_blocks_and_threads_change_nothing(monkeypatch, shape, block):
    queries, k = shape
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(100, 4)).astype(np.float32)
    asked = rng.normal(size=(queries, 4)).astype(np.float32)
    monkeypatch.setattr(exact, "_BLOCK_VALUES", block * max(4, queries))
    rows, values = exact.nearest(vectors, asked, k, threads=3)
    everything = asked @ vectors.T
    np.testing.assert_array_equal(rows, np.argsort(-everything, axis=1)[:, :k])
    np.testing.assert_allclose(values, -np.sort(-everything, axis=1)[:, :k], rtol=1e-5)


def test_features_of_new_galaxies_are_treated_like_the_others(write, features):
    index = open_index(write(features))
    found = index.like_features(features[[7]], k=4, names=["mine"])
    assert found["id_str"][0] == "g7"
    assert found["similarity"][0] == pytest.approx(1, abs=1e-5)
    assert found["query"].unique().tolist() == ["mine"]
    assert found["id_str"].tolist()[1:] == index.like_galaxies(["g7"], k=3)["id_str"].tolist()
    with pytest.raises(ConfigError, match="another model or block"):
        index.like_features(features[:1, :5])
    with pytest.raises(ConfigError, match="finite"):
        index.like_features(np.full((1, WIDTH), np.nan))


def test_several_galaxies_together_are_one_query(write, features):
    index = open_index(write(features))
    found = index.like_galaxies(["g7", "g8", "g9"], k=6, together=True)
    unit = features - features.mean(axis=0, dtype=np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    mean = unit[7:10].mean(axis=0)
    order = [i for i in np.argsort(-unit @ mean) if i not in (7, 8, 9)][:6]
    assert found["id_str"].tolist() == [f"g{i}" for i in order]
    assert found["query"].unique().tolist() == ["g7, g8, g9"]


def test_an_index_is_kept_and_made_anew_for_other_features(write, features, caplog):
    caplog.set_level(logging.INFO, "zoobot")
    table = write(features)
    first = open_index(table).like_galaxies(["g7"], k=3)
    made = (exact.index_folder(table, None) / "vectors.npy").stat().st_mtime_ns
    again = open_index(table)
    pd.testing.assert_frame_equal(again.like_galaxies(["g7"], k=3), first)
    assert again.origin == {"catalog": "somewhere"}
    assert (exact.index_folder(table, None) / "vectors.npy").stat().st_mtime_ns == made
    write(features[::-1].copy())
    assert open_index(table).like_galaxies(["g292"], k=3)["similarity"][0] == first["similarity"][0]
    assert "made anew" in caplog.text


def test_a_killed_build_leaves_no_index_and_is_forgotten(write, features, monkeypatch, left_by_the_dead):
    table = write(features)
    monkeypatch.setattr(whole, "_move_into_place", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        open_index(table)
    assert [path.name for path in table.parent.iterdir()] == ["features.parquet"]
    monkeypatch.undo()
    killed = left_by_the_dead(table.parent / "features.similar", ".draft")
    killed.mkdir()
    open_index(table)
    assert not killed.exists()


def test_damaged_indices_are_told(write, features):
    table = write(features)
    open_index(table)
    path = exact.index_folder(table, None) / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PredictionsError, match="no index of features that can be used"):
        open_index(table)


@pytest.mark.parametrize("rows", [COUNT - 50, COUNT, COUNT + 50])
def test_features_that_change_while_they_are_read_are_told(write, features, rows, monkeypatch):
    others = np.tile(features, (2, 1))[:rows] + 1
    table, fit = write(features), exact.fit_projection

    def fit_then_change(*args, **options):
        found = fit(*args, **options)
        write(others)
        return found

    monkeypatch.setattr(exact, "fit_projection", fit_then_change)
    with pytest.raises(PredictionsError, match="changed while its index was made"):
        open_index(table)
    assert [path.name for path in table.parent.iterdir()] == ["features.parquet"]
    monkeypatch.undo()
    index = open_index(table)
    assert len(index) == rows
    write(features[: COUNT - 1])
    assert len(open_index(table)) == COUNT - 1
    with pytest.raises(PredictionsError, match="open it again"):
        index.like_galaxies(["g7"], k=3)

    count_rows = tables._count_rows

    def count_then_change(path):
        found = count_rows(path)
        write(others)
        return found

    monkeypatch.setattr(tables, "_count_rows", count_then_change)
    with pytest.raises(PredictionsError, match=f"while it was read: {COUNT - 1} galaxies, then {rows}"):
        read_features(table)


def test_unknown_and_repeated_galaxies_are_refused(write, features):
    table = write(features)
    index = open_index(table)
    with pytest.raises(CatalogError, match=r"1 of these .*'gg77'; did you mean 'g77'"):
        index.like_galaxies(["g7", "gg77"])
    with pytest.raises(ConfigError, match="given once"):
        index.like_galaxies(["g7", "g7"])
    with pytest.raises(ConfigError, match="at least 1"):
        index.like_galaxies(["g7"], k=0)


def test_tables_that_can_not_be_compared_are_refused(write, features, tmp_path):
    with pytest.raises(PredictionsError, match="no table of features"):
        open_index(tmp_path / "absent.parquet")
    with pytest.raises(PredictionsError, match=r"more than once; the first: \['g0'\]"):
        open_index(write(features[:3], ids=["g0", "g1", "g0"]))
    with pytest.raises(ConfigError, match="two galaxies"):
        open_index(write(features[:1]))
    bad = pd.DataFrame(features[:5]).add_prefix("feature_")
    bad.insert(0, "id_str", [f"g{i}" for i in range(5)])
    bad.iloc[3, 2] = np.nan
    bad.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(NonFiniteError, match="g3"):
        open_index(tmp_path / "bad.csv")
    bad.assign(feature_1="spiral").to_parquet(tmp_path / "text.parquet")
    with pytest.raises(PredictionsError, match="must be numbers"):
        open_index(tmp_path / "text.parquet")


def test_fewer_galaxies_than_asked_for_are_told(write, features, caplog):
    found = open_index(write(features[:5])).like_galaxies(["g1"], k=20)
    assert sorted(found["id_str"]) == ["g0", "g2", "g3", "g4"]
    assert "only 5 galaxies" in caplog.text


def test_alike_galaxies_have_similarity_one_and_a_mean_one_is_like_nothing(write, features):
    twins = np.concatenate([features[:20], features[:1]])
    index = open_index(write(twins))
    found = index.like_galaxies(["g0"], k=1)
    assert found["id_str"].tolist() == ["g20"]
    assert found["similarity"][0] == pytest.approx(1, abs=1e-6)
    mean = index.like_features(twins.mean(axis=0, dtype=np.float64, keepdims=True), k=2)
    assert np.isfinite(mean["similarity"]).all()


def test_approximate_search_finds_nearly_all(write):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(2)
    features = rng.normal(size=(3000, 4)) @ rng.normal(size=(4, 16)) + 0.2 * rng.normal(size=(3000, 16))
    table = write(features.astype(np.float32))
    asked = [f"g{i}" for i in range(50)]
    true = open_index(table, search="exact").like_galaxies(asked, k=10)
    for _ in range(2):  # made, and read again
        found = open_index(table, search="approximate").like_galaxies(asked, k=10)
        same = true.merge(found, on=["query", "id_str"])
        assert len(same) > 0.95 * len(true)
        np.testing.assert_allclose(same["similarity_x"], same["similarity_y"], atol=1e-5)
    groups = exact.index_folder(table, None) / "groups.faiss"
    groups.write_bytes(groups.read_bytes()[:100])
    with pytest.raises(PredictionsError, match="delete it"):
        open_index(table, search="approximate").like_galaxies(asked)
