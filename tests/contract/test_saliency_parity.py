"""The same weights give the same gradients and maps in both engines."""

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.explaining.saliency import find_answers

CASES = [
    ("classification", "edge-on", "test_convnext"),
    ("multi-label", "round", "resnet10t"),
    ("tree", "bar_yes", "tf_efficientnet_lite0"),
    ("regression", "flux", "test_vit"),
]


@pytest.mark.parametrize(("kind", "answer", "name"), CASES)
def test_gradients_and_maps_agree(kind, answer, name, twins, both_engines, catalog_path):
    models = twins(kind, name=name, preprocessing={"image_size_pix": 64, "crop_fraction": 0.9})
    two = pd.read_csv(catalog_path).head(2)
    two["file_loc"] = [str(catalog_path.parent / file) for file in two["file_loc"]]
    images = np.random.default_rng(0).random((2, 64, 64, 3)).astype("float32")
    picked = find_answers(models["pytorch"].task, answer)[0]
    found = []
    for engine, model in models.items():
        saliency = both_engines[engine].saliency
        options = {"answer": answer, "methods": ["integrated-gradients"], "steps": 4, "progress": False}
        arrays = [one.maps["integrated-gradients"] for one in saliency.explain(two, model, **options)]
        found.append([*arrays, *saliency.map_gradients(images, picked, model)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-4 * np.abs(ours).max())
    assert all(np.abs(array).max() > 0 for array in found[0])
