import numpy as np
import pytest

from zoobot.shared.errors import EncoderError
from zoobot.shared.models.adapting import adapt_input_kernel, adapt_preprocessing
from zoobot.shared.preprocessing import Preprocessing

KERNEL = np.random.default_rng(1).normal(size=(8, 3, 4, 4)).astype("f4")


def test_a_grey_image_gives_what_its_colour_copy_gave():
    grey = np.random.default_rng(2).normal(size=(4, 4))
    adapted = adapt_input_kernel(KERNEL, source_channels=3, in_channels=1)
    before = np.einsum("fcyx,yx->f", KERNEL, grey)
    np.testing.assert_allclose(np.einsum("fcyx,yx->f", adapted, grey), before, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 6, 9])
def test_other_numbers_of_channels_are_timms(channels):
    torch = pytest.importorskip("torch")
    timm_models = pytest.importorskip("timm.models")
    expected = timm_models.adapt_input_conv(channels, torch.from_numpy(KERNEL.copy())).numpy()
    adapted = adapt_input_kernel(KERNEL, source_channels=3, in_channels=channels)
    assert adapted.dtype == KERNEL.dtype
    np.testing.assert_allclose(adapted, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 5])
def test_stems_that_fold_pixels_into_channels(channels):
    """Four pixels folded into channels, channels fastest: each pixel is adapted on its own."""
    folded = np.random.default_rng(3).normal(size=(8, 12, 1, 1))
    adapted = adapt_input_kernel(folded, source_channels=3, in_channels=channels)
    for pixel in range(4):
        expected = adapt_input_kernel(
            folded[:, 3 * pixel : 3 * pixel + 3], source_channels=3, in_channels=channels
        )
        np.testing.assert_allclose(adapted[:, channels * pixel : channels * (pixel + 1)], expected)


def test_the_same_number_changes_nothing():
    assert adapt_input_kernel(KERNEL, source_channels=3, in_channels=3) is KERNEL


@pytest.mark.parametrize("shape", [(8, 4, 4, 4), (8, 3), (48, 768)])
def test_what_is_no_image_convolution_is_refused(shape):
    with pytest.raises(EncoderError, match=r"from 3 to 1 channels; pass in_channels=3"):
        adapt_input_kernel(np.zeros(shape), source_channels=3, in_channels=1)


def test_preprocessing_follows():
    colour = Preprocessing(mean=(0.2, 0.3, 0.4), std=(1, 2, 3), bands=(0, 1, 2), stretch="lupton")
    grey = adapt_preprocessing(colour, 1)
    assert (grey.channels, grey.colour, grey.bands, grey.stretch) == (1, "to-grey", None, "asinh")
    assert grey.mean == pytest.approx((0.3,))
    five = adapt_preprocessing(colour, 5)
    assert (five.colour, five.mean, five.std) == ("as-is", (0.2, 0.3, 0.4, 0.2, 0.3), (1, 2, 3, 1, 2))
    assert adapt_preprocessing(colour, 3) is colour
    assert adapt_preprocessing(grey, 3).colour == "auto"
