"""Training the top blocks from what the frozen ones made of the images, in every engine."""

import keras
import numpy as np
import pandas as pd
import pytest
import torch

from zoobot.shared.checkpoint import read_checkpoint
from zoobot.shared.errors import ConfigError

FAMILIES = ["convnext_atto", "convnextv2_atto", "resnet18d", "tf_efficientnet_lite0", "vit_tiny_patch16_224"]
LEARNING = {"n_blocks": 1, "learning_rate": 1e-3, "dropout_prob": 0.0, "warmup_epochs": 0}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("n_blocks", [1, 2])
def test_the_part_above_makes_the_features_of_what_the_part_below_gives(name, n_blocks, make_model):
    model = make_model("classification", name=name, n_blocks=n_blocks, activation_views=1)
    images = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    part = model.frozen_part()
    below = part.encode(images)
    assert below.shape == (3, part.width)
    assert below.dtype == np.float32
    expected, got = model.encode_images(images), model.encode_images(below)
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
    assert np.ptp(got, axis=0).max() > 1e-3 * np.abs(got).max()  # it tells galaxies apart


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
def test_training_from_kept_activations_gives_the_weights_of_training_from_images(
    name, make_model, make_galaxies, fit, tmp_path
):
    logged, arrays = [], []
    for run, views in (("kept", 1), ("images", 0)):
        model = make_model("classification", name=name, activation_views=views, **LEARNING)
        galaxies = make_galaxies(augmentation=None)
        fit(model, tmp_path / run, galaxies=galaxies, max_epochs=3)
        logged.append(pd.read_csv(tmp_path / run / "metrics.csv"))
        arrays.append(read_checkpoint(model.save(tmp_path / run / "weights")).encoder)
    # kept in 16 bits
    np.testing.assert_allclose(logged[0]["train_loss"], logged[1]["train_loss"], rtol=5e-3)
    start = read_checkpoint(make_model("classification", name=name).save(tmp_path / "start")).encoder
    moved = {name for name, array in arrays[1].items() if not np.array_equal(array, start[name])}
    assert moved
    assert moved == {name for name, array in arrays[0].items() if not np.array_equal(array, start[name])}
    learned = [
        np.concatenate([(run[name] - start[name]).ravel() for name in sorted(moved)]) for run in arrays
    ]
    assert np.linalg.norm(learned[0] - learned[1]) < 0.2 * np.linalg.norm(learned[1])


def test_a_run_resumed_after_a_kill_takes_up_the_same_views(make_model, fit, tmp_path):
    options = LEARNING | {"activation_views": 3, "schedule": "constant", "dropout_prob": 0.3}
    whole = fit(make_model("classification", **options), tmp_path / "whole", max_epochs=5)
    fit(make_model("classification", **options), tmp_path / "killed", max_epochs=3)
    resumed = fit(
        make_model("classification", **options), tmp_path / "killed", max_epochs=5, ckpt_path="last"
    )
    expected, got = (read_checkpoint(m.save(tmp_path / "weights")).encoder for m in (whole, resumed))
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


@pytest.mark.parametrize("n_blocks", [0, "all"])
def test_views_are_refused_where_nothing_or_everything_learns(n_blocks, make_model):
    with pytest.raises(ConfigError, match="some blocks learn and some are frozen"):
        make_model("classification", n_blocks=n_blocks, activation_views=2)


class Shortcut(torch.nn.Module):
    """What enters the top block is not all that the features are made of."""

    def __init__(self):
        super().__init__()
        self.bottom, self.middle, self.top = (torch.nn.Linear(32, 32) for _ in range(3))
        self.last = torch.nn.Linear(32, 32)

    def forward(self, images):
        x = images.mean(dim=(1, 2))
        return self.last(self.top(self.middle(self.bottom(x)))) + x


class ShortcutInKeras(keras.Model):
    """The same; and no graph of layers."""

    def __init__(self):
        super().__init__()
        self.bottom, self.middle, self.top, self.last = (keras.layers.Dense(32) for _ in range(4))

    def call(self, images):
        x = keras.ops.mean(images, axis=(2, 3))
        return self.last(self.top(self.middle(self.bottom(x)))) + x


def test_an_encoder_that_cannot_be_cut_is_refused(make_model, engine):
    encoder = Shortcut() if "pytorch" in engine.finetune.__name__ else ShortcutInKeras()
    with pytest.raises(ConfigError, match="activation_views=0"):
        make_model("classification", encoder=encoder, n_blocks=1, activation_views=1)
