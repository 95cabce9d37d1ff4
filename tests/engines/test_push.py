"""A model sent to a Hub on the loopback is loaded from there by its name, in every engine, and by timm."""

import numpy as np
import pytest

import zoobot
from zoobot import workflow
from zoobot.options import PushOptions
from zoobot.shared.checkpoint import read_config


def test_what_was_sent_loads_by_name(
    engine, engine_name, make_model, apply, catalog_path, loopback_hub, tmp_path
):
    timm = pytest.importorskip("timm")
    import torch

    model = make_model("classification")
    folder = model.save(tmp_path / "model", training={"galaxies": {"train": 8, "val": 4}})
    workflow.push(PushOptions(checkpoint=str(folder), to="me/shapes"))
    loaded = engine.checkpoint.load("hf_hub:me/shapes")
    assert loaded.task == model.task
    table = engine.predict.predict(catalog_path, "hf_hub:me/shapes", progress=False).table
    expected = engine.predict.predict(catalog_path, model, progress=False).table
    np.testing.assert_array_equal(table.iloc[:, 1:], expected.iloc[:, 1:])
    encoder = engine.encoders.load_encoder("hf_hub:me/shapes")
    assert encoder.preprocessing == model.preprocessing
    network = timm.create_model("hf_hub:me/shapes", pretrained=True, num_classes=0).eval()
    side = model.preprocessing.image_size_pix
    images = np.random.default_rng(1).random((4, side, side, 3), dtype=np.float32)
    planes = images.transpose(0, 3, 1, 2).copy()
    with torch.no_grad():
        wanted = network(torch.from_numpy(planes)).numpy()
    features = apply(encoder, planes if engine_name == "pytorch" else images)
    assert np.abs(features - wanted).max() <= 1e-6 * np.abs(wanted).max()
    found = zoobot.load("hf_hub:me/shapes", backend=engine_name)
    assert found.columns == list(expected.columns[1:])
    assert found.push_to_hub("me/again", private=True).name == "hf_hub:me/again"
    files = loopback_hub.files("me/again")
    for name in ("config.json", "model.safetensors", "head.safetensors"):
        assert files[name] == loopback_hub.files("me/shapes")[name]
    child = make_model("classification", name="hf_hub:me/shapes")
    saved = read_config(child.save(tmp_path / "child"))["zoobot"]
    assert saved["origin"]["encoder"] == "hf_hub:me/shapes"
