"""Several views of each image, in every engine: the head gets the mean of their features."""

import cv2
import numpy as np
import pandas as pd
import pytest

from zoobot.shared.errors import ConfigError, PredictionsError
from zoobot.shared.onnx.model import OnnxModel
from zoobot.shared.pixels.turned import turned, turns_of


@pytest.fixture
def make_lively(make_model, set_linear):
    """A model whose head has learnt something, so that features matter."""

    def make(kind, **options):
        model = make_model(kind, **options)
        shape = (model.task.num_outputs, model.encoder.num_features)
        rng = np.random.default_rng(0)
        set_linear(
            model.head.linear,
            rng.normal(0, 0.5, shape).astype("float32"),
            rng.normal(size=shape[0]).astype("float32"),
        )
        return model

    return make


@pytest.fixture
def turned_catalogs(write_galaxies, tmp_path):
    """Six galaxies, and for each of the eight turns a catalog of the same with turned files."""
    first = write_galaxies(tmp_path / "0", n_galaxies=6)
    catalogs = [first]
    for number, turn in list(enumerate(turns_of(8)))[1:]:
        folder = tmp_path / str(number)
        folder.mkdir()
        for file in pd.read_csv(first)["file_loc"]:
            image = cv2.imread(str(tmp_path / "0" / file))
            cv2.imwrite(str(folder / file), np.ascontiguousarray(turned(image[None], turn)[0]))
        catalogs.append(folder / "catalog.csv")
        catalogs[-1].write_text(first.read_text())
    return catalogs


@pytest.mark.parametrize("kind", ["regression", "tree"])
def test_views_are_the_mean_over_turned_files_whichever_way_up(engine, make_lively, turned_catalogs, kind):
    model = make_lively(kind)
    plain = [engine.represent.represent(c, model, progress=False).features for c in turned_catalogs]
    assert np.abs(plain[0] - plain[5]).max() > 1e-4
    for views in (4, 8):
        expected = np.mean(plain[:views], axis=0)
        found = engine.represent.represent(turned_catalogs[0], model, views=views, progress=False)
        np.testing.assert_allclose(found.features, expected, atol=1e-5)
        assert found.origin["preprocessing"]["views"] == views
        outputs = engine.represent.predict_features(expected, model)[0]
        for catalog in turned_catalogs[:views]:
            table = engine.predict.predict(catalog, model, views=views, progress=False).table
            np.testing.assert_allclose(table.iloc[:, 1:], outputs, rtol=1e-5, atol=1e-5)
    assert model.preprocessing.views == 1
    assert model.encoder.preprocessing.views == 1


def test_of_lower_blocks_too(engine, make_model, turned_catalogs):
    model = make_model("tree")
    plain = [engine.represent.represent(c, model, block=1, progress=False).features for c in turned_catalogs]
    found = engine.represent.represent(turned_catalogs[3], model, block=1, views=8, progress=False)
    np.testing.assert_allclose(found.features, np.mean(plain, axis=0), atol=1e-5)


def test_samples_and_members_go_with_views(engine, make_lively, turned_catalogs):
    models = [make_lively("tree", dropout_prob=0.5), make_lively("tree", dropout_prob=0.5, seed=1)]
    models[1].preprocessing = models[1].preprocessing.with_changes(views=4)
    models[1].encoder.preprocessing = models[1].preprocessing
    found = engine.predict.predict(turned_catalogs[0], models, n_samples=3, progress=False)
    assert found.table.groupby("sample").size().tolist() == [6] * 6
    single = engine.predict.predict(turned_catalogs[0], models[1], progress=False).table
    four = engine.predict.predict(turned_catalogs[0], models[1], views=4, progress=False).table
    pd.testing.assert_frame_equal(single, four)  # the model's own record says 4
    both = engine.predict.predict(turned_catalogs[0], models, progress=False).table
    np.testing.assert_allclose(both[both["sample"] == 1].iloc[:, 2:], four.iloc[:, 1:], rtol=1e-5)


