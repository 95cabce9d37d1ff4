"""Which pixels made a model say so, in every engine."""

import keras
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from zoobot.shared.errors import ConfigError, EncoderError, ImageError
from zoobot.shared.explaining.saliency import find_answers

SIZE = 32


class Flat(torch.nn.Module):
    """Every pixel is a feature."""

    def __init__(self):
        super().__init__()
        self.own = torch.nn.Parameter(torch.zeros(2, 2))

    def forward(self, images):
        return images.permute(0, 2, 3, 1).flatten(1) + self.own.sum()


class FlatInKeras(keras.Model):
    """The same."""

    def __init__(self):
        super().__init__()
        self.own = self.add_weight(shape=(2, 2), initializer="zeros")

    def call(self, images):
        return keras.ops.reshape(images, (-1, SIZE * SIZE * 3)) + keras.ops.sum(self.own)


@pytest.fixture
def is_torch(engine):
    return "pytorch" in engine.__name__


@pytest.fixture
def make_trained(make_model, set_linear):
    """A model whose head has weights, drawn or given."""

    def make(kind, weight=None, bias=None, **options):
        model = make_model(kind, **options)
        linear = model.head.linear
        outputs = len(model.task.output_columns)
        rng = np.random.default_rng(1)
        width = model.encoder.num_features
        weight = rng.normal(0, 0.3, (outputs, width)) if weight is None else weight
        bias = rng.normal(0, 0.3, outputs) if bias is None else bias
        set_linear(linear, weight.astype("float32"), bias.astype("float32"))
        return model

    return make


@pytest.fixture
def picture(tmp_path):
    """The catalog of one galaxy of these pixels, (height, width, channels), uint8."""

    def write(pixels):
        Image.fromarray(pixels).save(tmp_path / "g.png")
        return pd.DataFrame({"id_str": ["g"], "file_loc": [str(tmp_path / "g.png")]})

    return write


def explain(engine, catalog, model, **options):
    return list(engine.saliency.explain(catalog, model, progress=False, num_workers=0, **options))


@pytest.mark.parametrize(
    ("kind", "answer"),
    [("classification", "edge-on"), ("multi-label", "round"), ("regression", "flux"), ("tree", "bar_yes")],
)
def test_what_pixels_add_is_the_difference_to_an_empty_sky(
    engine, make_trained, write_galaxies, tmp_path, kind, answer
):
    catalog = write_galaxies(tmp_path / "survey", n_galaxies=3)
    model = make_trained(kind)
    found = explain(engine, catalog, model, answer=answer, methods=["integrated-gradients"])
    assert [one.id_str for one in found] == [f"galaxy-{i}" for i in range(3)]
    table = engine.predict.predict(catalog, model, progress=False).table
    values = find_answers(model.task, answer)[0].value(table.iloc[:, 1:].to_numpy())
    np.testing.assert_allclose([one.value for one in found], values, rtol=1e-4, atol=1e-5)
    for one in found:
        assert one.shared.adds_up
        map_ = one.maps["integrated-gradients"]
        assert map_.shape == one.image.shape == (SIZE, SIZE, 3)
        difference = one.value - one.shared.baseline_value
        assert abs(map_.sum() - difference) <= 0.05 * max(abs(difference), 0.01 * np.abs(map_).sum()) + 1e-5


def test_of_a_linear_model_each_pixel_adds_its_weight(engine, make_trained, picture, is_torch):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(1, SIZE * SIZE * 3))
    model = make_trained(
        "regression",
        encoder=Flat() if is_torch else FlatInKeras(),
        label_cols=["T"],
        weight=weights,
        preprocessing={"image_size_pix": SIZE, "mean": [0.5], "std": [0.25]},
    )
    pixels = rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    (one,) = explain(engine, picture(pixels), model, methods=["integrated-gradients"], steps=1)
    expected = pixels / 255 * weights.reshape(SIZE, SIZE, 3) / 0.25
    np.testing.assert_allclose(one.maps["integrated-gradients"], expected, atol=1e-4)
    assert one.answer.name == "T"


def test_a_model_that_looks_at_one_patch_has_its_map_there(engine, make_trained, picture, is_torch):
    weights = np.zeros((SIZE, SIZE, 3))
    weights[8:14, 20:26] = 1
    model = make_trained(
        "regression",
        encoder=Flat() if is_torch else FlatInKeras(),
        label_cols=["T"],
        weight=weights.reshape(1, -1),
        preprocessing={"image_size_pix": SIZE, "crop_fraction": 0.5},
    )
    pixels = np.random.default_rng(0).integers(50, 255, (160, 128, 3), dtype=np.uint8)
    (one,) = explain(engine, picture(pixels), model, methods=["integrated-gradients"], baseline="black")
    map_ = np.abs(one.maps["integrated-gradients"]).sum(axis=-1)
    # half of 128 pixels are seen, at two for one, from (48, 32)
    inside = map_[48 + 16 : 48 + 28, 32 + 40 : 32 + 52]
    assert map_.shape == (160, 128)
    assert inside.sum() == pytest.approx(map_.sum(), rel=1e-6)
    assert (inside > 0).all()


