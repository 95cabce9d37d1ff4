"""`zoobot similar` and `zoobot reduce` as a user types them."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from zoobot import cli
from zoobot.shared.features import projections as feature_maps
from zoobot.shared.features.tables import read_features
from zoobot.shared.tables.writer import PredictionWriter


def run(*words):
    return cli.main([str(word) for word in words])


@pytest.fixture(scope="module")
def survey(tiny_survey):
    return tiny_survey


@pytest.fixture(scope="module")
def features(survey, tmp_path_factory):
    """Features of the survey by the bundled model, in parts."""
    folder = tmp_path_factory.mktemp("features") / "parts"
    words = ["represent", "zoobot-mini", "--catalog", survey, "--save-loc", folder, "--part-rows", 10]
    assert run(*words, "--no-progress") == 0
    return folder


@pytest.fixture(scope="module")
def catalog(survey):
    return pd.read_csv(survey, dtype={"id_str": str})


def test_lists_for_galaxies_and_images(features, survey, catalog, tmp_path, capsys):
    galaxy = catalog["id_str"][3]
    image = survey.parent / catalog["file_loc"][3]
    words = ["similar", features, "--like", galaxy, image, "--save-loc", tmp_path / "found.csv"]
    assert run(*words, "-k", 5) == 0
    told = capsys.readouterr().out
    assert "of 24 galaxies:" in told
    found = pd.read_csv(tmp_path / "found.csv", dtype={"id_str": str})
    assert list(found) == ["query", "rank", "id_str", "similarity", "file_loc"]
    by_id, by_image = (found[found["query"] == str(query)] for query in (galaxy, image))
    assert len(by_id) == len(by_image) == 5
    assert galaxy not in by_id["id_str"].tolist()
    assert by_image["id_str"].iloc[0] == galaxy
    assert by_image["similarity"].iloc[0] == pytest.approx(1, abs=1e-4)
    assert by_image["id_str"].tolist()[1:] == by_id["id_str"].tolist()[:4]
    paths = dict(zip(catalog["id_str"], catalog["file_loc"], strict=True))
    assert all(row.file_loc.endswith(paths[row.id_str]) for row in found.itertuples())
    assert (tmp_path / "found.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "found.run.json").read_text())["status"] == "finished"
    assert run(*words) == 2
    assert "exists: choose another" in capsys.readouterr().err


def test_an_image_is_called_by_its_name_without_the_ending(features, survey, catalog, tmp_path):
    images = [survey.parent / place for place in catalog["file_loc"][:2]]
    dotted = tmp_path / f"J000411.19+020924.0{images[0].suffix}"
    dotted.write_bytes(images[0].read_bytes())
    words = ["--like", dotted, images[1], "-k", 2, "--save-loc", tmp_path / "found.csv"]
    assert run("similar", features, *words, "--figures", "pdf", "svg") == 0
    found = pd.read_csv(tmp_path / "found.csv", dtype={"id_str": str, "query": str})
    assert found["query"].unique().tolist() == ["J000411.19+020924.0", images[1].stem]
    assert found["id_str"].tolist()[::2] == catalog["id_str"].tolist()[:2]
    assert (tmp_path / "found.pdf").read_bytes().startswith(b"%PDF")
    assert b"<svg" in (tmp_path / "found.svg").read_bytes()
    assert not (tmp_path / "found.png").exists()


def test_galaxies_together_and_by_components(features, catalog, tmp_path, capsys):
    ids = catalog["id_str"][:3].tolist()
    words = ["similar", features, "--like", *ids, "--together", "--pca", 5, "-k", 4]
    assert run(*words, "--save-loc", tmp_path / "f.parquet", "--no-picture") == 0
    found = pd.read_parquet(tmp_path / "f.parquet")
    assert found["query"].unique().tolist() == [", ".join(ids)]
    assert not set(found["id_str"]) & set(ids)
    assert not (tmp_path / "f.png").exists()
    capsys.readouterr()


def test_without_a_catalog_there_is_a_list_and_no_picture(tmp_path, capsys, caplog):
    rng = np.random.default_rng(0)
    with PredictionWriter(tmp_path / "mine.csv", ["a", "b", "c"]) as writer:
        writer.write([f"g{i}" for i in range(9)], rng.normal(size=(9, 3)))
    words = ["similar", tmp_path / "mine.csv", "--like", "g1", "--save-loc", tmp_path / "found.csv"]
    assert run(*words) == 0
    assert len(pd.read_csv(tmp_path / "found.csv")) == 8
    assert not (tmp_path / "found.png").exists()
    assert "give --catalog" in caplog.text
    image = tmp_path / "image.png"
    image.write_bytes(b"")
    assert run("similar", tmp_path / "mine.csv", "--like", image) == 2
    assert "give --model" in capsys.readouterr().err


def test_what_can_not_be_compared_is_told(features, survey, catalog, tmp_path, capsys):
    image, galaxy = survey.parent / catalog["file_loc"][3], catalog["id_str"][3]
    broken = tmp_path / "broken.png"
    broken.write_bytes(image.read_bytes()[:200])
    cases = [
        ([galaxy, galaxy], "given once"),
        (["nobody"], "not among the 24 with features"),
        ([broken], "broken.png"),
        ([image, "--model", "test_resnet"], "of another model than test_resnet"),
        ([image, galaxy, "--together"], "--together is for galaxies with features"),
        ([galaxy, "-k", "0"], "k must be at least 1"),
        ([galaxy, "--pca", "1000"], "components must be a number from 1 to 23"),
        ([galaxy, "--save-loc", tmp_path / "list.txt"], "must end in .csv or .parquet"),
    ]
    for words, told in cases:
        assert run("similar", features, "--like", *words) == 2, words
        assert told in capsys.readouterr().err
    assert run("similar", tmp_path, "--like", galaxy) == 2


def test_features_are_reduced_and_new_ones_the_same_way(features, tmp_path, capsys):
    table = tmp_path / "pca.parquet"
    assert run("reduce", features, "--pca", 4, "--save-loc", table) == 0
    assert "4 numbers for each of 24 galaxies" in capsys.readouterr().out
    reduced, whole = read_features(table), read_features(features)
    assert reduced.ids == whole.ids
    scaled = StandardScaler().fit_transform(whole.features.astype(np.float64)) * np.sqrt(23 / 24)
    oracle = PCA(4, svd_solver="full").fit_transform(scaled)
    np.testing.assert_allclose(
        np.abs(reduced.features), np.abs(oracle), atol=1e-3 * np.abs(oracle).max(), rtol=0
    )
    assert reduced.origin["projection"]["components"] == 4
    again = tmp_path / "again.csv"
    fitted = tmp_path / "pca.projection.safetensors"
    assert run("reduce", features, "--projection", fitted, "--save-loc", again) == 0
    np.testing.assert_allclose(read_features(again).features, reduced.features, rtol=1e-5)
    capsys.readouterr()


def test_other_features_and_wrong_words_are_refused(features, survey, tmp_path, capsys):
    lower = tmp_path / "lower.parquet"
    words = ["represent", "zoobot-mini", "--catalog", survey, "--block", "1", "--save-loc", lower]
    assert run(*words, "--no-progress") == 0
    assert run("reduce", lower, "--save-loc", tmp_path / "l.csv") == 0
    fitted = tmp_path / "l.projection.safetensors"
    capsys.readouterr()
    cases = [
        ([features, "--projection", fitted], "their task differ"),
        ([features, "--projection", fitted, "--pca", 3], "leave out --pca"),
        ([features, "--whiten"], "say how many, --pca N"),
        ([features, "--projection", lower], "damaged or not a safetensors file"),
        ([tmp_path / "absent.parquet"], "no prediction table"),
    ]
    for words, told in cases:
        assert run("reduce", *words, "--save-loc", tmp_path / "r.csv") == 2
        assert told in capsys.readouterr().err


class _Umap:
    """In the place of UMAP, which takes half a minute to compile itself: the first columns."""

    def __init__(self, **told):
        self.told = told

    def fit_transform(self, features):
        assert self.told["n_neighbors"] < len(features)
        assert self.told["n_jobs"] == 1
        return features[:, : self.told["n_components"]]


def test_a_map_is_drawn_of_what_was_reduced(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=_Umap))
    features = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    with PredictionWriter(tmp_path / "f.parquet", list("abcde")) as writer:
        writer.write([f"g{i}" for i in range(12)], features)
    words = ["reduce", tmp_path / "f.parquet", "--pca", 3]
    assert run(*words, "--umap", 2, "--save-loc", tmp_path / "map.csv") == 0
    assert run(*words, "--save-loc", tmp_path / "pca.csv") == 0
    placed = pd.read_csv(tmp_path / "map.csv")
    assert list(placed) == ["id_str", "umap_0", "umap_1"]
    np.testing.assert_allclose(
        placed.iloc[:, 1:], pd.read_csv(tmp_path / "pca.csv").iloc[:, 1:3], rtol=1e-4, atol=1e-6
    )
    assert run(*words, "--umap", 11, "--save-loc", tmp_path / "large.csv") == 2
    assert "a map takes 13 galaxies or more" in capsys.readouterr().err


def test_drawing_a_map_loads_no_framework(tmp_path, monkeypatch):
    """As umap-learn would: TensorFlow, and then whatever Keras computes with."""
    (tmp_path / "umap").mkdir()
    (tmp_path / "umap" / "__init__.py").write_text(
        "try:\n    import tensorflow\n    found = True\nexcept ImportError:\n    found = False\n"
    )
    (tmp_path / "tensorflow.py").write_text("")
    for name in ("umap", "tensorflow"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with feature_maps._without("tensorflow"):
        import umap
    assert umap.found is False
    assert "tensorflow" not in sys.modules
    monkeypatch.delitem(sys.modules, "umap")