def test_a_folder_of_parts_takes_no_other_views(engine, make_lively, turned_catalogs, tmp_path):
    model = make_lively("classification")

    def predict(views):
        engine.predict.predict(
            turned_catalogs[0], model, save_loc=tmp_path / "parts", part_rows=4, views=views, progress=False
        )

    predict(4)
    first = (tmp_path / "parts" / "part-000001.parquet").read_bytes()
    (tmp_path / "parts" / "part-000001.parquet").unlink()
    with pytest.raises(PredictionsError, match=r"preprocessing\.0\.views: 4 there, 8 now"):
        predict(8)
    with pytest.raises(PredictionsError, match=r"preprocessing\.0\.views: 4 there, None now"):
        predict(None)
    predict(4)
    assert (tmp_path / "parts" / "part-000001.parquet").read_bytes() == first


def test_a_head_learns_and_predicts_with_the_same_views(engine, make_model, fit, make_galaxies, tmp_path):
    options = {"preprocessing": {"image_size_pix": 32, "views": 4}, "n_blocks": 0, "learning_rate": 1e-2}
    model = fit(make_model("classification", **options), tmp_path / "run", max_epochs=3)
    loaded = engine.checkpoint.load(tmp_path / "run" / "checkpoint")
    assert loaded.preprocessing.views == 4
    galaxies = make_galaxies()
    galaxies.setup()
    catalog = galaxies.val_galaxies
    tables = [
        engine.predict.predict(catalog, loaded, views=v, progress=False).table.iloc[:, 1:]
        for v in (None, 4, 1)
    ]
    np.testing.assert_array_equal(tables[0], tables[1])
    assert np.abs(tables[0] - tables[2]).to_numpy().max() > 1e-6
    loader = galaxies.loader("val", preprocessing=loaded.preprocessing)
    batch = next(iter(loader))
    each = [loaded.encode_images(np.ascontiguousarray(turned(batch.images, t))) for t in turns_of(4)]
    mean = np.mean(each, axis=0)
    np.testing.assert_allclose(model.frozen_part().encode(batch.images), mean, rtol=1e-3)


def test_an_encoder_that_learns_takes_no_views(engine, make_model, fit, tmp_path):
    model = make_model("classification", preprocessing={"image_size_pix": 32, "views": 8}, n_blocks=1)
    with pytest.raises(ConfigError, match=r"views=8 is for learning a head alone .*n_blocks=1"):
        fit(model, tmp_path / "run")


def test_other_numbers_are_refused_before_work(engine, make_model, catalog_path):
    model = make_model("classification")
    for views in (0, 3, True, "8", 16):
        with pytest.raises(ConfigError, match=r"views must be 1 .*got"):
            engine.predict.predict(catalog_path, model, views=views, progress=False)
        with pytest.raises(ConfigError, match="views must be"):
            engine.represent.represent(catalog_path, model, views=views, progress=False)
    assert model.preprocessing.views == 1


def test_explanations_are_of_all_views(engine, make_lively, turned_catalogs):
    model = make_lively(
        "classification", name="test_resnet", preprocessing={"image_size_pix": 64, "views": 8}
    )
    found = [
        next(iter(engine.saliency.explain(c, model, answer="round", progress=False)))
        for c in (turned_catalogs[0], turned_catalogs[2])
    ]
    assert all(one.shared.adds_up for one in found)
    assert found[0].value == pytest.approx(found[1].value, abs=1e-3)
    for method, map_ in found[0].maps.items():
        image = map_.reshape(1, 32, 32, -1)
        expected = turned(image, turns_of(8)[2]).reshape(found[1].maps[method].shape)
        np.testing.assert_allclose(found[1].maps[method], expected, atol=2e-2 * np.abs(map_).max())
    assert set(found[0].maps) == {"integrated-gradients", "grad-cam"}


def test_an_exported_file_makes_its_views_itself(engine, engine_name, make_lively, turned_catalogs, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip({"pytorch": "onnxscript", "tensorflow": "tf2onnx"}[engine_name])
    model = make_lively("tree", name="test_efficientnet")
    path = engine.checkpoint.export(model, tmp_path / "model.onnx", views=8)
    assert OnnxModel(path).preprocessing.views == 8
    assert model.preprocessing.views == 1
    expected = engine.predict.predict(turned_catalogs[0], model, views=8, progress=False).table
    for views in (None, 8):
        found = engine.predict.predict(turned_catalogs[4], path, views=views, progress=False).table
        pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="exported with views=8, which is part of it, got 1"):
        engine.predict.predict(turned_catalogs[0], path, views=1, progress=False)