def tiny_network(is_torch, kernel):
    """One convolution, (4, 4, 3, 5), a ReLU, and the mean of its maps."""
    if is_torch:
        convolution = torch.nn.Conv2d(3, 5, 4, stride=4, bias=False)
        with torch.no_grad():
            convolution.weight.copy_(torch.tensor(kernel.transpose(3, 2, 0, 1)))
        layers = [convolution, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
        return torch.nn.Sequential(*layers)
    images = keras.Input((SIZE, SIZE, 3))
    convolution = keras.layers.Conv2D(5, 4, strides=4, use_bias=False, activation="relu")
    network = keras.Model(images, keras.layers.GlobalAveragePooling2D()(convolution(images)))
    convolution.set_weights([kernel])
    return network


def test_grad_cam_is_its_formula_by_hand(engine, make_trained, picture, is_torch):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, 4, 3, 5)).astype("float32")
    weight = rng.normal(size=(3, 5))
    model = make_trained(
        "classification",
        encoder=tiny_network(is_torch, kernel),
        class_names=["a", "b", "c"],
        label_cols=["kind"],
        weight=weight,
        preprocessing={"image_size_pix": SIZE, "mean": [0.5], "std": [0.5]},
    )
    pixels = rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    answer = find_answers(model.task, "b")[0]
    maps, slopes = engine.saliency.map_gradients(pixels[None].astype("float32") / 255, answer, model)
    patches = ((pixels / 255 - 0.5) / 0.5).reshape(8, 4, 8, 4, 3).transpose(0, 2, 1, 3, 4)
    expected_maps = np.maximum(np.einsum("ijabc,abck->ijk", patches, kernel), 0)
    np.testing.assert_allclose(maps[0], expected_maps, atol=1e-5)
    # each logit is linear in the means of the maps, so each place has a 64th of the weight
    np.testing.assert_allclose(slopes[0], np.broadcast_to(weight[1] / 64, (8, 8, 5)), atol=1e-6)
    (one,) = explain(engine, picture(pixels), model, answer="b", methods=["grad-cam"])
    cells = np.maximum(expected_maps @ (weight[1] / 64), 0)
    drawn = one.maps["grad-cam"]
    assert drawn.shape == (SIZE, SIZE)
    assert one.shared is None
    middles = drawn.reshape(8, 4, 8, 4)[:, 1:3, :, 1:3].mean(axis=(1, 3))
    assert np.corrcoef(middles.ravel(), cells.ravel())[0, 1] > 0.95


def test_tokens_lead_to_both_methods(engine, make_trained, picture):
    model = make_trained("classification", name="test_vit", preprocessing={"image_size_pix": 64})
    pixels = np.random.default_rng(0).integers(0, 255, (70, 50, 3), dtype=np.uint8)
    (one,) = explain(engine, picture(pixels), model, steps=2)
    assert list(one.maps) == ["integrated-gradients", "grad-cam"]
    assert np.abs(one.maps["integrated-gradients"]).max() > 0
    assert one.maps["grad-cam"].shape == (70, 50)
    assert one.value >= 0.5


def test_a_frozen_encoder_and_one_that_is_cut_are_explained_and_left_as_they_were(
    engine, make_trained, picture
):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    options = {"answer": "round", "steps": 4, "methods": ["integrated-gradients"]}
    size = {"preprocessing": {"image_size_pix": 64}}
    frozen, cut, whole = (
        make_trained("classification", **size, **learning)
        for learning in ({}, {"n_blocks": 1, "activation_views": 1}, {"n_blocks": "all"})
    )
    before = engine.predict.predict(picture(pixels), whole, progress=False).table
    maps = [explain(engine, picture(pixels), model, **options)[0].maps for model in (frozen, cut, whole)]
    for other in maps[1:]:
        for method, map_ in maps[0].items():
            np.testing.assert_allclose(other[method], map_, atol=1e-5 * np.abs(map_).max())
    pd.testing.assert_frame_equal(
        engine.predict.predict(picture(pixels), whole, progress=False).table, before
    )


def test_images_of_many_bands(engine, make_trained, tmp_path):
    astropy = pytest.importorskip("astropy.io.fits")
    bands = np.random.default_rng(0).random((5, 40, 44)).astype("float32")
    astropy.PrimaryHDU(bands).writeto(tmp_path / "g.fits")
    catalog = pd.DataFrame({"id_str": ["g"], "file_loc": [str(tmp_path / "g.fits")]})
    size = {"image_size_pix": 64, "channels": 5, "stretch": "none", "colour": "as-is"}
    model = make_trained("classification", preprocessing=size)
    (one,) = explain(engine, catalog, model, steps=2, baseline="blurred")
    assert one.maps["integrated-gradients"].shape == (40, 44, 5)
    assert one.maps["grad-cam"].shape == (40, 44)


def test_bad_images_are_failures(engine, make_trained, write_galaxies, tmp_path):
    catalog = write_galaxies(tmp_path / "survey", n_galaxies=3)
    (tmp_path / "survey" / "1.png").write_bytes(b"")
    model = make_trained("tree")
    found = engine.saliency.explain(catalog, model, methods=["integrated-gradients"], steps=1, progress=False)
    assert [one.id_str for one in found] == ["galaxy-0", "galaxy-2"]
    assert found.failures["id_str"].tolist() == ["galaxy-1"]
    assert len(found) == 3
    for i in range(3):
        (tmp_path / "survey" / f"{i}.png").write_bytes(b"")
    with pytest.raises(ImageError, match="not one of 3 images"):
        explain(engine, catalog, model)


def test_what_can_not_work_is_said(engine, make_trained, catalog_path, is_torch):
    model = make_trained("tree")
    for options, words in (
        ({"answer": "bar_yess"}, "did you mean bar_yes"),
        ({"methods": []}, "one or more of"),
        ({"methods": ["lime"]}, "lime"),
        ({"baseline": "white"}, "white"),
        ({"steps": 0}, "at least 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            engine.saliency.explain(catalog_path, model, **options)
    with pytest.raises(EncoderError, match="larger images"):  # 32 pixels, of which a ResNet makes one place
        explain(engine, catalog_path, model, methods=["grad-cam"])
    flat = make_trained("regression", encoder=Flat() if is_torch else FlatInKeras())
    with pytest.raises(EncoderError, match="no feature maps"):
        explain(engine, catalog_path, flat, answer="flux", methods=["grad-cam"])
