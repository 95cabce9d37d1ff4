"""A model sent to a Hub on the loopback is loaded from there by its name, in every engine, and by timm."""

import numpy as np
import pytest

import zoobot
from zoobot import workflow
from zoobot.options import PushOptions


def test_what_was_sent_loads_by_name(engine, engine_name, make_model, apply, loopback_hub, tmp_path):
    timm = pytest.importorskip("timm")
    import torch

    model = make_model("classification")
    folder = model.save(tmp_path / "model", training={"galaxies": {"train": 8, "val": 4}})
    workflow.push(PushOptions(checkpoint=str(folder), to="me/shapes"))
    found = zoobot.load("hf_hub:me/shapes", backend=engine_name)
    assert found.task == model.task
    assert found.preprocessing == model.preprocessing
    loaded, sent = found.engine_model.to_neutral(), model.to_neutral()
    for one, other in ((loaded.encoder, sent.encoder), (loaded.head_tensors, sent.head_tensors)):
        assert set(one) == set(other)
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name])
    assert found.push_to_hub("me/again").name == "hf_hub:me/again"
    assert loopback_hub.files("me/again")["config.json"] == loopback_hub.files("me/shapes")["config.json"]

    encoder = engine.encoders.load_encoder("hf_hub:me/shapes")
    assert encoder.origin.encoder == "hf_hub:me/shapes"
    network = timm.create_model("hf_hub:me/shapes", pretrained=True, num_classes=0).eval()
    side = model.preprocessing.image_size_pix
    images = np.random.default_rng(1).random((4, side, side, 3), dtype=np.float32)
    planes = images.transpose(0, 3, 1, 2).copy()
    with torch.no_grad():
        wanted = network(torch.from_numpy(planes)).numpy()
    features = apply(encoder, planes if engine_name == "pytorch" else images)
    assert np.abs(features - wanted).max() <= 1e-6 * np.abs(wanted).max()
