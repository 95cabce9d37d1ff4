"""The arithmetic of integrated gradients and Grad-CAM, against functions whose answer is known."""

import numpy as np
import pytest

from zoobot.shared.errors import ConfigError, EncoderError
from zoobot.shared.explaining.saliency import class_activation_map, integrated_gradients, make_baseline

RNG = np.random.default_rng(0)
IMAGE = RNG.random((6, 5, 3)).astype(np.float32)


def curve(images):
    """A smooth function of pixels that depend on each other: the cube of a weighted sum, and its slopes."""
    weights = np.linspace(-1, 2, 90).reshape(6, 5, 3)
    sums = (images * weights).sum(axis=(1, 2, 3))
    return sums**3 / 100, 3 * sums[:, None, None, None] ** 2 / 100 * weights


def test_of_a_linear_function_each_pixel_adds_its_weight():
    weights = RNG.normal(size=IMAGE.shape)

    def linear(images):
        return (images * weights).sum(axis=(1, 2, 3)) + 7, np.broadcast_to(weights, images.shape)

    baseline = make_baseline(IMAGE, "black", 0.25)
    found = integrated_gradients(IMAGE, baseline, linear, steps=2, batch_size=3)
    np.testing.assert_allclose(found.attributions, (IMAGE - 0.25) * weights, rtol=1e-5, atol=1e-6)
    assert found.adds_up


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_parts_add_up_to_the_difference(batch_size):
    baseline = make_baseline(IMAGE, "blurred")
    found = integrated_gradients(IMAGE, baseline, curve, steps=4, batch_size=batch_size)
    assert found.value == pytest.approx(curve(IMAGE[None])[0][0])
    assert found.baseline_value == pytest.approx(curve(baseline[None])[0][0])
    assert found.attributions.sum() == pytest.approx(found.value - found.baseline_value, rel=1e-4)


def test_too_few_steps_for_a_jump_are_told():
    def step(images):  # all of the rise within a fiftieth of the way
        sums = 200 * (images.mean(axis=(1, 2, 3)) - IMAGE.mean() / 3)
        values = 1 / (1 + np.exp(-sums))
        slope = (200 * values * (1 - values) / IMAGE.size)[:, None, None, None]
        return values, np.broadcast_to(slope, images.shape)

    coarse, fine = (integrated_gradients(IMAGE, 0 * IMAGE, step, steps=n, batch_size=64) for n in (3, 256))
    assert not coarse.adds_up
    assert fine.adds_up
    with pytest.raises(ConfigError, match="at least 1"):
        integrated_gradients(IMAGE, 0 * IMAGE, step, steps=0, batch_size=64)


def test_baselines():
    assert (make_baseline(IMAGE, "black") == 0).all()
    blurred = make_baseline(IMAGE, "blurred")
    assert blurred.shape == IMAGE.shape
    assert blurred.std() < IMAGE.std() / 2
    assert blurred.mean() == pytest.approx(IMAGE.mean(), abs=0.05)
    with pytest.raises(ConfigError, match="'white'"):
        make_baseline(IMAGE, "white")


def test_class_activation_by_hand():
    maps, slopes = RNG.normal(size=(2, 3, 4, 5))
    expected = np.zeros((3, 4))
    for channel in range(5):
        weight = sum(slopes[i, j, channel] for i in range(3) for j in range(4)) / 12
        expected += weight * maps[..., channel]
    np.testing.assert_allclose(class_activation_map(maps, slopes), np.where(expected > 0, expected, 0))


@pytest.mark.parametrize("others", [0, 1, 5])
def test_tokens_of_patches_lie_row_by_row_after_all_others(others):
    maps, slopes = RNG.normal(size=(2, 4, 4, 3))
    tokens, token_slopes = (
        np.concatenate([RNG.normal(size=(others, 3)), values.reshape(16, 3)]) for values in (maps, slopes)
    )
    np.testing.assert_allclose(class_activation_map(tokens, token_slopes), class_activation_map(maps, slopes))


def test_a_single_place_is_refused():
    with pytest.raises(EncoderError, match="larger images"):
        class_activation_map(np.ones((1, 1, 8)), np.ones((1, 1, 8)))
