"""Export to ONNX, in every engine: the same predictions from one file, without the engine."""

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.conformal import fit_conformal
from zoobot.shared.errors import ConfigError
from zoobot.shared.onnx.model import OnnxModel
from zoobot.shared.predictions import read_prediction_metadata

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(autouse=True)
def converters(engine_name):
    pytest.importorskip({"pytorch": "onnxscript", "tensorflow": "tf2onnx"}[engine_name])


@pytest.fixture
def make_lively(make_model, set_linear):
    """A model whose head has learnt something, so that features matter."""

    def make(kind, **options):
        model = make_model(kind, **options)
        outputs, features = model.task.num_outputs, model.encoder.num_features
        rng = np.random.default_rng(0)
        weight = rng.normal(0, 0.5, (outputs, features)).astype("float32")
        set_linear(model.head.linear, weight, rng.normal(size=outputs).astype("float32"))
        return model

    return make


@pytest.mark.parametrize("kind", ["classification", "multi-label", "regression", "tree"])
def test_a_file_predicts_what_the_engine_does(kind, engine, make_lively, catalog_path, tmp_path):
    model = make_lively(kind, name="test_efficientnet")
    if model.task.num_factors:
        model.head.set_calibration(np.linspace(0.5, 2, model.task.num_factors))
    asked = {"progress": False, "class_column": True}
    if kind == "regression":  # sets of classes change with the last digits
        errors = np.random.default_rng(0).normal(size=(30, 2))
        model.conformal = fit_conformal(model.task, errors, np.zeros((30, 2)), model.preprocessing)
        asked["intervals"] = 90
    path = engine.checkpoint.export(model, tmp_path / "model.onnx")
    exported = OnnxModel(path)
    assert exported.task == model.task
    assert exported.preprocessing == model.preprocessing
    expected = engine.predict.predict(catalog_path, model, **asked).table
    found = engine.predict.predict(catalog_path, path, batch_size=7, **asked).table
    assert ("axis_ratio_lower_90" in found) == (kind == "regression")
    assert expected.iloc[:, 1:].std(numeric_only=True).max() > 1e-3
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
def test_every_family(name, engine, make_lively, tmp_path):
    model = make_lively("tree", name=name, preprocessing={"image_size_pix": 64, "channels": 4})
    exported = OnnxModel(engine.checkpoint.export(model, tmp_path / "model.onnx"))
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 4), dtype=np.uint8)
    assert exported.predict_images(images).shape == (3, 4)  # agreement was checked by the export


def test_from_a_checkpoint_beside_it_in_an_ensemble(engine, make_lively, catalog_path, tmp_path):
    model = make_lively("tree", name="test_efficientnet")
    engine.checkpoint.save(model, tmp_path / "checkpoint")
    path = engine.checkpoint.export(tmp_path / "checkpoint", tmp_path / "model.onnx")
    both = engine.predict.predict(
        catalog_path, [path, tmp_path / "checkpoint"], save_loc=tmp_path / "p.parquet", progress=False
    ).table
    first, second = (both[both["sample"] == number].iloc[:, 2:].to_numpy() for number in (0, 1))
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-4)
    assert read_prediction_metadata(tmp_path / "p.parquet")["n_members"] == 2
    with pytest.raises(ConfigError, match="n_samples must be 1"):
        engine.predict.predict(catalog_path, [path, model], n_samples=2, progress=False)


def test_another_suffix_is_refused_and_the_model_stays_as_it_was(engine, make_lively, catalog_path, tmp_path):
    model = make_lively("regression")
    before = engine.predict.predict(catalog_path, model, progress=False).table
    with pytest.raises(ConfigError, match=r"ends in \.onnx"):
        engine.checkpoint.export(model, tmp_path / "model.pb")
    engine.checkpoint.export(model, tmp_path / "model.ONNX")
    after = engine.predict.predict(catalog_path, model, progress=False).table
    pd.testing.assert_frame_equal(before, after)
