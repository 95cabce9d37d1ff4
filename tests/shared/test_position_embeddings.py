import numpy as np
import pytest

from zoobot.shared.errors import EncoderError
from zoobot.shared.models.adapting import resample_positions


def embedding(grid, prefix=1, channels=5):
    return np.random.default_rng(0).normal(size=(1, prefix + grid**2, channels)).astype("float32")


@pytest.mark.parametrize("new", [4, 8, 13, 15, 24, 31])
@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_it_is_what_torch_does(new, prefix):
    torch = pytest.importorskip("torch")
    old = embedding(14, prefix)
    plane = torch.from_numpy(old[:, prefix:]).double().reshape(1, 14, 14, 5).permute(0, 3, 1, 2)
    moved = torch.nn.functional.interpolate(plane, size=(new, new), mode="bicubic", antialias=True)
    expected = moved.permute(0, 2, 3, 1).reshape(1, -1, 5).numpy()
    found = resample_positions(old, new, num_prefix_tokens=prefix)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:, :prefix], old[:, :prefix])
    np.testing.assert_allclose(found[:, prefix:], expected, atol=1e-6)


def test_the_same_grid_is_left_alone():
    old = embedding(6)
    assert resample_positions(old, 6) is old


def test_a_constant_stays_constant():
    np.testing.assert_allclose(resample_positions(np.full((1, 10, 2), 3.0), 7), 3.0, rtol=1e-12)


def test_no_square():
    with pytest.raises(EncoderError, match=r"square grid, got shape \(1, 12, 5\)"):
        resample_positions(embedding(3)[:, :1].repeat(12, axis=1), 4)
